"""What the files of a bundle's trials prove: predictions, against labels where they are known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decathlon.common.errors import ResultError
from decathlon.common.files import sha256
from decathlon.common.text import plural
from decathlon.results.records import LOG, PREDICTIONS, ROUTING, RunRecord, pack_bits
from decathlon.scoring.audit import disagreements, right_of
from decathlon.scoring.bundling.cards import trial_of
from decathlon.scoring.bundling.points import LABELS, Point
from decathlon.scoring.integrity import read_predictions
from decathlon.scoring.logs import read_losses
from decathlon.scoring.predictions import some
from decathlon.scoring.routes import read_decisions

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers


@dataclass(frozen=True)
class Evidence:
    """What the files of one trial say of its record.

    Attributes:
        record: The record.
        recomputed: The record as its predictions and the labels have it; None where the labels
            are unknown or there are no valid predictions.
        on_files: What is wrong with its files.
        on_labels: What differs from the labels.
    """

    record: RunRecord
    recomputed: RunRecord | None
    on_files: tuple[str, ...]
    on_labels: tuple[str, ...]


def evidence_of(results: Path, record: RunRecord, answers: "Answers | None") -> Evidence:
    """Reads the files of one trial.

    Args:
        results: The folder of records.
        record: The trial's record.
        answers: The labels, if there are any.

    Raises:
        DataError: The labels cannot be read.
    """
    on_files = [*_on_digest(results, record), *_on_extras(results, record)]
    try:
        found = read_predictions(results, record)
    except ResultError as error:
        return Evidence(record, None, (*on_files, _short(error, results, record)), ())
    images, times = np.unique(found.image_ids, return_counts=True)
    if len(twice := images[times > 1]):
        on_files.append(f"{len(twice)} image ids are predicted more than once: {some(twice)}")
    key = None if answers is None else answers.key(record.domain, record.split)
    if key is None:
        return Evidence(record, None, tuple(on_files), ())
    right = right_of(found, key)
    bits = None if right is None else right.tolist()
    counts = bits and {"correct": sum(bits), "total": len(bits), "correctness": pack_bits(bits)}
    again = record.model_copy(update=counts) if counts else None
    return Evidence(record, again, tuple(on_files), tuple(disagreements(record, found, key, right)))


def _on_digest(results: Path, record: RunRecord) -> Iterator[str]:
    path = results / record.folder / PREDICTIONS
    if record.predictions is None:
        yield "predictions: the record has no digest of them, an earlier version wrote it"
    elif path.is_file() and (digest := sha256(path)) != record.predictions:
        yield (
            f"{PREDICTIONS}: has the digest {digest[:12]}..., the record says"
            f" {record.predictions[:12]}..."
        )


def _on_extras(results: Path, record: RunRecord) -> Iterator[str]:
    folder = results / record.folder
    try:
        if (folder / ROUTING).exists():
            read_decisions(folder / ROUTING, record)
        if (folder / LOG).exists():
            read_losses(folder / LOG)
    except ResultError as error:
        yield _short(error, results, record)


def _short(error: ResultError, results: Path, record: RunRecord) -> str:
    """Returns a message without what its reader cannot do, and without the temporary folder."""
    text = str(error).removesuffix("; run the trial again with --force")
    return text.replace(f"{results / record.folder}/", "")


def on_files(found: Sequence[Evidence]) -> Point:
    """Returns what is known of the files of all trials."""
    differences = (f"{trial_of(one.record)}: {text}" for one in found for text in one.on_files)
    return Point.of("files", f"those of {plural(len(found), 'record')}", differences)


def on_labels(found: Sequence[Evidence], answers: "Answers | None") -> Point:
    """Returns what the labels say of all trials."""
    if answers is None:
        return Point(LABELS, "unchecked", "give them with --labels or --data")
    differences = [f"{trial_of(one.record)}: {text}" for one in found for text in one.on_labels]
    known = [one for one in found if one.recomputed is not None]
    images = sum(one.recomputed.total or 0 for one in known if one.recomputed)
    text = f"{images} predictions of {plural(len(known), 'record')} recomputed"
    lacking = dict.fromkeys(one.record.domain for one in found if one.recomputed is None)
    if lacking:
        text += f"; not those of {', '.join(lacking)}: no labels in {answers.where}"
    if lacking and not differences:
        return Point(LABELS, "unchecked", text)
    return Point.of(LABELS, text, differences)
