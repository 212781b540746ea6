"""What one trial says of itself: its accuracy, by class, and what its routing is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decathlon.data.manifest import FILE
from decathlon.data.reading.answers import PreparedAnswers, open_answers
from decathlon.results.controls import Control, Routing, control_name
from decathlon.results.records import ROUTING, RunRecord, pack_bits
from decathlon.scoring.audit import audit
from decathlon.scoring.difference import Difference, differences
from decathlon.scoring.entries import Entry, entry_of, read_trial
from decathlon.scoring.integrity import check_predictions, read_predictions
from decathlon.scoring.intervals import accuracy_interval
from decathlon.scoring.predictions import lookup
from decathlon.scoring.rounding import Pair
from decathlon.scoring.routes import read_decisions
from decathlon.scoring.setups import Setup
from decathlon.suites.base import Suite
from decathlon.suites.registry import find

SHOWN = 5
"""Classes that are listed at either end."""


@dataclass(frozen=True)
class ClassAccuracy:
    """How many images of a class are right.

    Attributes:
        name: Its name.
        category: Its category id.
        correct: Images right.
        total: Images.
    """

    name: str
    category: int
    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.total


@dataclass(frozen=True)
class ControlReport:
    """A control of routing beside what was learned.

    Attributes:
        control: The control.
        routes: Draws that were averaged, each an inference of its own.
        to_learned: Its accuracy, a, and that of the learned decisions, b, in percent.
    """

    control: Control
    routes: int
    to_learned: Difference

    @property
    def name(self) -> str:
        """The control, and its routes if there are several."""
        return control_name(self.control, self.routes)


@dataclass(frozen=True)
class TrialReport:
    """What is known of one trial.

    Attributes:
        folder: Its folder.
        record: Its record.
        suite: The record's suite.
        ci: 95 % interval of the accuracy in percent; None where labels are unknown.
        tuned: Share of images, in percent, that take the tuned path of each block; empty without
            routing.
        classes: Classes with images, lowest accuracy first; empty without the data.
        controls: The controls of routing, if they were evaluated.
        notes: What a reader has to know.
    """

    folder: Path
    record: RunRecord
    suite: Suite
    ci: Pair | None
    tuned: tuple[float, ...]
    classes: tuple[ClassAccuracy, ...]
    controls: tuple[ControlReport, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def setup(self) -> Setup:
        """How the record was made."""
        return entry_of(self.record, self.record.name, self.suite).setup

    @property
    def mean_tuned(self) -> float:
        """Mean number of tuned blocks of an image."""
        return sum(self.tuned) / 100

    @property
    def lowest(self) -> tuple[ClassAccuracy, ...]:
        """The classes with the lowest accuracy."""
        return self.classes[: min(SHOWN, -(-len(self.classes) // 2))]

    @property
    def highest(self) -> tuple[ClassAccuracy, ...]:
        """The classes with the highest accuracy, best first, none of them among the lowest."""
        count = min(SHOWN, len(self.classes) - len(self.lowest))
        return self.classes[::-1][:count]


def report_of(path: Path, data: Path, named: bool) -> TrialReport:
    """Reports a trial.

    Args:
        path: Its folder, or its record.
        data: The data folder, for the classes and to check the record.
        named: Whether the user named it. If not, and it is not there or holds other data, the
            report has no classes.

    Raises:
        ResultError: There is no valid record, or it is not what its predictions give.
        DataError: The data that was named cannot be read.
    """
    results, record = read_trial(path)
    folder = results / record.folder
    check_predictions(results, [record])
    suite = find(record.suite)
    ci = accuracy_interval(record, suite)
    tuned: tuple[float, ...] = ()
    if (folder / ROUTING).exists():
        tuned = tuple((100 * read_decisions(folder / ROUTING, record).mean(axis=0)).tolist())
    notes = ["Its labels are unknown: prepare the data with --labels and run it again."]
    found = TrialReport(folder, record, suite, ci, tuned, (), (), tuple(notes * (ci is None)))
    if (answers := _answers(data, named, record)) is None:
        note = "Without the trial's data (--data DATA), no count is checked and no class shown."
        return replace(found, notes=(*found.notes, note))
    checked = audit(results, [record], answers)
    classes = _classes(results, record, answers)
    return replace(found, classes=classes, notes=(*found.notes, *checked))


def _answers(data: Path, named: bool, record: RunRecord) -> PreparedAnswers | None:
    """Opens the labels of a trial; None if the data was not named and is not the trial's."""
    if not named and not (data / FILE).is_file():
        return None
    answers = open_answers(data)
    if named:
        return answers
    domain = answers.manifest.domains.get(record.domain)
    split = domain.splits.get(record.split) if domain else None
    return answers if split and split.digest == record.data.get(record.split) else None


def _classes(
    results: Path, record: RunRecord, answers: PreparedAnswers
) -> tuple[ClassAccuracy, ...]:
    key = answers.key(record.domain, record.split)
    if key is None or key.category_ids is None:
        return ()
    domain = answers.manifest.domains[record.domain]
    predicted = read_predictions(results, record)
    position, _ = lookup(key.image_ids, predicted.image_ids)
    truth = key.category_ids[position]
    right = truth == predicted.category_ids
    found = [
        ClassAccuracy(name, category, int(right[truth == category].sum()), int(total))
        for name, category in zip(domain.class_names, domain.category_ids, strict=True)
        if (total := np.count_nonzero(truth == category))
    ]
    return tuple(sorted(found, key=lambda one: (one.accuracy, one.name)))


def with_controls(
    report: TrialReport, found: Sequence[tuple[Control, int, Sequence[bool]]]
) -> TrialReport:
    """Adds the controls of routing to a report, each compared with the learned decisions.

    Args:
        report: The report.
        found: Control, routes, and whether each image is right, in the order of the record. The
            first is that of the learned decisions.
    """
    record, suite = report.record, report.suite
    entries = [_as_control(record, suite, *one) for one in found]
    learned = entries[0]
    controls = []
    for (control, routes, _), entry in zip(found, entries, strict=True):
        _, gaps = differences((entry, learned), [record.domain], {}, None, suite)
        controls.append(ControlReport(control, routes, gaps[record.domain]))
    again = sum(found[0][2])
    notes = [*report.notes, _verdict(controls[1:])]
    if again != record.correct:
        notes.append(
            f"The learned decisions are right for {again} images here, for {record.correct} in the"
            " record: another device, precision or library rounds otherwise."
        )
    return replace(report, controls=tuple(controls), notes=tuple(notes))


def _verdict(controls: Sequence[ControlReport]) -> str:
    """Says which controls the learned decisions differ from by more than chance."""
    sides: dict[str, list[str]] = {"better than": [], "within noise of": [], "worse than": []}
    for one in controls:
        gap = one.to_learned
        side = "within noise of" if gap.within_noise else "better than"
        sides["worse than" if gap.ci[0] > 0 else side].append(one.name)
    texts = [f"{side} {', '.join(names)}" for side, names in sides.items() if names]
    return f"The learned decisions are {'; '.join(texts)}."


def _as_control(
    record: RunRecord, suite: Suite, control: Control, routes: int, correct: Sequence[bool]
) -> Entry:
    """Returns the entry that a control's record would be."""
    routing = Routing(control=control, routes=routes, weights=record.name)
    changes = {
        "correct": sum(correct),
        "total": len(correct),
        "correctness": pack_bits(correct),
        "routing": routing,
    }
    label = control_name(control, routes)
    return entry_of(record.model_copy(update=changes), label, suite)
