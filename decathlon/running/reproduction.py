"""Finished trials, run again as their records say."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from decathlon.common.errors import DataError, UsageError, listed
from decathlon.method.recipe import apply, parse_settings
from decathlon.method.registry import find
from decathlon.method.stored import SOURCES
from decathlon.models.capabilities import outline
from decathlon.results.records import RunRecord
from decathlon.running.config import RunConfig
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import TrialState, survey
from decathlon.suites import registry
from decathlon.suites.subset import Subset
from decathlon.training.device import Compute

PRECISIONS = {"32-true": "32", "bf16-mixed": "bf16"}
"""Values of ``--precision``, by what records call them."""
LIBRARIES = ("decathlon", "torch", "timm")
"""Whose versions have to be those of the record."""
LENGTHS = ("epochs", "steps")
"""Settings of which one is given, and the other is null."""


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
        UsageError: Its method or its suite is not installed.
    """
    routing = record.routing
    settings = _settings(record)
    if record.trained and record.source is None and source is None and record.network:
        width = record.network.get("width", 1.0)  # the network is drawn, not read from a file
        settings += [f"width={width}"] if width != 1 else []
    return RunConfig(
        (record.method,),
        data,
        results,
        sources=() if source is None else (str(source),),
        domains=tuple(record.recipe.get("domains", [record.domain])),
        split=record.split,
        seeds=(record.seed,),
        subsets=(Subset.named(record.subset),) if record.subset else (),
        crop=record.crop,
        routing=None if routing is None else routing.control,
        routes=1 if routing is None else routing.routes,
        name=None if record.name == record.method else record.name,
        settings=tuple(settings),
        compute=Compute(
            device="cpu" if record.environment.get("device") == "cpu" else "auto",
            precision=PRECISIONS.get(str(record.environment.get("precision")), "auto"),
            threads=record.threads,
            compiled=bool(record.environment.get("compiled")),
        ),
    )


def _settings(record: RunRecord) -> list[str]:
    """Returns the settings in which a recipe is not its protocol's, as ``field=value``."""
    given = {key: value for key, value in record.recipe.items() if key != "domains"}
    protocol = {key: given[key] for key in ("protocol",) if given.get(key, "paper") != "paper"}
    what, suite = f"method '{record.method}'", registry.find(record.suite)
    plain = apply(find(record.method).recipes, protocol, what, suite)
    usual: dict[str, Any] = json.loads(json.dumps(asdict(plain)))
    if given:  # where nothing was trained, the record has no recipe
        given = {**plain.left_out, **given}
    changed = {key: value for key, value in given.items() if value != usual.get(key, ...)}
    kept = {k: v for k, v in changed.items() if k not in LENGTHS or v is not None}
    return [_setting(name, value) for name, value in (protocol | kept).items()]


def _setting(name: str, value: Any) -> str:
    bare = f"{name}={value}"
    same = isinstance(value, str) and parse_settings([bare]) == {name: value}
    return bare if same else f"{name}={json.dumps(value)}"


def check_possible(records: Sequence[RunRecord]) -> None:
    """Checks that trials can be run again by themselves, in one process.

    Raises:
        UsageError: One evaluates another trial's network, or was trained by several processes.
    """
    for record in records:
        where, world = record.folder, record.environment.get("world_size", 1)
        trained_by = find(record.method).trained_by
        if record.trained and (record.routing is not None or trained_by):
            of = trained_by if record.routing is None else record.routing.weights
            how = "" if record.routing is None else f" --routing {record.routing.control}"
            raise UsageError(
                f"{where}: trained nothing, it evaluates the network of {of}; reproduce that"
                f" trial, then run 'decathlon run --method {record.method}{how}' into the same"
                " results folder"
            )
        if world != 1:
            raise UsageError(
                f"{where}: was trained by {world} processes, and this command is one; start"
                f" 'torchrun --nproc-per-node={world} -m decathlon run' with the record's settings"
            )


def find_source(record: RunRecord, origin: Path) -> Path | None:
    """Returns the weights that a trial started from, as its results folder keeps them.

    Args:
        record: Its record.
        origin: The results folder.

    Raises:
        DataError: They are not there.
    """
    if record.source is None:
        return None
    path = origin / SOURCES / f"{record.source}.safetensors"
    if not path.is_file():
        raise DataError(
            f"{path}: missing, and {record.folder} started from it; name the file of these source"
            " weights with --source"
        )
    return path


def plan(
    records: Sequence[RunRecord], configs: Sequence[RunConfig], loosely: bool = False
) -> list[TrialState]:
    """Returns the trials of some records, and how they stand in their new results folder.

    Args:
        records: The records.
        configs: The configuration of each, see :func:`config_of`.
        loosely: Warn of what is not as the records say.

    Raises:
        DataError: The data or the source is not that of a record, and it has to be; or it is
            missing or damaged.
        UsageError: The same of code and libraries; or the new folder holds other results.
    """
    runs = [run for config in _together(configs) for run in resolve(config)]
    wanted = {record.folder: record for record in records}
    found = [
        state
        for state in survey(runs)
        if any(state.trial.folder(domain) in wanted for domain in state.trial.domains)
    ]
    _check_same(found, wanted, loosely)
    for state in found:
        if state.state == "differs" and state.failure:
            where = state.run.config.results
            raise UsageError(
                f"{where}: holds other results of {state.trial}; name another folder with --results"
            )
    return found


def _together(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Joins configurations that differ in seeds alone or, of separate trainings, in domains."""
    groups: dict[RunConfig, list[RunConfig]] = {}
    for config in configs:
        joint = find(config.methods[0]).scope == "joint"
        key = replace(config, seeds=(), domains=config.domains if joint else ())
        groups.setdefault(key, []).append(config)
    return [
        replace(
            key,
            seeds=tuple(dict.fromkeys(seed for one in group for seed in one.seeds)),
            domains=tuple(dict.fromkeys(domain for one in group for domain in one.domains)),
        )
        for key, group in groups.items()
    ]


def _check_same(states: Sequence[TrialState], wanted: dict[Path, RunRecord], loosely: bool) -> None:
    points: dict[str, Path] = {}
    kinds: set[str] = set()
    for state in states:
        for domain in state.trial.domains:
            if (record := wanted.get(folder := state.trial.folder(domain))) is not None:
                own = state.folder.differences(domain, record) | _libraries(state.run, record)
                kinds |= own.keys()
                for text in own.values():
                    points.setdefault(text, folder)
    lines = [f"{folder}: {text}" for text, folder in points.items()]
    if loosely:
        for line in lines:
            warnings.warn(line, stacklevel=1)
    elif lines:
        error = DataError if kinds & {"data", "source"} else UsageError
        raise error(
            "not all is as it was:\n  "
            + listed(lines, "\n  ")
            + "\nuse what the records state, or go on with --loosely"
        )


def _libraries(run: Run, record: RunRecord) -> dict[str, str]:
    """Says which libraries have another version than a record states."""
    compute, was = run.config.compute, record.environment
    now = compute.environment(compute.fabric(outline(run.source.architecture)))
    return {
        name: f"another version of {name}: was {was[name]}, now {now[name]}"
        for name in LIBRARIES
        if name in was and name in now and was[name] != now[name]
    }
