"""What makes a finished trial again: the configuration of a run, and its command."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from decathlon.common.errors import UsageError
from decathlon.method.base import Method
from decathlon.method.code import code_of, identity, shown
from decathlon.method.recipe import apply, parse_settings
from decathlon.method.registry import find
from decathlon.method.stored import SOURCES
from decathlon.models import networks
from decathlon.models.networks import Architecture
from decathlon.results.controls import control_name
from decathlon.results.records import RunRecord
from decathlon.running.config import RunConfig
from decathlon.suites.base import Suite
from decathlon.suites.registry import find as find_suite
from decathlon.suites.subset import Subset
from decathlon.training.device import RECORDED, Compute


def config_of(
    record: RunRecord, data: Path, results: Path, source: Path | None = None
) -> RunConfig:
    """Returns the configuration that makes the trial of a record.

    Args:
        record: The record.
        data: The data folder.
        results: RESULTS.
        source: The weights file that it starts from; None where it needs none.

    Raises:
        UsageError: Its method or suite is not installed or has other settings here, or its network
            was that of a weights file which neither the record nor the caller names.
    """
    kind, suite = find(record.method), find_suite(record.suite)
    routing, made = record.routing, record.environment
    usual, of = record.method, None
    if routing is not None:
        of = None if routing.weights == record.method else routing.weights
        usual = f"{routing.weights}-{control_name(routing.control, routing.routes)}"
    return RunConfig(
        (record.method,),
        data,
        results,
        sources=() if source is None else (str(source),),
        domains=tuple(record.together),
        split=record.split,
        seeds=(record.seed,),
        subsets=(Subset.named(record.subset),) if record.subset else (),
        crop=record.crop,
        routing=None if routing is None else routing.control,
        routes=1 if routing is None else routing.routes,
        of=of,
        name=None if record.name == usual else record.name,
        settings=tuple(_settings(record, kind, suite, source)),
        compute=Compute(
            device="cpu" if made.get("device") == "cpu" else "auto",
            precision=RECORDED.get(str(made.get("precision")), "auto"),
            threads=record.threads,
            sync_bn=bool(made.get("sync_bn")),
            compiled=bool(made.get("compiled")),
        ),
    )


def command_of(record: RunRecord, results: Path, data: Path | None) -> tuple[str, str]:
    """Returns the command that makes a trial again in a new results folder.

    It names what differs from the defaults, and everything that changes the last digits. A control,
    or a method that evaluates another one's network, takes two commands.

    Args:
        record: Of the trial.
        results: The results folder that it is in, whose copy of the source weights is named.
        data: The data folder; None to leave it to be filled in.

    Returns:
        The command, quoted for a shell, and a note on what it cannot promise. One of them may be
        empty.
    """
    here = _short(results)
    source = None if record.source is None else here / SOURCES / f"{record.source}.safetensors"
    try:
        config = config_of(
            record, data or Path("DATA"), here.with_name(f"{here.name}-again"), source
        )
    except UsageError as error:
        said = str(error).splitlines()[0]
        return "", f"No command is known that makes the trial again: {said}."
    configs = [config]
    if config.routing is not None:
        configs.insert(0, replace(config, routing=None, routes=1, of=None, name=config.of))
    elif (trained_by := find(record.method).trained_by) and record.trained:
        configs.insert(0, replace(config, methods=(trained_by,), name=None))
    number = record.environment.get("world_size")
    joined = isinstance(number, int) and number > 1
    program = f"torchrun --nproc-per-node={number} -m decathlon" if joined else "decathlon"
    command = " && ".join(f"{program} run {shlex.join(_words(one))}" for one in configs)
    now = code_of(record.method)
    if record.code is None or identity(record.code) == identity(now):
        return command, ""
    return command, (
        f"The code of method '{record.method}' is no longer the trial's ({shown(record.code)}, here"
        f" {shown(now)}): made again, it may compute something else."
    )


def _words(config: RunConfig) -> list[str]:
    """Returns the options of ``run`` that say a configuration of one trial."""
    words = ["--method", *config.methods]
    words += ["--routing", config.routing] if config.routing is not None else []
    words += ["--routes", str(config.routes)] if config.routes > 1 else []
    words += ["--of", config.of] if config.of is not None else []
    words += ["--name", config.name] if config.name is not None else []
    words += ["--data", str(config.data), "--results", str(config.results)]
    for option, values in (("--source", config.sources), ("--domain", config.domains)):
        words += [word for value in values for word in (option, value)]
    words += ["--split", config.split] if config.split != "test" else []
    words += [word for seed in config.seeds if seed for word in ("--seed", str(seed))]
    for subset in config.subsets:
        size = ("--shots", subset.shots) if subset.shots else ("--fraction", subset.fraction)
        words += map(str, size)
        words += ["--draw", str(subset.draw)] if subset.draw else []
    words += ["--crop", config.crop] if config.crop != "image" else []
    words += [word for setting in config.settings for word in ("--set", setting)]
    compute = config.compute
    words += ["--precision", compute.precision] if compute.precision != "auto" else []
    words += ["--threads", str(compute.threads)]
    flags = {"--sync-bn": compute.sync_bn, "--compile": compute.compiled}
    return words + [flag for flag, on in flags.items() if on]


def _short(path: Path) -> Path:
    """Returns a path from the working folder on if it leads into it."""
    here = Path.cwd()
    return path.relative_to(here) if path != here and path.is_relative_to(here) else path


def _settings(
    record: RunRecord, kind: type[Method], suite: Suite, source: Path | None
) -> list[str]:
    """Returns the settings that make a record's recipe and network, as ``--set`` takes them.

    Raises:
        UsageError: None do: the recipe has no such fields here, or the network was named by a
            weights file that the record does not tell.
    """
    if not record.trained:
        return []
    what, left_out = f"method '{record.method}'", kind.recipes["paper"].left_out
    wanted = {key: value for key, value in record.recipe.items() if key != "domains"}
    protocol = {key: wanted[key] for key in ("protocol",) if wanted.get(key, "paper") != "paper"}
    usual = {**left_out, **apply(kind.recipes, protocol, what, suite).as_json()}
    changes = [f"{key}={_text(value)}" for key, value in protocol.items()]
    for key, value in {**left_out, **wanted}.items():
        other_length = key in ("epochs", "steps") and value is None  # what is left out
        if key not in usual or (value != usual[key] and not other_length):
            changes += _changes(key, value, usual.get(key))
    found = apply(kind.recipes, parse_settings(changes), what, suite).as_json()
    if found != wanted:
        raise UsageError(f"{what} has other settings in this version")
    return [*(_width(record, suite) if source is None else ()), *changes]


def _changes(key: str, value: Any, usual: Any) -> list[str]:
    """Returns the settings of one field; of values by domain, those that differ."""
    if not isinstance(value, dict) or not isinstance(usual, dict):
        return [f"{key}={_text(value)}"]
    if not usual.keys() <= value.keys():
        return [f"{key}={json.dumps(value, separators=(',', ':'))}"]
    return [f"{key}.{name}={_text(v)}" for name, v in value.items() if usual.get(name) != v]


def _text(value: Any) -> str:
    """Returns a value as :func:`parse_settings` reads it."""
    if isinstance(value, str) and parse_settings([f"key={value}"]) == {"key": value}:
        return value
    return json.dumps(value, separators=(",", ":"))


def _width(record: RunRecord, suite: Suite) -> list[str]:
    """Returns the width of the network of a trial that started from no weights.

    Raises:
        UsageError: The network is not the suite's.
    """
    if record.source is not None or record.network is None:
        return []
    name = suite.network if suite.network in networks.registered() else Architecture.name
    width = record.network.get("width")
    if not isinstance(width, float) or Architecture(name, width).as_json() != record.network:
        raise UsageError(
            "its network was that of a weights file which the record does not name; give it with"
            " --source"
        )
    return [f"width={width}"] if width != 1 else []
