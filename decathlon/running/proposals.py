"""Points proposed by Optuna, each after the accuracies of those before.

Optuna's journal is the history; the sampler of a point is new and keyed by the seed and the
point's number. So a study that is killed and opened again proposes the same points.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

from decathlon.common.errors import UsageError
from decathlon.data.keyed import key_of
from decathlon.running.space import Draw, Point, Space

JOURNAL = "optuna.jsonl"


def import_optuna() -> Any:
    """Returns Optuna.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            f"--optuna needs the package optuna ({error}): pip install 'decathlon[optuna]', or"
            " leave it out, and points are drawn at random"
        ) from None
    return optuna


class Study:
    """The points proposed for one choice, and their accuracies."""

    def __init__(self, folder: Path, name: str, space: Space, seed: int) -> None:
        """Opens or begins a study.

        Args:
            folder: Where its journal is; it has to exist.
            name: What the points' accuracies depend on, as a name among other studies.
            space: What is drawn, and how.
            seed: Seed of the proposals.
        """
        self.optuna, self.space, self.seed = import_optuna(), space, seed
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        journal = self.optuna.storages.journal
        backend = journal.JournalFileBackend(str(folder / JOURNAL))
        self.study = self.optuna.create_study(
            study_name=name,
            storage=self.optuna.storages.JournalStorage(backend),
            direction="maximize",
            load_if_exists=True,
        )
        self.distributions = {name: self._distribution(d) for name, d in space.draws.items()}
        states = self.optuna.trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=[states.RUNNING]):
            self.study.tell(trial.number, state=states.FAIL)  # of a killed process; asked again

    def point(self, number: int) -> tuple[Point, Any]:
        """Returns the point of a number, and its trial if it is new, for :meth:`tell`.

        Args:
            number: From 0, in order.
        """
        states = self.optuna.trial.TrialState
        known = self.study.get_trials(deepcopy=False, states=[states.COMPLETE, states.PRUNED])
        if number < len(known):
            return self._point(known[number].params), None
        seed = key_of(self.seed, "optuna", number) % 2**32
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)
        trial = self.study.ask(self.distributions)
        return self._point(trial.params), trial

    def tell(self, trial: Any, accuracy: Fraction | None) -> None:
        """Notes the accuracy of a new point; None for one that failed, which counts as bad."""
        if accuracy is None:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, float(accuracy))

    def _distribution(self, draw: Draw) -> Any:
        kinds = self.optuna.distributions
        if draw.kind == "choice":
            return kinds.CategoricalDistribution(list(range(len(draw.values))))
        if draw.kind == "int":
            return kinds.IntDistribution(int(draw.low), int(draw.high))
        return kinds.FloatDistribution(draw.low, draw.high, log=draw.kind == "log")

    def _point(self, params: dict[str, Any]) -> Point:
        found = {}
        for name, draw in self.space.draws.items():
            value = params[name]
            if draw.kind == "choice":
                value = draw.values[value]
            found[name] = draw.rounded(value) if draw.kind in ("log", "lin") else value
        return found
