"""Runs by several processes: the first plans, claims and writes, the others train with it."""

from decathlon.models.processes import num_processes, rank
from decathlon.plan import Run, Trial
from decathlon.runs import Watch, execute
from decathlon.training.team import call, one_fate
from decathlon.trials import take_part


def perform(run: Run, watch: Watch) -> list[Trial]:
    """Runs all trials that are not done; alone, as :func:`decathlon.runs.execute`.

    Args:
        run: What to run, the same in all processes.
        watch: Is told of everything, in the first process.

    Returns:
        The trials that failed.

    Raises:
        UsageError: A finished record does not belong to this run, and force is off.
    """
    if num_processes() == 1:
        return execute(run, watch)
    with one_fate():
        return _lead(run, watch) if rank() == 0 else _follow(run)


def _lead(run: Run, watch: Watch) -> list[Trial]:
    try:
        failed = execute(run, watch)
    except Exception:
        call(None)
        raise
    call(None)
    return failed


def _follow(run: Run) -> list[Trial]:
    """Takes part in the trials that the first process calls for, until there are no more."""
    failed = []
    while (said := call(None)) is not None:
        trial = Trial(**{**said, "domains": tuple(said["domains"])})
        try:
            take_part(run, trial, lambda facts: None)
        except Exception:  # noqa: BLE001 - what follows of it, the first process says
            failed.append(trial)
    return failed
