"""Tracking: the curves of trainings, sent where ``--track NAME:TARGET`` says.

The JSONL log is always written. A tracker that fails while it logs is left alone from then on,
with one warning, and the training continues.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from decathlon.common.errors import UsageError, check_known
from decathlon.running.events import Epoch, Event, Finished, Planned
from decathlon.running.faults import Failure
from decathlon.running.run import Trial
from decathlon.running.survey import TrialState
from decathlon.running.trackers import TRACKERS, Curves, Opener


class Tracker:
    """The curves of all trainings of a command in one place.

    Args:
        option: What the user wrote, for the warning.
        opener: Opens the curves of one training.
    """

    def __init__(self, option: str, opener: Opener) -> None:
        self.option, self.opener = option, opener
        self._open: dict[str, Curves] = {}
        self._failed = False

    def epoch(self, name: str, facts: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Logs loss, speed and rates of an epoch.

        Args:
            name: Of the training.
            facts: What the training loop reports.
            settings: Of the training.
        """
        rates = {f"lr/group{number}": rate for number, rate in enumerate(facts["lr"])}
        values = {key: facts[key] for key in ("loss", "images_per_s")} | rates
        self._log(name, values, facts["epoch"], settings)

    def accuracy(
        self, name: str, percent: float | None, epoch: int, settings: Mapping[str, Any]
    ) -> None:
        """Logs the final accuracy, if it is known, and closes the curves."""
        if percent is not None:
            self._log(name, {"accuracy": percent}, epoch, settings)
        self.close(name)

    def close(self, name: str) -> None:
        """Closes the curves of a training, if they are open."""
        if (curves := self._open.pop(name, None)) is not None:
            with self._careful():
                curves.close()

    def _log(
        self, name: str, values: Mapping[str, float], step: int, settings: Mapping[str, Any]
    ) -> None:
        with self._careful():
            if self._failed:
                return
            if name not in self._open:
                self._open[name] = self.opener(name, settings)
            self._open[name].log(values, step)

    @contextmanager
    def _careful(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a stranger's tracker may raise anything
            if not self._failed:
                warnings.warn(
                    f"--track {self.option}: {type(error).__name__}: {error}; it gets no more"
                    " curves from this command, and log.jsonl has the same numbers",
                    stacklevel=1,
                )
            self._failed = True


def trackers_of(options: Sequence[str]) -> list[Tracker]:
    """Returns the trackers of ``--track`` options, each checked before anything is trained.

    Raises:
        UsageError: One is unknown, lacks its target or its package, or its target cannot be used.
    """
    found = []
    for option in dict.fromkeys(options):
        name, _, target = option.partition(":")
        check_known("tracker", name, TRACKERS)
        kind, opener_of = TRACKERS[name]
        if not target:
            raise UsageError(f"--track {option}: write --track {name}:{kind}")
        found.append(Tracker(option, opener_of(target)))
    return found


class TrialCurves:
    """A listener that sends the curves of all trials to a tracker.

    They are named like the trial's folder, ``<name>/<domain>/<split>/seed<k>``; a joint training's
    like that of its first domain, as its log is, and each domain's accuracy like its own.
    """

    def __init__(self, tracker: Tracker) -> None:
        """Names the tracker."""
        self.tracker = tracker
        self.states: dict[Trial, TrialState] = {}
        self.epochs: dict[Trial, int] = {}

    def __call__(self, event: Event) -> None:
        """Logs what an event has for the curves."""
        match event:
            case Planned(states):
                self.states = {state.trial: state for state in states}
            case Epoch(trial, facts):
                self.epochs[trial] = facts["epoch"]
                first = trial.domains[0]
                self.tracker.epoch(str(trial.folder(first)), facts, self._settings(trial, first))
            case Finished(trial, records):
                for record in records:
                    settings = self._settings(trial, record.domain)
                    epoch = self.epochs.get(trial, 0)
                    self.tracker.accuracy(str(record.folder), record.accuracy, epoch, settings)
                self.tracker.close(str(trial.folder(trial.domains[0])))
            case Failure(trial):
                self.tracker.close(str(trial.folder(trial.domains[0])))

    def _settings(self, trial: Trial, domain: str) -> dict[str, Any]:
        own = {"domain": domain, "split": trial.split, "seed": trial.seed}
        state = self.states.get(trial)
        return own if state is None else own | state.folder.expected(domain)
