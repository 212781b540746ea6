"""Checking a bundle: does everything follow from the predictions, and keep to the protocol?"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from decathlon.common.errors import DataError, ResultError, UsageError, first_difference
from decathlon.common.files import sha256
from decathlon.common.text import plural
from decathlon.results.bundle_files import RESULTS, SOURCES, unpack
from decathlon.results.card import Card
from decathlon.results.parameters import params_ratio
from decathlon.results.records import (
    WEIGHTS,
    Code,
    Parameters,
    RunRecord,
    find_records,
    read_placed,
)
from decathlon.scoring.bundling.cards import trial_of
from decathlon.scoring.bundling.evidence import Evidence, evidence_of, on_files, on_labels
from decathlon.scoring.bundling.points import BundleCheck, Point
from decathlon.scoring.bundling.rules import check_rules
from decathlon.scoring.entries import Entry, by_repetition
from decathlon.scoring.integrity import official_problem
from decathlon.scoring.setups import by_setup
from decathlon.suites import registry
from decathlon.suites.base import Suite

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers


@dataclass(frozen=True)
class Installed:
    """What a check asks of the installed methods, which scoring knows nothing of.

    Attributes:
        code_problem: Returns how a method's installed code differs from recorded code, or "";
            raises UsageError where no such method is installed.
        count: Counts the parameters of the network in a trial's weights; raises UsageError where
            its method is not installed, and DataError where it cannot be built.
    """

    code_problem: Callable[[str, Code], str]
    count: Callable[[Path, RunRecord], Parameters]


def check_bundle(
    path: Path,
    installed: Installed,
    open_answers: "Callable[[str, Suite], Answers | None]",
) -> BundleCheck:
    """Checks everything that a bundle says, and names all that differs.

    Args:
        path: The bundle.
        installed: The installed methods.
        open_answers: Opens the labels of a split of a suite; returns None where none were given.

    Raises:
        ResultError: It is no bundle, or was made to do harm.
        UsageError: Its suite is not installed, or the labels are of another split.
        DataError: The labels cannot be read.
    """
    with TemporaryDirectory(prefix="decathlon-") as folder:
        card = unpack(path, Path(folder), weights=True)
        results = Path(folder) / RESULTS
        records, problems = _read(results)
        first = Point.of("records", plural(len(records), "valid record"), problems)
        if not records:
            suite = registry.find(card.suite)
            return BundleCheck(path, card, suite, None, None, 0, None, (first,))
        suite = registry.find(records[0].suite)
        answers = open_answers(records[0].split, suite)
        found = [evidence_of(results, record, answers) for record in records]
        row = _row(card, records, suite)
        again = _row(card, [one.recomputed or one.record for one in found], suite)
        counted = params_ratio(row.used, suite)
        ratio = counted and counted[0]
        points = (
            first,
            on_files(found),
            on_labels(found, answers),
            _on_score(row, again, found, suite),
            *check_rules(card, records, suite),
            _on_code(records, installed),
            _on_parameters(results, records, ratio, installed),
        )
        score, mean = _score(again, suite), _mean(again)
        number = len(again.domains)
        return BundleCheck(path, card, suite, score, mean, number, ratio, points)


def _read(results: Path) -> tuple[list[RunRecord], list[str]]:
    """Returns the valid records of the split and suite that most are of, and what is wrong."""
    records, problems = [], []
    for path in find_records(results):
        try:
            records.append(read_placed(results, path))
        except ResultError as error:
            text = str(error).replace(f"{results}/", "")
            problems.append("; ".join(line.strip() for line in text.split("\n")[:-1] or [text]))
    kinds = Counter((record.suite, record.split) for record in records)
    usual = kinds.most_common(1)[0][0] if kinds else None
    for record in records:
        if (record.suite, record.split) != usual:
            problems.append(
                f"{trial_of(record)}: is of {record.suite} on {record.split}, the others are of"
                f" {' on '.join(usual or ())}"
            )
    return [one for one in records if (one.suite, one.split) == usual], problems


def _row(card: Card, records: Sequence[RunRecord], suite: Suite) -> Entry:
    """Returns the row that the records are, as the board has it; of several, the largest."""
    setup, own = by_setup(records, suite)[0]
    return Entry(own[0].name, card.label, setup, by_repetition(own))


def _score(row: Entry, suite: Suite) -> float | None:
    if suite.score is None or any(official_problem(record, suite) for record in row.used):
        return None
    return row.score(suite.score.e_max)


def _mean(row: Entry) -> float | None:
    errors = row.mean_errors() if row.domains else {}
    return 100 * (1 - sum(errors.values()) / len(errors)) if errors else None


def _on_score(row: Entry, again: Entry, found: Sequence[Evidence], suite: Suite) -> Point:
    """Compares the score, or the mean accuracy, by the records and by the predictions."""
    if _score(again, suite) is not None and suite.score is not None:
        name, digits, values = suite.score.heading, 1, (_score(row, suite), _score(again, suite))
    else:
        name, digits, values = "mean accuracy", 2, (_mean(row), _mean(again))
    stated, computed = (None if v is None else f"{v:.{digits}f}" for v in values)
    if computed is None:
        return Point(name, "unchecked", "no labels are known")
    if any(one.recomputed is None for one in found):
        return Point(name, "unchecked", f"{computed} by the records")
    stated_all = all(one.record.correct is not None for one in found)
    differs = stated_all and values[0] != values[1]
    text = f"{stated} by the records, {computed} by predictions and labels"
    return Point.of(name, computed, [text] if differs else [])


def _on_code(records: Sequence[RunRecord], installed: Installed) -> Point:
    """Compares the recorded code of methods with what is installed."""
    name, trained = "code", [record for record in records if record.trained]
    codes = dict.fromkeys((r.method, r.code) for r in trained if r.code is not None)
    if not codes:
        return Point(name, "unchecked", "no record names it")
    differences = []
    try:
        for method, code in codes:
            assert code is not None
            if problem := installed.code_problem(method, code):
                differences.append(f"{method}: {problem}")
    except UsageError as error:
        return Point(name, "unchecked", str(error))
    return Point.of(name, "that of the installed method", differences)


def _on_parameters(
    results: Path, records: Sequence[RunRecord], ratio: float | None, installed: Installed
) -> Point:
    """Counts the parameters of the networks in the bundle."""
    name = "#par"
    stated = f"{ratio:.2f}x by the records" if ratio else "there is no target domain"
    networks = [r for r in records if (results / r.folder / WEIGHTS).is_file()]
    if not networks:
        return Point(name, "unchecked", f"{stated}; no weights in the bundle")
    differences = [
        f"{SOURCES}/{path.name}: has the digest {digest[:12]}..."
        for path in sorted((results / SOURCES).glob("*"))
        if (digest := sha256(path)) != path.stem
    ]
    try:
        for record in networks:
            differences += _on_network(results, record, installed)
    except UsageError as error:
        return Point(name, "unchecked", f"{stated}; {error}")
    if len(networks) < len(records) and not differences:
        counted = f"{len(networks)} of {plural(len(records), 'network')}"
        return Point(name, "unchecked", f"{stated}, recounted from {counted} only")
    text = f"{stated}, recounted from {plural(len(networks), 'network')}"
    return Point.of(name, text, differences)


def _on_network(results: Path, record: RunRecord, installed: Installed) -> list[str]:
    """Compares the parameters in a record with those of the network beside it."""
    where = trial_of(record)
    try:
        counted = installed.count(results / record.folder / WEIGHTS, record)
    except DataError as error:
        return [f"{where}: {str(error).replace(f'{results}/', '')}"]
    stated = record.parameters.model_dump()
    wording = "is {} in the record, {} in the weights"
    return [
        f"{where}: {first_difference(stated[key], value, f'parameters.{key}', wording)}"
        for key, value in counted.model_dump().items()
        if stated[key] != value
    ]
