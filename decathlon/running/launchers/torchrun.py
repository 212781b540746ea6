"""Runs with torchrun: the first process plans, claims and writes, the others train with it."""

from collections.abc import Sequence

from pydantic import TypeAdapter

from decathlon.models.processes import rank
from decathlon.running.events import Listener
from decathlon.running.execution import execute
from decathlon.running.faults import Failure, release_memory
from decathlon.running.run import Run, Trial
from decathlon.running.survey import TrialState
from decathlon.running.trial import run_trial
from decathlon.running.trial_folder import check_agreement
from decathlon.training.distributed.groups import broadcast_or_exit, fail_together


def execute_together(states: Sequence[TrialState], listener: Listener) -> list[Failure]:
    """Runs all trials that are not done, each with all processes.

    Args:
        states: What :func:`decathlon.running.survey.survey` found, of the same runs in all
            processes.
        listener: Called with every event, in the first process.

    Returns:
        The trials that failed, and why; in the first process.

    Raises:
        UsageError: See :func:`decathlon.running.execution.execute`; or the processes were given
            different runs.
    """
    identities = {str(state.trial): state.folder.identity() for state in states}
    with fail_together():
        theirs = broadcast_or_exit(identities)
        for trial, identity in identities.items():
            check_agreement(trial, identity, theirs.get(trial, {}))
    with fail_together():
        if rank() == 0:
            return _lead(states, listener)
        _follow({state.run.name: state.run for state in states})
    return []


def _lead(states: Sequence[TrialState], listener: Listener) -> list[Failure]:
    try:
        failures = execute(states, listener)
    except Exception:
        broadcast_or_exit(None)
        raise
    broadcast_or_exit(None)
    return failures


def _follow(runs: dict[str, Run]) -> None:
    """Takes part in the trials that the first process calls for, until there are no more.

    Nothing else ends it: the first process would wait for this one at the next call.
    """
    while (called := broadcast_or_exit(None)) is not None:
        try:
            trial = TypeAdapter(Trial).validate_python(called)
            run_trial(runs[trial.name], trial, lambda facts: None)
        except Exception:  # noqa: BLE001 - the first process reports it
            release_memory()
