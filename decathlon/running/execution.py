"""Runs: all trials that are missing, each done once, whatever becomes of the others.

Several processes may share a results folder: each trial is claimed, and one that another
process holds is left to it. When that process dies, its trial is taken over where its last
checkpoint stands.
"""

import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from decathlon.common.errors import DecathlonError
from decathlon.common.files import check_folder
from decathlon.common.interrupts import check
from decathlon.common.locks import claim
from decathlon.data.bus import bus_error_says, cut_short
from decathlon.method.stored import keep_source
from decathlon.results.records import RECORD, RunRecord
from decathlon.running.faults import Failure, failure, forget, note, noted, release_memory
from decathlon.running.plan import Run, Trial, is_done
from decathlon.running.survey import Work, check_unmixed
from decathlon.running.trial import CHECKPOINTS, run_trial

POLL_SECONDS = 1.0
"""Between two looks at trials that are all in the hands of other processes."""


class Watch(Protocol):
    """What is told of a run while it goes on."""

    def planned(self, work: Sequence[Work]) -> None:
        """Says what is to be done, and what is done already."""

    def started(self, trial: Trial) -> None:
        """Says that a trial begins."""

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Says how an epoch went: epoch, epochs, loss, lr, images_per_s."""

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Says that a trial's records are written; none, if by another process."""

    def failed(self, failure: Failure) -> None:
        """Says that a trial failed; the others go on."""

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Says that all that is left is in the hands of other processes."""


class HeldError(Exception):
    """Another process is at work on the trial."""


def begin(work: Sequence[Work], watch: Watch) -> list[Failure]:
    """Does what comes before the first trial: checks, tidies up, and says what is planned.

    Args:
        work: What :func:`decathlon.running.survey.survey` found.
        watch: Is told of it.

    Returns:
        The trials that cannot be run, and why.

    Raises:
        UsageError: A finished record belongs to another run, and force is off; or a
            results folder cannot be written to.
    """
    check_unmixed(work)
    for results in {item.run.results for item in work}:
        check_folder(results, "name another folder with --results")
    watch.planned(work)
    failures = [item.failure for item in work if item.state == "refused" and item.failure]
    for refused in failures:
        watch.failed(refused)
    for item in work:
        if item.state == "done":
            _tidy(item.run, item.trial)
    return failures


def execute(work: Sequence[Work], watch: Watch) -> list[Failure]:
    """Runs all trials that are not done, one after the other.

    Args:
        work: What :func:`decathlon.running.survey.survey` found.
        watch: Is told of everything.

    Returns:
        The trials that failed, and why.

    Raises:
        UsageError: See :func:`begin`.
    """
    failures, since = begin(work, watch), time.time()
    waiting = deque(item for item in work if item.state not in ("done", "refused"))
    passed = 0
    while waiting:
        item = waiting.popleft()
        check()
        try:
            failed = attempt(item.run, item.trial, watch, since)
        except HeldError:
            waiting.append(item)
            passed += 1
            if passed >= len(waiting):
                watch.waiting([left.trial for left in waiting])
                time.sleep(POLL_SECONDS)
                passed = 0
            continue
        passed = 0
        if failed is not None:
            failures.append(failed)
    return failures


def attempt(run: Run, trial: Trial, watch: Watch, since: float) -> Failure | None:
    """Does a trial, unless another process has done it meanwhile.

    Args:
        run: What it belongs to.
        trial: The trial.
        watch: Is told how it goes.
        since: When the command began, in seconds since 1970. What another process has
            finished or failed at after that is not tried again.

    Returns:
        Why it failed, or None.

    Raises:
        HeldError: Another process is at work on it.
    """
    try:
        with claim(_home(run, trial)) as ours:
            if not ours:
                raise HeldError
            failed = noted(run, trial, since) or _try(run, trial, watch, since)
            if failed is not None:
                release_memory()
                note(run, failed)
    except OSError as error:
        failed = failure(error, run, trial)
    if failed is not None:
        watch.failed(failed)
    return failed


def _try(run: Run, trial: Trial, watch: Watch, since: float) -> Failure | None:
    """Does a claimed trial; what it raises becomes text, so that its memory can be freed."""
    try:
        if _is_finished(run, trial, since):
            watch.finished(trial, [])
            return None
        forget(run, trial)
        for domain in trial.domains:  # of --force; a trial that is under way has no record
            (trial.folder(run.results, domain) / RECORD).unlink(missing_ok=True)
        if run.source.path is not None and (run.method.needs_source or trial.kept):
            keep_source(run.source, run.results)
        watch.started(trial)
        with bus_error_says(cut_short(str(trial), run.store.data)):
            records = run_trial(run, trial, lambda facts: watch.epoch(trial, facts))
        watch.finished(trial, records)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other trials go on
        if not isinstance(error, DecathlonError):
            check()
        return failure(error, run, trial)
    return None


def _is_finished(run: Run, trial: Trial, since: float) -> bool:
    """Whether a trial has been done; with force, since the command began."""
    record = trial.folder(run.results, trial.domains[0]) / RECORD
    if run.force and (not record.exists() or record.stat().st_mtime < since):
        return False
    return is_done(run, trial)


def outcome(item: Work, since: float) -> Literal["done", "failed", "left"]:
    """Returns how a trial stands now, as its files say.

    Args:
        item: The trial, as it stood when the command began.
        since: When that was, in seconds since 1970.
    """
    if item.state in ("done", "refused"):
        return "done" if item.state == "done" else "failed"
    with suppress(DecathlonError, OSError):
        if _is_finished(item.run, item.trial, since):
            return "done"
        if noted(item.run, item.trial, since) is not None:
            return "failed"
    return "left"


def _tidy(run: Run, trial: Trial) -> None:
    """Removes the checkpoints of a trial whose process was killed after its last record."""
    home = _home(run, trial)
    if (home / CHECKPOINTS).is_dir():
        with claim(home) as ours:
            if ours and is_done(run, trial):
                shutil.rmtree(home / CHECKPOINTS)


def _home(run: Run, trial: Trial) -> Path:
    """Returns the folder of a trial's claim, log and checkpoints."""
    return trial.folder(run.results, trial.domains[0])
