"""Execution: all trials that are missing, each done once, whether or not others fail.

Several processes may share a results folder: each trial is claimed, and one that another
process holds is left to it. When that process dies, its trial is taken over where its last
checkpoint stands.
"""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Literal

from decathlon.common.errors import DecathlonError
from decathlon.common.files import check_folder
from decathlon.common.interrupts import check
from decathlon.common.locks import claim
from decathlon.data.bus import bus_error_says, cut_short
from decathlon.method.stored import keep_source
from decathlon.running.events import Epoch, Finished, Listener, Planned, Started, Waiting
from decathlon.running.faults import Failure, failure_of, release_memory
from decathlon.running.run import Run, Trial
from decathlon.running.survey import TrialState, check_unmixed
from decathlon.running.trial import run_trial
from decathlon.running.trial_folder import TrialFolder
from decathlon.training.distributed.groups import broadcast_or_exit

POLL_SECONDS = 1.0
"""Between two looks at trials that are all in the hands of other processes."""


class HeldError(Exception):
    """Another process is at work on the trial, or its network has yet to be trained."""


def announce(states: Sequence[TrialState], listener: Listener) -> list[Failure]:
    """Does what comes before the first trial: checks, tidies up, and announces the plan.

    Args:
        states: What :func:`decathlon.running.survey.survey` found.
        listener: Called with the events.

    Returns:
        The trials that cannot be run, and why.

    Raises:
        UsageError: A finished record belongs to another run, and force is off; or a
            results folder cannot be written to.
    """
    check_unmixed(states)
    for results in {state.run.config.results for state in states}:
        check_folder(results, "name another folder with --results")
    listener(Planned(tuple(states)))
    failures = [state.failure for state in states if state.state == "refused" and state.failure]
    for refused in failures:
        listener(refused)
    for state in states:
        if state.state == "done":
            state.folder.tidy()
    return failures


def execute(states: Sequence[TrialState], listener: Listener) -> list[Failure]:
    """Runs all trials that are not done, one after the other.

    Args:
        states: What :func:`decathlon.running.survey.survey` found.
        listener: Called with every event.

    Returns:
        The trials that failed, and why.

    Raises:
        UsageError: See :func:`announce`.
    """
    failures, since = announce(states, listener), time.time()
    left = deque(state for state in states if state.state not in ("done", "refused"))
    held = 0
    while left:
        state = left.popleft()
        check()
        try:
            if (trainer := state.folder.trainer) and any(o.trial == trainer.trial for o in left):
                raise HeldError
            failed = attempt(state.run, state.trial, listener, since)
        except HeldError:
            left.append(state)
            held += 1
            if held >= len(left):
                listener(Waiting(tuple(other.trial for other in left)))
                time.sleep(POLL_SECONDS)
                held = 0
            continue
        held = 0
        if failed is not None:
            failures.append(failed)
    return failures


def attempt(run: Run, trial: Trial, listener: Listener, since: float) -> Failure | None:
    """Does a trial, unless another process has done it meanwhile.

    Args:
        run: What it belongs to.
        trial: The trial.
        listener: Called with its events.
        since: When the command began, in seconds since 1970. What another process has
            finished or failed at after that is not tried again.

    Returns:
        Why it failed, or None.

    Raises:
        HeldError: Another process is at work on it, or is training the network it evaluates.
    """
    folder = TrialFolder(run, trial)
    try:
        if folder.is_in_training():
            raise HeldError
        with claim(folder.first) as ours:
            if not ours:
                raise HeldError
            failed = folder.failure(since) or _attempt_claimed(folder, listener, since)
            if failed is not None:
                release_memory()
                folder.write_failure(failed)
    except OSError as error:
        failed = failure_of(error, run, trial)
    if failed is not None:
        listener(failed)
    return failed


def _attempt_claimed(folder: TrialFolder, listener: Listener, since: float) -> Failure | None:
    """Does a claimed trial; what it raises becomes text, so that its memory can be freed."""
    run, trial = folder.run, folder.trial
    try:
        if folder.is_done(since):
            listener(Finished(trial, ()))
            return None
        folder.check_trained()
        folder.clear()
        if run.source.path is not None and (run.method.needs_source or trial.kept):
            keep_source(run.source, run.config.results)
        listener(Started(trial))
        with bus_error_says(cut_short(str(trial), run.store.data)):
            broadcast_or_exit(asdict(trial))  # the other processes of torchrun join in
            records = run_trial(run, trial, lambda facts: listener(Epoch(trial, facts)))
        listener(Finished(trial, tuple(records)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other trials go on
        if not isinstance(error, DecathlonError):
            check()
        return failure_of(error, run, trial)
    return None


def outcome(state: TrialState, since: float) -> Literal["done", "failed", "left"]:
    """Returns how a trial stands now, as its files say.

    Args:
        state: The trial, as it stood when the command began.
        since: When that was, in seconds since 1970.
    """
    if state.state in ("done", "refused"):
        return "done" if state.state == "done" else "failed"
    with suppress(DecathlonError, OSError):
        if state.folder.is_done(since):
            return "done"
        if state.folder.failure(since) is not None:
            return "failed"
    return "left"
