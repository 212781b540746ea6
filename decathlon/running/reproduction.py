"""Finished trials, run again as their records say."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from decathlon.common.errors import DataError, UsageError, listed
from decathlon.method.registry import find
from decathlon.method.stored import SOURCES
from decathlon.models.capabilities import outline
from decathlon.results.records import RunRecord
from decathlon.running.config import RunConfig
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import TrialState, survey

LIBRARIES = ("decathlon", "torch", "timm")
"""Whose versions have to be those of the record."""


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
