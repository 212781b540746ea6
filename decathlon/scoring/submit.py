"""Writing the official submission: one ``results.json`` in a zip archive."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decathlon.common.errors import ResultError, UsageError
from decathlon.common.files import replacing
from decathlon.results.records import RunRecord
from decathlon.scoring.entries import find_entry, read_entries, suite_of
from decathlon.scoring.evaluate import RESULTS_FILE, check_submission
from decathlon.scoring.integrity import official_problem, read_predictions
from decathlon.scoring.predictions import Predictions
from decathlon.suites.base import Suite


@dataclass(frozen=True)
class Submission:
    """What was written.

    Attributes:
        path: The archive.
        seed: Seed whose predictions it holds.
        num_predictions: Number of predictions by domain.
        missing: Official domains that it lacks; they will count 0.
        official: Whether all predictions are of the official data.
    """

    path: Path
    seed: int
    num_predictions: dict[str, int]
    missing: tuple[str, ...]
    official: bool


def submit(
    results: Path, name: str, out: Path, seed: int | None = None, suite: Suite | None = None
) -> Submission:
    """Writes the test predictions of one name as an official submission.

    Args:
        results: The folder of records.
        name: The method's or variant's name, or a row's label.
        out: The zip archive to write; equal predictions give equal bytes.
        seed: The seed to submit; by default the first with the most domains.
        suite: The suite; by default, that of the records.

    Raises:
        UsageError: There are no test results of that name or seed, the name was run with
            several setups, or the suite has no format of submissions.
        ResultError: A record or its predictions are missing or not valid.
    """
    suite = suite or suite_of(results)
    check_submission(suite)
    found = read_entries(results, "test", suite)
    if not found:
        raise UsageError(
            f"no test results in {results}; make them with `decathlon run --split test --results"
            f" {results}`"
        )
    entry = find_entry(found, name, results, "test")
    seeds: dict[int, dict[str, RunRecord]] = {}
    for one, of_domains in entry.by_repetition.items():
        seeds.setdefault(one.seed, of_domains)  # the first draw of each
    chosen = max(seeds, key=lambda s: (len(seeds[s]), -s)) if seed is None else seed
    if chosen not in seeds:
        known = ", ".join(map(str, seeds))
        raise UsageError(f"'{entry.label}' has no test results of seed {seed} (there are: {known})")
    # Where nothing was trained, any seed's record will do.
    untrained = {record.domain: record for record in entry.records if not record.trained}
    own = untrained | seeds[chosen]
    records = {d: own[d] for d in suite.domains if d in own}
    predictions = {d: read_predictions(results, record) for d, record in records.items()}
    if not predictions:
        raise ResultError(f"'{name}' has no test results of an official domain in {results}")
    _check_distinct(predictions)
    with replacing(out) as part:
        _write(part, list(predictions.values()))
    return Submission(
        out,
        chosen,
        {domain: len(found.image_ids) for domain, found in predictions.items()},
        tuple(domain for domain in suite.domains if domain not in predictions),
        not any(official_problem(record, suite) for record in records.values()),
    )


def _check_distinct(predictions: dict[str, Predictions]) -> None:
    ids = np.concatenate([found.image_ids for found in predictions.values()])
    images, times = np.unique(ids, return_counts=True)
    if len(images) < len(ids):
        first = images[times > 1][0]
        owners = [d for d, found in predictions.items() if first in found.image_ids]
        raise ResultError(
            f"image id {first} is predicted more than once (in {', '.join(owners)}): a submission"
            " tells images apart by their ids alone"
        )


def _write(path: Path, predictions: list[Predictions]) -> None:
    entries = [
        {"image_id": image, "category_id": category}
        for found in predictions
        for image, category in np.column_stack((found.image_ids, found.category_ids)).tolist()
    ]
    # A fixed date, so that equal predictions give equal bytes.
    member = zipfile.ZipInfo(RESULTS_FILE, (1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, json.dumps(entries, separators=(",", ":")))
