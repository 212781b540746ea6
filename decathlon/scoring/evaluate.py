"""Scoring a submission offline, with the public test labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from decathlon.domains import DOMAINS
from decathlon.errors import ResultError
from decathlon.scoring.labels import Labels, read_labels
from decathlon.scoring.predictions import MAX_BYTES, Ids, Predictions, parse_predictions
from decathlon.scoring.score import decathlon_score, domain_points
from decathlon.zipped import member, opened

RESULTS_FILE = "results.json"
"""The one file that an official submission holds."""
SHOWN = 3
"""How many of the ids at fault a message names."""


@dataclass(frozen=True)
class Evaluation:
    """The score of a submission.

    Attributes:
        correct: Images right, by domain that was predicted.
        total: Images, by domain that was predicted.
        missing: Domains without any prediction; they count 0.
    """

    correct: dict[str, int]
    total: dict[str, int]
    missing: tuple[str, ...]

    @property
    def errors(self) -> dict[str, float]:
        """Error in [0, 1] by domain predicted."""
        return {d: (self.total[d] - self.correct[d]) / self.total[d] for d in self.total}

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy in percent by domain predicted."""
        return {d: 100 * self.correct[d] / self.total[d] for d in self.total}

    @property
    def points(self) -> dict[str, float]:
        """Points by domain; 0 where it is missing."""
        found = domain_points(self.errors)
        return {name: found.get(name, 0.0) for name in DOMAINS}

    @property
    def score(self) -> float:
        """S with the official E_max."""
        return decathlon_score(self.errors)


def evaluate(submission: Path, labels: Path) -> Evaluation:
    """Scores a submission in the official format.

    Args:
        submission: A zip archive of ``results.json``.
        labels: The official ``labels_test.zip``, or a folder of its files.

    Raises:
        ResultError: The submission is not valid; all problems are named at once.
        DataError: The labels cannot be read.
    """
    predictions = read_submission(submission)
    known = read_labels(labels)
    problems = [*predictions.problems, *_problems(predictions, known)]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ResultError(f"{submission}: not a valid submission:\n{listed}")
    correct, total = {}, {}
    for name, label in known.items():
        position, found = _lookup(label.image_ids, predictions.image_ids)
        if found.any():
            right = label.category_ids[position[found]] == predictions.category_ids[found]
            correct[name], total[name] = int(right.sum()), len(right)
    return Evaluation(correct, total, tuple(name for name in DOMAINS if name not in total))


def read_submission(path: Path) -> Predictions:
    """Reads the predictions of a submission; entries that are none are among its problems.

    Raises:
        ResultError: It is no zip archive of one ``results.json``.
    """
    with opened(path, ResultError) as archive:
        names = [n for n in archive.namelist() if not n.startswith("__MACOSX/")]
        found = [n for n in names if PurePosixPath(n).name == RESULTS_FILE]
        if len(found) != 1:
            inside = ", ".join(map(repr, names[:5])) or "nothing"
            raise ResultError(
                f"{path}: has to hold one {RESULTS_FILE}, holds {len(found)} (inside: {inside});"
                " `decathlon submit` writes one"
            )
        raw = member(archive, found[0], MAX_BYTES, path, ResultError)
    return parse_predictions(raw, f"{path}: {RESULTS_FILE}")


def _lookup(known: Ids, wanted: Ids) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Returns where each wanted id stands among the ascending known ones, and whether."""
    position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return position, known[position] == wanted


def _some(ids: Ids) -> str:
    first = ", ".join(map(str, ids[:SHOWN].tolist()))
    return f"{first}, ..." if len(ids) > SHOWN else first


def _problems(predictions: Predictions, labels: Mapping[str, Labels]) -> list[str]:
    problems = []
    images, times = np.unique(predictions.image_ids, return_counts=True)
    if not len(images):
        problems.append("there is no prediction in it")
    twice = images[times > 1]
    if len(twice):
        problems.append(f"{len(twice)} image ids are predicted more than once: {_some(twice)}")
    foreign = np.ones(len(images), dtype=bool)
    for name, label in labels.items():
        foreign &= ~_lookup(label.image_ids, images)[1]
        problems += _missing(name, label, images)
        problems += _categories(name, label, predictions, labels)
    if foreign.any():
        ids = images[foreign]
        problems.append(f"{len(ids)} image ids are of no test image: {_some(ids)}")
    return problems


def _missing(name: str, label: Labels, images: Ids) -> list[str]:
    missing = np.setdiff1d(label.image_ids, images, assume_unique=True)
    if not len(missing) or len(missing) == len(label.image_ids):
        return []
    total = len(label.image_ids)
    return [f"{name}: {len(missing)} of {total} images have no prediction: {_some(missing)}"]


def _categories(
    name: str, label: Labels, predictions: Predictions, labels: Mapping[str, Labels]
) -> list[str]:
    own = _lookup(label.image_ids, predictions.image_ids)[1]
    wrong = own & ~_lookup(label.categories, predictions.category_ids)[1]
    problems = []
    for other in labels.values():
        of_other = wrong & _lookup(other.categories, predictions.category_ids)[1]
        if of_other.any():
            ids = predictions.category_ids[of_other]
            problems.append(
                f"{name}: {len(ids)} predictions name a category of {other.domain}: {_some(ids)}"
            )
            wrong &= ~of_other
    if wrong.any():
        ids = predictions.category_ids[wrong]
        problems.append(f"{name}: {len(ids)} predictions name no known category: {_some(ids)}")
    return problems
