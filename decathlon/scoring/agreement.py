"""Whether trials that were run again give what their records say."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, deserialize

from decathlon.common.errors import ResultError, UsageError, nearest
from decathlon.common.files import sha256
from decathlon.results.records import PREDICTIONS, RECORD, WEIGHTS, RunRecord, read_placed
from decathlon.scoring.entries import read_trial
from decathlon.scoring.integrity import read_predictions
from decathlon.scoring.intervals import accuracy_interval
from decathlon.suites.registry import find

Verdict = Literal["equal", "inside", "outside"]
MEANINGS: dict[Verdict, str] = {
    "equal": "the same predictions and weights, byte for byte",
    "inside": "the new accuracy lies in the 95 % interval of the recorded one",
    "outside": "the new accuracy lies outside it, or labels are unknown and predictions differ",
}
"""What each verdict says."""
CIRCUMSTANCES = ("device", "precision", "threads", "decathlon", "torch", "timm")
"""Parts of a record's environment that can change the last bits of a result."""


@dataclass(frozen=True)
class Agreement:
    """A trial's recorded result beside its new one.

    Attributes:
        origin: The results folder of the record.
        results: That of the new trial.
        recorded: The record.
        again: The new record.
    """

    origin: Path
    results: Path
    recorded: RunRecord
    again: RunRecord

    @cached_property
    def ci(self) -> tuple[float, float] | None:
        """95 % interval of the recorded accuracy in percent; None where labels are unknown."""
        return accuracy_interval(self.recorded, find(self.recorded.suite))

    @cached_property
    def same_predictions(self) -> bool:
        """Whether the predictions are equal byte for byte; the record has their digest."""
        was = self.recorded.predictions or _digest(self.origin / self.recorded.folder / PREDICTIONS)
        return was is not None and was == self.again.predictions

    @cached_property
    def agreeing(self) -> tuple[int, int] | None:
        """Images with the same prediction, and all; None if these are other images or missing."""
        if not (self.origin / self.recorded.folder / PREDICTIONS).is_file():
            return None
        was = read_predictions(self.origin, self.recorded)
        now = read_predictions(self.results, self.again)
        if was.image_ids.tolist() != now.image_ids.tolist():
            return None
        return int((was.category_ids == now.category_ids).sum()), len(was.image_ids)

    @cached_property
    def same_weights(self) -> bool | None:
        """Whether the weights are equal byte for byte; None if one of the two has none.

        What their files say beside them may differ: the code, if other code computes the same.
        """
        was = _tensors(self.origin / self.recorded.folder / WEIGHTS)
        now = _tensors(self.results / self.again.folder / WEIGHTS)
        return None if was is None or now is None else was == now

    @property
    def changed(self) -> list[str]:
        """Circumstances that are not those of the record, in words."""
        was, now = self.recorded.environment, self.again.environment
        return [
            f"{key} was {was[key]}, now {now[key]}"
            for key in CIRCUMSTANCES
            if key in was and key in now and was[key] != now[key]
        ]

    @property
    def verdict(self) -> Verdict:
        """See :data:`MEANINGS`."""
        if self.same_predictions and self.recorded.correct == self.again.correct:
            return "inside" if self.same_weights is False else "equal"
        if self.ci is None or self.again.accuracy is None:
            return "inside" if self.same_predictions else "outside"
        low, high = self.ci
        return "inside" if low <= self.again.accuracy <= high else "outside"


def read_recorded(path: Path, domains: Sequence[str] = ()) -> tuple[Path, list[RunRecord]]:
    """Reads the records of one trial, or of all trials of a name.

    Args:
        path: A trial's folder or record, or the folder ``RESULTS/NAME``.
        domains: Only these domains; all if empty.

    Returns:
        RESULTS, and the records.

    Raises:
        ResultError: There are none, or one is not valid.
        UsageError: There are none of a domain.
    """
    path = path.absolute()
    found = sorted(path.glob(f"*/*/seed*/{RECORD}"))
    if path.name == RECORD or (path / RECORD).exists():
        results, one = read_trial(path)
        records = [one]
    elif found:
        results = path.parent
        records = [read_placed(results, record) for record in found]
    else:
        raise ResultError(
            f"{path}: holds no {RECORD}; give the folder of a finished trial, such as"
            " results/METHOD/DOMAIN/test/seed0, or the one of all of them, results/METHOD"
        )
    known = dict.fromkeys(record.domain for record in records)
    for domain in domains:
        if domain not in known:
            raise UsageError(
                f"{path}: has no record of '{domain}'{nearest(domain, known)} (there are:"
                f" {', '.join(known)})"
            )
    return results, [record for record in records if not domains or record.domain in domains]


def _digest(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None


def _tensors(path: Path) -> dict[str, Any] | None:
    """Returns type, shape and bytes of the tensors in a file; nothing of a damaged file."""
    if not path.is_file():
        return None
    try:
        return dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except SafetensorError:
        return {}
