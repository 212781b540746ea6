"""Scoring a submission offline, with the public test labels."""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from decathlon.common.errors import ResultError, UsageError
from decathlon.common.oserrors import explained
from decathlon.common.text import megabytes, plural, visible
from decathlon.common.zipped import member, opened
from decathlon.data.sources.test_labels import Labels, read_labels
from decathlon.results.records import refuse_constant
from decathlon.scoring.mismatch import problems_of
from decathlon.scoring.predictions import MAX_BYTES, Predictions, lookup, parse_predictions
from decathlon.suites.base import Suite
from decathlon.suites.registry import DEFAULT
from decathlon.suites.score import PERFECT, points

RESULTS_FILE = "results.json"
"""The one file that an official submission holds."""


@dataclass(frozen=True)
class SubmissionScore:
    """The score of a submission.

    It is computed only if it is certain which E_max applies: the official values if all labels
    are the official ones, or those of ``baseline_errors``. Otherwise there are only accuracies.

    Attributes:
        suite: The suite.
        correct: Images right, by domain that was predicted.
        total: Images, by domain that was predicted.
        missing: Scored domains without any prediction; they count 0.
        e_max: E_max by scored domain, or None where the score is withheld.
        notes: What a reader has to know.
    """

    suite: Suite
    correct: dict[str, int]
    total: dict[str, int]
    missing: tuple[str, ...]
    e_max: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()

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
        """Points by scored domain, 0 where it is missing; nothing where the score is withheld."""
        if self.e_max is None:
            return {}
        limits = {name: self.e_max[name] for name in self.suite.domains if name in self.e_max}
        errors = self.errors
        return {n: points(errors[n], limit) if n in errors else 0.0 for n, limit in limits.items()}

    @property
    def score(self) -> float | None:
        """The score, or None where it is withheld."""
        return None if self.e_max is None else math.fsum(self.points.values())


def evaluate(
    submission: Path,
    labels: Path,
    baseline_errors: Mapping[str, float] | None = None,
    suite: Suite = DEFAULT,
) -> SubmissionScore:
    """Scores a submission in the official format.

    The official E_max belong to the official test labels, which are recognised by their
    content. With other labels, accuracies are computed and the score is withheld, unless the errors
    of a baseline on that data are given.

    Args:
        submission: ``results.json``, or a zip archive of it.
        labels: The official ``labels_test.zip``, or a folder of its files.
        baseline_errors: Error in [0, 1] of the baseline by domain, whose doubles are E_max in
            place of the official values.
        suite: The suite.

    Raises:
        ResultError: The submission is not valid; all problems are named at once.
        DataError: The labels cannot be read.
        UsageError: An error of the baseline is not in [0, 1], or is of an unknown domain;
            or the suite has no format of submissions.
    """
    check_submission(suite)
    limits = _limits(baseline_errors, suite)
    predictions = read_submission(submission)
    known = read_labels(labels, suite)
    problems = [*predictions.problems, *problems_of(predictions, known)]
    if problems:
        lines = "\n  ".join(problems)
        raise ResultError(f"{submission}: not a valid submission:\n  {lines}")
    correct, total = {}, {}
    for name, label in known.items():
        position, found = lookup(label.image_ids, predictions.image_ids)
        if found.any():
            right = label.category_ids[position[found]] == predictions.category_ids[found]
            correct[name], total[name] = int(right.sum()), len(right)
    e_max, notes = _e_max(limits, [known[name] for name in total], labels, suite)
    missing = tuple(name for name in e_max or suite.domains if name not in total)
    return SubmissionScore(suite, correct, total, missing, e_max, (*predictions.notes, *notes))


def read_baseline_errors(path: Path) -> dict[str, float]:
    """Reads a JSON file of the baseline's errors, ``{"DOMAIN": 0.45, ...}``.

    Raises:
        UsageError: It cannot be read, or is no such file.
    """
    form = 'write the error in [0, 1] of the baseline by domain, {"DOMAIN": 0.45, ...}'
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is not a regular file; {form}")
        value = json.loads(path.read_bytes(), parse_constant=refuse_constant)
    except OSError as error:
        raise UsageError(explained(error, path, form, "cannot be read")) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}); {form}") from None
    if not isinstance(value, dict) or not value:
        raise UsageError(f"{path}: is not a JSON object with a domain in it; {form}")
    for name, given in value.items():
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise UsageError(f"{path}: the error of {visible(name)} is not a number; {form}")
    return value


def check_submission(suite: Suite) -> None:
    """Raises UsageError where a suite has no official format of submissions."""
    if not suite.submission or suite.score is None:
        raise UsageError(f"{suite.title} has no official format of submissions")


def _limits(errors: Mapping[str, float] | None, suite: Suite) -> dict[str, float] | None:
    """Returns twice the errors of a baseline, in the order of the paper's columns."""
    if errors is None:
        return None
    for name, error in errors.items():
        suite.check(name)
        if not 0 <= error <= 1:
            raise UsageError(
                f"baseline error of {name} is {error}, outside [0, 1]: give the share of images"
                " that are wrong, not a percentage"
            )
    return {name: 2 * errors[name] for name in suite.domains if name in errors}


def _e_max(
    limits: dict[str, float] | None, labels: Sequence[Labels], path: Path, suite: Suite
) -> tuple[Mapping[str, float] | None, list[str]]:
    """Returns E_max by scored domain, or None where the score is withheld, and notes on it."""
    assert suite.score is not None
    heading = suite.score.heading
    if limits is not None:
        scored = {name: limit for name, limit in limits.items() if limit > 0}
        text = (
            "E_max is twice the given errors of a baseline, in"
            f" {plural(len(scored), 'domain')}: {heading} is at most {PERFECT * len(scored):g}"
            " and compares with no published score."
        )
        unscored = ", ".join(one.domain for one in labels if one.domain not in scored)
        more = f"{unscored}: no baseline error above 0, not part of {heading}."
        return scored, [text, more] if unscored else [text]
    foreign = [one.domain for one in labels if not one.official]
    if not foreign:
        return suite.score.e_max, []
    text = (
        f"{heading} is withheld: {path} does not hold the official test labels of"
        f" {', '.join(foreign)}, so the official E_max do not apply. Give the errors of a baseline"
        f" on this data with --baseline-errors FILE to get an {heading} that compares within it."
    )
    return None, [text]


def read_submission(path: Path) -> Predictions:
    """Reads the predictions of a submission; malformed entries are listed in its problems.

    Accepts ``results.json`` itself, a folder that contains it, and a zip archive that contains
    it at any depth or contains exactly one JSON file.

    Raises:
        ResultError: It is none of these.
    """
    try:
        if path.is_dir() and (path / RESULTS_FILE).is_file():
            path = path / RESULTS_FILE
        if path.is_file() and not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
            if len(raw) > MAX_BYTES:
                raise ResultError(f"{path}: has more than {megabytes(MAX_BYTES)}; it is refused")
            if raw.startswith(b"PK"):
                raise ResultError(f"{path}: not a zip archive, or a damaged one")
            return parse_predictions(raw, str(path), forgiving=True)
    except OSError as error:
        raise ResultError(explained(error, path, "name another file", "cannot be read")) from None
    with opened(path, ResultError) as archive:
        names = [n for n in archive.namelist() if not n.startswith("__MACOSX/")]
        found = [n for n in names if PurePosixPath(n).name == RESULTS_FILE] or [
            n for n in names if PurePosixPath(n).suffix == ".json"
        ]
        if len(found) != 1:
            inside = ", ".join(map(repr, names[:5])) or "nothing"
            raise ResultError(
                f"{path}: has to hold one {RESULTS_FILE}, holds {len(found)} (inside: {inside});"
                " `decathlon submit` writes one"
            )
        raw = member(archive, found[0], MAX_BYTES, path, ResultError)
    return parse_predictions(raw, f"{path}: {found[0]}", forgiving=True)
