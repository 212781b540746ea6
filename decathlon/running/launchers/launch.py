"""Launching trials as the user asked for: one after another, by torchrun, or on a Ray cluster."""

from collections.abc import Sequence

from decathlon.models.processes import num_processes
from decathlon.running.display import watched
from decathlon.running.events import to_all
from decathlon.running.execution import execute
from decathlon.running.faults import Failure
from decathlon.running.launchers.ray import Cluster, execute_on
from decathlon.running.launchers.torchrun import execute_together
from decathlon.running.survey import TrialState
from decathlon.running.tracking import Tracker, TrialCurves


def launch(
    states: Sequence[TrialState], cluster: Cluster | None, trackers: Sequence[Tracker]
) -> list[Failure]:
    """Runs all trials that are not done, and shows how they proceed.

    Args:
        states: What :func:`decathlon.running.survey.survey` found.
        cluster: Where to run them; None for this machine.
        trackers: Where their curves go.

    Returns:
        The trials that failed, and why.

    Raises:
        UsageError: A finished record belongs to another run, or nothing can be run there.
        TrialError: The cluster is lost.
        KeyboardInterrupt: A signal has arrived; standard error says what is done and left.
    """
    with watched(states) as shown:
        listener = to_all(*map(TrialCurves, trackers), shown)
        if cluster is not None:
            return execute_on(cluster, states, listener)
        if num_processes() > 1:
            return execute_together(states, listener)
        return execute(states, listener)
