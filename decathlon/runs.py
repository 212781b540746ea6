"""Runs: all trials of a plan that are missing, each done once.

Several processes may share a results folder: each trial is claimed, and one that another
process holds is left to it. A claim ends with its owner, however that ends.
"""

import fcntl
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from decathlon.errors import UsageError
from decathlon.plan import Run, Trial, is_done
from decathlon.records import RunRecord
from decathlon.stored import keep_source
from decathlon.trials import run_trial


class Watch(Protocol):
    """What is told of a run while it goes on."""

    def planned(self, todo: Sequence[Trial], done: Sequence[Trial]) -> None:
        """Says what is to be done, and what is done already."""

    def started(self, trial: Trial) -> None:
        """Says that a trial begins."""

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Says how an epoch went: epoch, epochs, loss, images_per_s."""

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Says that a trial's records are written."""

    def failed(self, trial: Trial, error: Exception) -> None:
        """Says that a trial failed; the others go on."""


def execute(run: Run, watch: Watch) -> list[Trial]:
    """Runs all trials that are not done.

    Args:
        run: What to run.
        watch: Is told of everything.

    Returns:
        The trials that failed.

    Raises:
        UsageError: A finished record does not belong to this run, and force is off.
    """
    trials = run.trials()
    todo = trials if run.force else [t for t in trials if not is_done(run, t)]
    watch.planned(todo, [t for t in trials if t not in todo])
    if todo and run.source.path is not None and (run.method.needs_source or todo[-1].kept):
        keep_source(run.source, run.results)
    failed = []
    waiting, passed = deque(todo), 0
    while waiting:
        trial = waiting.popleft()
        # Only when all that are left are held by others there is nothing to do but wait.
        with _claim(run, trial, wait=passed > len(waiting)) as ours:
            if not ours:
                waiting.append(trial)
                passed += 1
                continue
            passed = 0
            if not _attempt(run, trial, watch):
                failed.append(trial)
    return failed


def _attempt(run: Run, trial: Trial, watch: Watch) -> bool:
    """Does a trial unless it has been done meanwhile; returns whether that went well."""
    try:
        if run.force or not is_done(run, trial):
            watch.started(trial)
            watch.finished(trial, run_trial(run, trial, lambda facts: watch.epoch(trial, facts)))
    except Exception as error:
        if isinstance(error, UsageError):
            raise
        watch.failed(trial, error)
        return False
    return True


@contextmanager
def _claim(run: Run, trial: Trial, wait: bool) -> Iterator[bool]:
    """Claims a trial against other processes; a dead owner's claim is free at once.

    Args:
        run: What it belongs to.
        trial: The trial.
        wait: Wait for a claim that is held by another process.

    Yields:
        Whether the trial is ours.
    """
    folder = trial.folder(run.results, trial.domains[0])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
