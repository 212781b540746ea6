"""One trial by class: accuracies, confusions, and the blocks that each class tunes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decathlon.data.reading.answers import PreparedAnswers
from decathlon.results.records import RunRecord
from decathlon.scoring.intervals import count_intervals
from decathlon.scoring.predictions import Ids, Predictions, lookup
from decathlon.scoring.rounding import Pair
from decathlon.scoring.routes import Decisions

MOST_CONFUSED = 10
"""Pairs of classes that a report lists."""


@dataclass(frozen=True)
class Answered:
    """A trial's predictions beside the labels, in the order of ``predictions.json``.

    Attributes:
        names: Name by label; the category id of a class without a name.
        categories: Category id by label.
        image_ids: N.
        truth: Label of each image, N.
        predicted: Predicted label of each image, N.
    """

    names: tuple[str, ...]
    categories: tuple[int, ...]
    image_ids: Ids
    truth: Ids
    predicted: Ids

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image is classified correctly."""
        right: NDArray[np.bool_] = self.truth == self.predicted
        return right


@dataclass(frozen=True)
class ClassAccuracy:
    """How many images of a class are right.

    Attributes:
        name: Its name.
        category: Its category id.
        correct: Images right.
        total: Images.
        ci: 95 % interval of the accuracy in percent.
    """

    name: str
    category: int
    correct: int
    total: int
    ci: Pair

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.total


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are taken for another.

    Attributes:
        true: Name of their class.
        predicted: Name of the class that is predicted.
        image_ids: Their ids.
    """

    true: str
    predicted: str
    image_ids: tuple[int, ...]


@dataclass(frozen=True)
class ClassRouting:
    """The blocks that the images of a class tune.

    Attributes:
        name: The class.
        total: Its images.
        tuned: Share of them, in percent, that take the tuned path of each block.
        difference: Mean over the blocks of the distance to the share of all images, in points.
    """

    name: str
    total: int
    tuned: tuple[float, ...]
    difference: float


def answered(found: Predictions, record: RunRecord, answers: PreparedAnswers) -> Answered | None:
    """Puts a record's predictions beside the labels; None where these are unknown.

    Args:
        found: The predictions.
        record: Their record, which :mod:`decathlon.scoring.audit` has checked.
        answers: The labels.
    """
    key = answers.key(record.domain, record.split)
    if key is None or key.category_ids is None:
        return None
    domain = answers.manifest.domains[record.domain]
    position, _ = lookup(key.image_ids, found.image_ids)
    first = domain.first_category
    pairs = zip(domain.class_names, domain.category_ids, strict=True)
    return Answered(
        tuple(name or str(category) for name, category in pairs),
        tuple(domain.category_ids),
        found.image_ids,
        key.category_ids[position] - first,
        found.category_ids - first,
    )


def accuracies(found: Answered) -> tuple[ClassAccuracy, ...]:
    """Returns the accuracy of every class with images, the lowest first."""
    totals = np.bincount(found.truth, minlength=len(found.names)).tolist()
    right = np.bincount(found.truth[found.right], minlength=len(found.names)).tolist()
    # By counts: classes with equal ones have equal intervals.
    _, ci = count_intervals({f"{k} of {n}": (k, n) for k, n in zip(right, totals, strict=True)}, {})
    classes = []
    for name, category, k, n in zip(found.names, found.categories, right, totals, strict=True):
        if n:
            low, high = ci[f"{k} of {n}"]
            # Jeffreys' interval reaches the ends where all are wrong or right (Brown et al. 2001).
            span = low if k else 0.0, high if k < n else 100.0
            classes.append(ClassAccuracy(name, category, k, n, span))
    return tuple(sorted(classes, key=lambda one: (one.accuracy, one.name)))


def confusions(found: Answered) -> tuple[Confusion, ...]:
    """Returns the pairs of classes that are confused most, the most images first."""
    pairs: dict[tuple[int, int], list[int]] = {}
    wrong = ~found.right
    columns = (found.truth, found.predicted, found.image_ids)
    for true, predicted, image in zip(*(c[wrong].tolist() for c in columns), strict=True):
        pairs.setdefault((true, predicted), []).append(image)
    ordered = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(
        Confusion(found.names[true], found.names[predicted], tuple(images))
        for (true, predicted), images in ordered[:MOST_CONFUSED]
    )


def routing_by_class(found: Answered, decisions: Decisions) -> tuple[ClassRouting, ...]:
    """Returns the routing of every class with images, the most different from all images first.

    Args:
        found: The labels of N images.
        decisions: Their routing, N x L.
    """
    overall = decisions.mean(axis=0)
    classes = []
    for label in np.unique(found.truth).tolist():
        own = decisions[found.truth == label]
        shares = own.mean(axis=0)
        difference = 100 * float(np.abs(shares - overall).mean())
        tuned = tuple((100 * shares).tolist())
        classes.append(ClassRouting(found.names[label], len(own), tuned, difference))
    return tuple(sorted(classes, key=lambda one: (-one.difference, one.name)))
