"""What happens during a run, as events that listeners are called with.

A trial that fails is its own event: :class:`decathlon.running.faults.Failure`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from decathlon.results.records import RunRecord
from decathlon.running.faults import Failure
from decathlon.running.run import Trial
from decathlon.running.survey import TrialState


@dataclass(frozen=True)
class Planned:
    """A run begins.

    Attributes:
        states: All trials and how they stand.
    """

    states: tuple[TrialState, ...]


@dataclass(frozen=True)
class Started:
    """A trial starts.

    Attributes:
        trial: The trial.
    """

    trial: Trial


@dataclass(frozen=True)
class Epoch:
    """A trial has trained another epoch.

    Attributes:
        trial: The trial.
        facts: epoch, epochs, loss, lr, images_per_s.
    """

    trial: Trial
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A trial's records are written.

    Attributes:
        trial: The trial.
        records: Its records; empty if another process wrote them.
    """

    trial: Trial
    records: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Waiting:
    """Other processes are at work on all trials that are left.

    Attributes:
        trials: Those trials.
    """

    trials: tuple[Trial, ...]


Event = Planned | Started | Epoch | Finished | Failure | Waiting
Listener = Callable[[Event], None]


def to_all(*listeners: Listener) -> Listener:
    """Returns a listener that passes each event to several, in the order given."""

    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen
