"""Runs by several processes: the first plans, claims and writes, the others train with it."""

from collections.abc import Sequence

from decathlon.models.processes import num_processes, rank
from decathlon.running.execution import Watch, execute
from decathlon.running.faults import Failure, release_memory
from decathlon.running.plan import Run, Trial, check_agreement
from decathlon.running.survey import Work
from decathlon.running.trial import take_part
from decathlon.training.distributed.groups import broadcast_or_exit, fail_together


def perform(work: Sequence[Work], watch: Watch) -> list[Failure]:
    """Runs all trials that are not done; alone, as :func:`decathlon.running.execution.execute`.

    Args:
        work: What :func:`decathlon.running.survey.survey` found, of the same runs in all processes.
        watch: Is told of everything, in the first process.

    Returns:
        The trials that failed, and why; in the first process.

    Raises:
        UsageError: See :func:`decathlon.running.execution.execute`.
    """
    if num_processes() == 1:
        return execute(work, watch)
    runs = {item.run.name: item.run for item in work}
    with fail_together():
        asked = broadcast_or_exit({str(item.trial): item.run.identity(item.trial) for item in work})
        for item in work:
            trial = str(item.trial)
            check_agreement(trial, item.run.identity(item.trial), asked.get(trial, {}))
    with fail_together():
        if rank() == 0:
            return _lead(work, watch)
        _follow(runs)
    return []


def _lead(work: Sequence[Work], watch: Watch) -> list[Failure]:
    try:
        failures = execute(work, watch)
    except Exception:
        broadcast_or_exit(None)
        raise
    broadcast_or_exit(None)
    return failures


def _follow(runs: dict[str, Run]) -> None:
    """Takes part in the trials that the first process calls for, until there are no more.

    Nothing else ends it: the first process would wait for this one at the next call.
    """
    while (said := broadcast_or_exit(None)) is not None:
        try:
            trial = Trial(**{**said, "domains": tuple(said["domains"])})
            take_part(runs[trial.name], trial, lambda facts: None)
        except Exception:  # noqa: BLE001 - the first process tells of it
            release_memory()
