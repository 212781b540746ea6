"""Whether records are what they were when they were written, and of the same data.

Checked whenever records are read, without the data: predictions by their digest, numbers of
images and classes against the other records of the domain. What only the labels can tell
(is `correct` what the predictions give?) is for :mod:`decathlon.scoring.audit`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decathlon.common.errors import ResultError, listed
from decathlon.common.files import sha256
from decathlon.common.oserrors import explained
from decathlon.results.records import PREDICTIONS, RunRecord
from decathlon.suites.base import SPLITS, Suite

if TYPE_CHECKING:
    from decathlon.scoring.predictions import Predictions


def check_predictions(results: Path, records: Iterable[RunRecord]) -> None:
    """Compares ``predictions.json`` with the digest in each record that has one.

    Raises:
        ResultError: A file is missing or was changed; all are named.
    """
    problems = []
    for record in records:
        path = results / record.folder / PREDICTIONS
        if record.predictions is None:
            continue
        try:
            if not path.is_file():  # a pipe, for instance, would be waited for
                problems.append(f"{path}: missing")
            elif sha256(path) != record.predictions:
                problems.append(f"{path}: was changed after its record was written")
        except OSError as error:
            problems.append(explained(error, path, failed="cannot be read"))
    if problems:
        lines = listed(problems, "\n  ")
        raise ResultError(
            f"predictions that are not those of their record:\n  {lines}\n"
            "put the original files back, or run these trials again with --force"
        )


def check_same_data(records: Sequence[RunRecord]) -> None:
    """Compares the numbers of images and classes of each domain's records.

    Raises:
        ResultError: Records of a domain were evaluated on different data.
    """
    for field, text in (("total", "images"), ("num_classes", "classes")):
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        known = [record for record in records if getattr(record, field) is not None]
        for record in known:
            counts[record.domain][getattr(record, field)] += 1
        for record in known:
            value, usual = getattr(record, field), counts[record.domain].most_common(1)[0][0]
            if value != usual:
                raise ResultError(
                    f"{record.folder}: {field}: evaluated on {value} {text} of {record.domain},"
                    f" other records on {usual}; results of different data do not go on one"
                    " board: keep them in separate folders"
                )


def check_same_images(results: Path, records: Iterable[RunRecord]) -> list[str]:
    """Checks that the records of each domain are of the same images in the same order.

    Equal shards hold equal images. Shards differ where labels were filled in later, for
    instance; then the ids beside the predictions decide.

    Returns:
        A sentence for each domain in which missing predictions leave that unknown.

    Raises:
        ResultError: Two records are of different images.
    """
    by_domain: dict[str, dict[str, RunRecord]] = defaultdict(dict)
    for record in records:
        shard = record.data.get(record.split, f"unknown, {record.folder}")
        by_domain[record.domain].setdefault(shard, record)
    unsure = []
    for domain, of_shard in by_domain.items():
        first, *others = of_shard.values()
        for other in others:
            missing = [r for r in (first, other) if not (results / r.folder / PREDICTIONS).exists()]
            if missing:
                unsure.append(
                    f"{domain}: {first.folder} and {other.folder} were evaluated on shards that"
                    f" differ, and {missing[0].folder / PREDICTIONS} is missing: whether these"
                    " are the same images is unknown."
                )
            elif not _same_ids(results, first, other):
                raise ResultError(
                    f"{first.folder} and {other.folder}: evaluated on different images of"
                    f" {domain}; they cannot be compared image by image and do not go on one"
                    " board: run both on the same data, or keep them in separate folders"
                )
    return unsure


def _same_ids(results: Path, a: RunRecord, b: RunRecord) -> bool:
    first, second = (read_predictions(results, record).image_ids for record in (a, b))
    return first.shape == second.shape and bool((first == second).all())


def read_predictions(results: Path, record: RunRecord) -> "Predictions":
    """Reads the predictions beside a record, in the order of its correctness bits.

    Raises:
        ResultError: They are missing, not valid, or not as many as the record says.
    """
    # Imported here: a board of published rows alone does not pay for numpy.
    from decathlon.scoring.predictions import MAX_BYTES, parse_predictions

    path = results / record.folder / PREDICTIONS
    try:
        if path.exists() and not path.is_file():
            raise ResultError(f"{path}: is not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise ResultError(f"{path}: too large for predictions")
        found = parse_predictions(path.read_bytes(), str(path))
    except OSError as error:
        other = "run the trial again with --force"
        raise ResultError(explained(error, path, other, "cannot be read")) from None
    problems = list(found.problems)
    if record.total is not None and len(found.image_ids) != record.total:
        problems.append(f"{len(found.image_ids)} predictions, but {record.total} in the record")
    if problems:
        raise ResultError(f"{path}: {'; '.join(problems)}; run the trial again with --force")
    return found


def official_problem(record: RunRecord, suite: Suite) -> str | None:
    """Returns why a record cannot count as official, or None if it can.

    A record counts as official if it says so and its numbers of classes and images are the
    official ones.
    """
    where = f"{record.folder}: "
    if record.domain not in suite.domains:
        return f"{where}'{record.domain}' is not an official domain"
    if not record.official:
        return f"{where}not on the official {record.domain} data"
    domain = suite.domains[record.domain]
    size = domain.sizes[SPLITS.index(record.split)]
    for what, found, known in (
        ("classes", record.num_classes, domain.num_classes),
        (f"{record.split} images", record.total, size),
    ):
        if found not in (None, known):
            return (
                f"{where}calls its data official, but has {found} {what}; the official"
                f" {record.domain} has {known}"
            )
    return None
