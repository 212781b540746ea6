"""What a run would do: its trials, how they stand, and how long they will take."""

from collections import Counter
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.text import Text

from decathlon.common.grid import Column, Grid
from decathlon.common.progress import progress
from decathlon.common.text import duration, plural, visible, visible_lines
from decathlon.running.estimate import STEPS, Estimates
from decathlon.running.faults import Failure, grouped
from decathlon.running.plan import Run
from decathlon.running.survey import Work

MEASURED = ("begun", "failed", "to do")
"""States of trials that are still to be done here."""
WORDS = {
    "done": "done",
    "differs": "done, but not as asked for",
    "refused": "cannot be run",
    "held": "another process is at work on it",
    "begun": "goes on",
    "failed": "failed before",
    "to do": "to do",
}
"""How a trial stands, by its state."""


def preview(work: Sequence[Work], console: Console | None = None) -> None:
    """Prints all trials with their states, and an estimate of their time.

    Nothing is written, and nothing is trained but a few steps to measure their time.

    Args:
        work: What :func:`decathlon.running.survey.survey` found.
        console: Where to; by default standard output.
    """
    console = console or Console(highlight=False)
    estimates = Estimates()
    seconds = _measured(work, estimates)
    console.print(_trials(work, seconds))
    console.print()
    console.print(_methods(work, seconds))
    console.print()
    for line in [*_reasons(work, estimates), *_advice(work), _conclusion(work, seconds)]:
        console.print(Text(visible_lines(line)))


def _measured(work: Sequence[Work], estimates: Estimates) -> list[float | None]:
    """Returns the seconds that each trial will take; None where it is not to be done here."""
    left = sum(item.state in MEASURED for item in work)
    if not left:
        return [None] * len(work)
    seconds: list[float | None] = []
    with progress("measuring", left, "trials") as bar:
        for item in work:
            measured = item.state in MEASURED
            seconds.append(estimates.seconds(item) if measured else None)
            bar.advance(measured)
    return seconds


def _state(item: Work) -> str:
    """Says how a trial stands in a few words."""
    epochs = f" after epoch {item.epoch} of {item.run.method.recipe.epochs}" if item.epoch else ""
    return WORDS[item.state] + epochs + (": see below" if item.failure is not None else "")


def _trials(work: Sequence[Work], seconds: Sequence[float | None]) -> Grid:
    table = Grid(
        [
            Column("name"),
            Column("domain"),
            Column("seed", right=True),
            Column("state", wraps=True, below=True),
            Column("time", right=True),
        ]
    )
    for item, needed in zip(work, seconds, strict=True):
        trial = item.trial
        domains = trial.domains[0] if len(trial.domains) == 1 else f"{len(trial.domains)} jointly"
        time = "" if needed is None else duration(needed)
        cells = (trial.name, domains, str(trial.seed), _state(item), time)
        table.add_row(*map(visible, cells))
    return table


def _methods(work: Sequence[Work], seconds: Sequence[float | None]) -> Grid:
    numbers = [Column(heading, right=True) for heading in ("trials", "done", "time to go")]
    table = Grid([Column("name"), *numbers])
    for name in dict.fromkeys(item.trial.name for item in work):
        own = [(i, s) for i, s in zip(work, seconds, strict=True) if i.trial.name == name]
        done = sum(item.state == "done" for item, _ in own)
        left = [s for item, s in own if item.state in MEASURED]
        known = sum(s for s in left if s is not None)
        time = "" if not left else "not known" if None in left else duration(known)
        table.add_row(*map(visible, (name, str(len(own)), str(done), time)))
    return table


def _reasons(work: Sequence[Work], estimates: Estimates) -> list[str]:
    """Says why trials failed or cannot be run, and why a time is not known."""
    failures = []
    for item in work:
        known = item.failure.reason if item.failure is not None else ""
        if item.failure is not None:
            failures.append(item.failure)
        pace = estimates.pace(item.run, item.trial) if item.state in MEASURED else None
        if isinstance(pace, Exception) and str(pace) != known:
            failures.append(Failure(item.trial, 1, f"no estimate: {pace}"))
    return [f"{which}: {reason}" for which, reason in grouped(failures)]


def _advice(work: Sequence[Work]) -> list[str]:
    """Names the methods that mean another kind of source network than they are given."""
    others: dict[str, list[Run]] = {}
    for run in {id(item.run): item.run for item in work if item.state in MEASURED}.values():
        given = run.source.architecture
        meant = run.method.pretraining(given.width).adapters
        if run.method.needs_source and meant != given.adapters:
            others.setdefault(meant, []).append(run)
    return [
        f"{', '.join(run.name for run in runs)}: can start from this source, but what is meant is"
        f" one with {meant} adapters: 'decathlon pretrain --method {runs[0].method_name}' trains"
        " it, --source METHOD=FILE names it"
        for meant, runs in others.items()
    ]


def _conclusion(work: Sequence[Work], seconds: Sequence[float | None]) -> str:
    states = Counter(item.state for item in work)
    counts = ", ".join(f"{count} {WORDS[state]}" for state, count in states.items())
    if all(s is None for s in seconds):
        return f"{plural(len(work), 'trial')}: {counts}"
    return (
        f"{plural(len(work), 'trial')}: {counts}."
        f" About {duration(sum(s or 0 for s in seconds))} on this machine with one process"
        f" (threads: {torch.get_num_threads()}), as measured in {STEPS}"
        " steps of each method for each size of images"
    )
