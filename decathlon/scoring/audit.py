"""The audit of records: every count computed again from the predictions and the labels.

A record states how many images were right, and nothing in it proves that. With the labels at
hand (a prepared data folder, or the official ``labels_test.zip``) the statement can be
checked, and every disagreement is named.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decathlon.common.errors import ResultError, listed
from decathlon.common.text import plural
from decathlon.results.records import RunRecord, pack_bits
from decathlon.scoring.integrity import read_predictions
from decathlon.scoring.intervals import bits_of
from decathlon.scoring.predictions import Ids, Predictions, lookup, some

if TYPE_CHECKING:
    from decathlon.data.reading.answers import Answer, PreparedAnswers
    from decathlon.data.sources.test_labels import Labels, LabelsFile

    AnswerKey: TypeAlias = Answer | Labels
    Answers: TypeAlias = PreparedAnswers | LabelsFile


def audit(results: Path, records: Iterable[RunRecord], answers: "Answers") -> list[str]:
    """Checks records against the labels.

    Args:
        results: The folder of records.
        records: The records to check; one that is given twice is checked once.
        answers: The labels.

    Returns:
        Sentences that say what was checked and what could not be.

    Raises:
        ResultError: A record disagrees with the labels; every difference is named.
        DataError: The labels cannot be read.
    """
    by_split: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in {id(record): record for record in records}.values():
        by_split[record.domain, record.split].append(record)
    keys = {one: answers.key(*one) for one in by_split}
    problems = [
        problem
        for one, own in by_split.items()
        if (key := keys[one]) is not None
        for record in own
        for problem in _problems(results, record, key)
    ]
    if problems:
        lines = listed(problems, "\n  ")
        raise ResultError(
            f"{results}: records that disagree with {answers.where}:\n  {lines}\n"
            "run these trials again with --force, or name the data that they belong to"
        )
    return _said({one: len(own) for one, own in by_split.items()}, keys, answers.where)


def coverage(records: Sequence[RunRecord], answers: "Answers") -> list[str]:
    """Returns sentences that say which records the labels can check, and which they cannot.

    Args:
        records: The records.
        answers: The labels.

    Raises:
        DataError: The labels cannot be read.
    """
    counts: Counter[tuple[str, str]] = Counter((one.domain, one.split) for one in records)
    return _said(counts, {one: answers.key(*one) for one in counts}, answers.where)


def _said(
    counts: Mapping[tuple[str, str], int],
    keys: "Mapping[tuple[str, str], AnswerKey | None]",
    where: Path,
) -> list[str]:
    checked, absent, unlabelled = 0, [], []
    for (domain, split), count in counts.items():
        if (key := keys[domain, split]) is None:
            absent.append(domain)
        elif key.category_ids is None:
            unlabelled.append(domain)
        else:
            checked += count
    text = f"the counts of {plural(checked, 'record')} are what the predictions give"
    notes = [f"Checked against {where}: {text}."] if checked else []
    if unlabelled:
        notes.append(f"Not checked: {', '.join(unlabelled)}; {where} does not hold the labels.")
    if absent:
        notes.append(f"Not checked: {', '.join(absent)}; not in {where}.")
    return notes


def _problems(results: Path, record: RunRecord, key: "AnswerKey") -> list[str]:
    """Returns every disagreement between a record and the answers."""
    try:
        found = read_predictions(results, record)
    except ResultError as error:
        return [str(error)]
    problems = disagreements(record, found, key, right_of(found, key))
    return [f"{record.folder}: {problem}" for problem in problems]


def right_of(found: Predictions, key: "AnswerKey") -> NDArray[np.bool_] | None:
    """Returns which predictions are right; None where the labels are unknown."""
    if key.category_ids is None:
        return None
    position, known = lookup(key.image_ids, found.image_ids)
    right = np.zeros(len(known), dtype=bool)
    right[known] = key.category_ids[position[known]] == found.category_ids[known]
    return right


def disagreements(
    record: RunRecord, found: Predictions, key: "AnswerKey", right: NDArray[np.bool_] | None
) -> list[str]:
    """Returns every disagreement between a record, its predictions and the answers.

    Args:
        record: The record.
        found: The predictions beside it.
        key: The answers.
        right: Which predictions are right, by :func:`right_of`.
    """
    known = lookup(key.image_ids, found.image_ids)[1]
    problems = _on_ids(found.image_ids, known, key)
    foreign = ~lookup(key.categories, found.category_ids)[1]
    if foreign.any():
        ids = some(found.category_ids[foreign])
        problems.append(f"{int(foreign.sum())} predictions name no category of the domain: {ids}")
    if right is not None and record.correct is not None:
        problems += _on_counts(record, right, len(key.image_ids))
    if record.num_classes != len(key.categories):
        problems.append(f"num_classes: is {record.num_classes}, has to be {len(key.categories)}")
    if record.official and not key.official:
        problems.append("official: is true, but this is not the official data")
    # A record without labels was made before labels were filled in, which changes the shard.
    exempt = record.split if record.correct is None else ""
    for split, digest in record.data.items():
        other = key.digests.get(split, digest)
        if other != digest and split != exempt:
            problems.append(f"data.{split}: is {digest[:12]}..., the data there {other[:12]}...")
    return problems


def _on_ids(ids: Ids, known: NDArray[np.bool_], key: "AnswerKey") -> list[str]:
    problems = []
    images, times = np.unique(ids, return_counts=True)
    for wrong, text in (
        (images[times > 1], "are predicted more than once"),
        (np.setdiff1d(key.image_ids, images, assume_unique=True), "have no prediction"),
        (np.unique(ids[~known]), "are of no image of this split"),
    ):
        if len(wrong):
            problems.append(f"{len(wrong)} image ids {text}: {some(wrong)}")
    return problems


def _on_counts(record: RunRecord, right: NDArray[np.bool_], total: int) -> list[str]:
    problems = []
    correct = int(right.sum())
    if record.total != total:
        problems.append(f"total: is {record.total}, has to be {total}")
    if record.correct != correct:
        problems.append(f"correct: is {record.correct}, the predictions give {correct}")
    if record.correctness != pack_bits(right.tolist()):
        stated = bits_of(record)[: len(right)]
        count = int((stated != right[: len(stated)]).sum())
        problems.append(f"correctness: {count} of its bits are not what the predictions give")
    return problems
