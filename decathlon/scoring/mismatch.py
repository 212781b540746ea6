"""How a submission misses the labels, and what its ids look like instead."""

from collections.abc import Mapping

import numpy as np

from decathlon.data.sources.test_labels import Labels
from decathlon.scoring.predictions import Ids, Predictions, lookup, some


def problems_of(predictions: Predictions, labels: Mapping[str, Labels]) -> list[str]:
    """Describes every mismatch between predictions and labels, one sentence each.

    Ids are never corrected: whether contiguous labels are in the order of the categories is
    the submitter's to know. The sentence says what the ids look like and what to add.
    """
    problems = []
    images, times = np.unique(predictions.image_ids, return_counts=True)
    if not len(images):
        problems.append("there is no prediction in it")
    twice = images[times > 1]
    if len(twice):
        problems.append(
            f"{len(twice)} image ids are predicted more than once, as different categories:"
            f" {some(twice)}"
        )
    for name, label in labels.items():
        problems += _missing(name, label, images)
        problems += _categories(name, label, predictions, labels)
    known = np.sort(np.concatenate([label.image_ids for label in labels.values()]))
    foreign = ~lookup(known, images)[1]
    if foreign.any():
        ids = images[foreign]
        hint = _hint_on_images(images, foreign, known)
        problems.append(f"{len(ids)} image ids are of no test image: {some(ids)}{hint}")
    return problems


def _missing(name: str, label: Labels, images: Ids) -> list[str]:
    missing = np.setdiff1d(label.image_ids, images, assume_unique=True)
    if not len(missing) or len(missing) == len(label.image_ids):
        return []
    total = len(label.image_ids)
    return [f"{name}: {len(missing)} of {total} images have no prediction: {some(missing)}"]


def _categories(
    name: str, label: Labels, predictions: Predictions, labels: Mapping[str, Labels]
) -> list[str]:
    own = lookup(label.image_ids, predictions.image_ids)[1]
    wrong = own & ~lookup(label.categories, predictions.category_ids)[1]
    problems = []
    for other in labels.values():
        of_other = wrong & lookup(other.categories, predictions.category_ids)[1]
        if of_other.any():
            ids = predictions.category_ids[of_other]
            problems.append(
                f"{name}: {len(ids)} predictions name a category of {other.domain}: {some(ids)}"
            )
            wrong &= ~of_other
    if wrong.any():
        ids = predictions.category_ids[wrong]
        hint = _hint_on_categories(predictions.category_ids[own], label.categories)
        problems.append(f"{name}: {len(ids)} predictions name no known category: {some(ids)}{hint}")
    return problems


def _hint_on_categories(ids: Ids, categories: Ids) -> str:
    """Guesses what a domain's category ids are instead."""
    low, high, count = int(ids.min()), int(ids.max()), len(categories)
    first, last = int(categories[0]), int(categories[-1])
    if high <= count:
        if low == 0 and high < count:
            return f" (they look like contiguous labels 0..{count - 1}: add {first} to each)"
        if low > 0 and high == count:
            return f" (they look like contiguous labels 1..{count}: add {first - 1} to each)"
        if low > 0:
            return (
                f" (they look like contiguous labels: add {first} to each if they count from 0,"
                f" {first - 1} if from 1)"
            )
    if low == first - 1 and high < last:
        return f" (the ids are {first}..{last}: these look one too low, add 1 to each)"
    if high == last + 1 and low > first:
        return f" (the ids are {first}..{last}: these look one too high, subtract 1 from each)"
    return f" (the ids are {first}..{last})"


def _hint_on_images(images: Ids, foreign: np.ndarray, known: Ids) -> str:
    """Guesses what image ids are instead."""
    for shift, text in ((1, "one too low: add 1 to each"), (-1, "one too high: subtract 1")):
        if lookup(known, images + shift)[1].all():
            return f" (the ids look {text})"
    if foreign.all() and int(images.max()) <= len(known):
        return (
            " (they look like positions in a list: take the ids of the annotations,"
            f" {known[0]} and so on)"
        )
    return ""
