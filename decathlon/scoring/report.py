"""What one trial says of itself: its accuracy, its classes, and what its routing is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decathlon.data.manifest import FILE
from decathlon.data.reading.answers import PreparedAnswers, open_answers
from decathlon.results.controls import Control, Routing, control_name
from decathlon.results.records import LOG, ROUTING, RunRecord, pack_bits
from decathlon.scoring.audit import audit
from decathlon.scoring.calibration import Calibration, calibration_of, read_logits, top_accuracy
from decathlon.scoring.classes import (
    Answered,
    ClassAccuracy,
    ClassRouting,
    Confusion,
    accuracies,
    answered,
    confusions,
    routing_by_class,
)
from decathlon.scoring.difference import Difference, differences
from decathlon.scoring.entries import Entry, entry_of, read_trial
from decathlon.scoring.integrity import check_predictions, read_predictions
from decathlon.scoring.intervals import accuracy_interval
from decathlon.scoring.logs import read_losses
from decathlon.scoring.rounding import Pair
from decathlon.scoring.routes import Decisions, read_decisions
from decathlon.suites.base import Suite
from decathlon.suites.registry import find

SHOWN = 5
"""Classes that are listed at either end."""


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
        results: The folder of records that it is in.
        record: Its record.
        suite: The record's suite.
        ci: 95 % interval of the accuracy in percent; None where labels are unknown.
        tuned: Share of images, in percent, that take the tuned path of each block; empty without
            routing.
        curve: Epoch and training loss of each epoch; empty without a log.
        data: The data folder, if it holds the data of the trial.
        classes: Classes with images, lowest accuracy first; empty without the data.
        confusions: The classes that are confused most; empty without the data.
        routing: The routing of each class, the most different first; empty without the data or
            routing.
        top5: Share of images, in percent, whose class is among the five likeliest; None without
            the data, without logits or with no more classes.
        calibration: How far the probabilities can be trusted; None without the data or logits.
        controls: The controls of routing, if they were evaluated.
        command: What makes the trial again; empty if that is not known.
        notes: What a reader has to know.
    """

    results: Path
    record: RunRecord
    suite: Suite
    ci: Pair | None
    tuned: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]
    data: Path | None = None
    classes: tuple[ClassAccuracy, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    routing: tuple[ClassRouting, ...] = ()
    top5: float | None = None
    calibration: Calibration | None = None
    controls: tuple[ControlReport, ...] = ()
    command: str = ""
    notes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The trial's folder."""
        return self.results / self.record.folder

    @property
    def entry(self) -> Entry:
        """The entry of the record alone."""
        return entry_of(self.record, self.record.name, self.suite)

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
        """The classes with the highest accuracy above 0, best first, none among the lowest."""
        others = self.classes[len(self.lowest) :][::-1][:SHOWN]
        return tuple(one for one in others if one.correct)


def report_of(path: Path, data: Path, named: bool) -> TrialReport:
    """Reports a trial.

    Args:
        path: Its folder, or its record.
        data: The data folder, for the classes and to check the record.
        named: Whether the user named it. If not, and it is not there or holds other data, the
            report has no classes.

    Raises:
        ResultError: There is no valid record, its predictions are missing, or it is not what they
            give.
        DataError: The data that was named cannot be read.
    """
    results, record = read_trial(path)
    check_predictions(results, [record])
    predictions = read_predictions(results, record)
    folder, suite = results / record.folder, find(record.suite)
    ci = accuracy_interval(record, suite)
    decisions = None
    if (folder / ROUTING).exists():
        decisions = read_decisions(folder / ROUTING, record)
    tuned = () if decisions is None else tuple((100 * decisions.mean(axis=0)).tolist())
    notes = ["Its labels are unknown: prepare the data with --labels and run it again."]
    curve = tuple(_curve(results, record))
    found = TrialReport(results, record, suite, ci, tuned, curve, notes=tuple(notes * (ci is None)))
    if (answers := _answers(data, named, record)) is None:
        note = "Without the trial's data (--data DATA), no count is checked and no class shown."
        return replace(found, notes=(*found.notes, note))
    checked = audit(results, [record], answers)
    domain = answers.manifest.domains.get(record.domain)
    holds = domain is not None and record.split in domain.splits
    found = replace(found, data=data if holds else None, notes=(*found.notes, *checked))
    labelled = answered(predictions, record, answers)
    return found if labelled is None else _by_class(found, labelled, decisions)


def _curve(results: Path, record: RunRecord) -> list[tuple[float, float]]:
    """Returns the training loss by epoch; of several domains trained together, that of all."""
    first = record.model_copy(update={"domain": record.together[0]})
    path = results / first.folder / LOG
    return read_losses(path) if path.exists() else []


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


def _by_class(found: TrialReport, labelled: Answered, decisions: Decisions | None) -> TrialReport:
    """Adds to a report what the labels of the images say."""
    count = len(labelled.truth)
    logits = read_logits(found.folder, found.record, count)
    routing: tuple[ClassRouting, ...] = ()
    if decisions is not None and len(decisions) == count:
        routing = routing_by_class(labelled, decisions)
    return replace(
        found,
        classes=accuracies(labelled),
        confusions=confusions(labelled),
        routing=routing,
        top5=None if logits is None else top_accuracy(logits, labelled.truth),
        calibration=None if logits is None else calibration_of(logits, labelled.right),
    )


def with_command(report: TrialReport, command: str, note: str) -> TrialReport:
    """Adds the command that makes a trial again to its report, and a note on it if there is one."""
    return replace(report, command=command, notes=(*report.notes, *filter(None, [note])))


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
