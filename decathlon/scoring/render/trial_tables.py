"""The report of one trial in words and tables, for terminals and pages."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from decathlon.common.text import duration, plural, span
from decathlon.results.controls import CONTROLS
from decathlon.scoring.calibration import BINS
from decathlon.scoring.classes import ClassAccuracy, ClassRouting, Confusion
from decathlon.scoring.report import ControlReport, TrialReport
from decathlon.scoring.setups import source_in_words
from decathlon.suites.subset import size_in_words


class Table(NamedTuple):
    """Rows of text below their headings; the first column is a name."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def notes_of(report: TrialReport) -> list[str]:
    """Returns what a reader has to know, about the tables too."""
    notes = list(report.notes)
    if report.routing:
        notes.append(
            "The difference of a class's routing is the mean over the blocks of the distance to the"
            " share of all images, in points."
        )
    if report.controls:
        notes.append(
            "Differences are to the learned decisions, in accuracy points, paired on images."
            " Inference counts passes through the routed network; mean, tuned, frozen and random"
            " need no policy network beside it."
        )
    if report.ci is not None:
        notes.append("Intervals are 95 % and cover the choice of images only.")
    return notes


def facts_of(report: TrialReport) -> dict[str, str]:
    """Returns what a trial was and what came out, in words."""
    record = report.record
    rows = {
        "method": record.method,
        "protocol": str(record.recipe.get("protocol", "")),
        "recipe": _in_words({k: v for k, v in record.recipe.items() if k != "protocol"}),
        "source": source_in_words(report.entry.setup, []),
        "suite": report.suite.title,
        "domain": f"{record.domain}, {record.split} split",
        "trained on": record.trained_on and f"{record.trained_on}, {size_in_words(record.subset)}",
        "seed": str(record.seed),
    }
    if (routing := record.routing) is not None:
        rows["control"] = (
            f"{routing.control} ({CONTROLS[routing.control]}), {plural(routing.routes, 'route')},"
            f" networks of {routing.weights}"
        )
    if (selection := record.selection) is not None:
        rows["settings"] = f"{selection.chosen_text} ({selection}; {selection.rule})"
    return rows | _outcome(report) | _provenance(report)


def _outcome(report: TrialReport) -> dict[str, str]:
    record, rows = report.record, {}
    if record.accuracy is not None and report.ci is not None:
        rows["accuracy"] = (
            f"{record.accuracy:.2f} % ({span(report.ci)}), {record.correct} of"
            f" {record.total} images"
        )
    if report.top5 is not None:
        rows["top-5"] = f"{report.top5:.2f} %"
    if report.calibration is not None:
        rows["calibration"] = (
            f"expected error {report.calibration.error:.2f} points, in {BINS} bins of confidence"
        )
    if report.curve:
        (first, high), (last, low) = report.curve[0], report.curve[-1]
        rows["loss"] = f"{high:.3f} in epoch {first:.0f}, {low:.3f} in epoch {last:.0f}"
    if report.tuned:
        blocks = f"{report.mean_tuned:.2f} blocks on average"
        rows["tuned"] = f"{_shares(report.tuned)} % of images, by block; {blocks}"
    return rows


def _provenance(report: TrialReport) -> dict[str, str]:
    record = report.record
    code = record.code and f"{record.code.distribution} {record.code.version}, {record.code.sha256}"
    took = {name.removesuffix("_seconds"): value for name, value in record.timing.items()}
    return {
        "data": _in_words(record.data),
        "source weights": record.source or "",
        "code": code or "",
        "made with": _in_words(record.environment),
        "took": ", ".join(
            f"{name} {duration(value)}" for name, value in took.items() if isinstance(value, float)
        ),
    }


def _in_words(values: dict[str, Any]) -> str:
    """Returns values in words, fractions rounded: ``epochs 120, milestones [0.6667, 0.8333]``."""
    rounded = json.loads(json.dumps(values), parse_float=lambda text: round(float(text), 4))
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in rounded.items()
    )


def _shares(tuned: Iterable[float]) -> str:
    return " ".join(f"{share:.0f}" for share in tuned)


def class_table(classes: Iterable[ClassAccuracy]) -> Table:
    """Returns the accuracy of classes."""
    rows = [
        (one.name, str(one.correct), str(one.total), f"{one.accuracy:.2f}", span(one.ci))
        for one in classes
    ]
    return Table(("class", "right", "images", "accuracy", "95 %"), rows)


def confusion_table(confusions: Iterable[Confusion]) -> Table:
    """Returns pairs of classes and how often they are confused."""
    rows = [(one.true, one.predicted, str(len(one.image_ids))) for one in confusions]
    return Table(("class", "predicted", "images"), rows)


def routing_table(classes: Iterable[ClassRouting]) -> Table:
    """Returns the routing of classes."""
    rows = [
        (one.name, str(one.total), _shares(one.tuned), f"{one.difference:.1f}") for one in classes
    ]
    return Table(("class", "images", "tuned (%), by block", "difference"), rows)


def control_table(controls: Iterable[ControlReport]) -> Table:
    """Returns the controls of routing."""
    rows = []
    for one in controls:
        gap = one.to_learned
        low, high = gap.ci
        compared = f"{gap.difference:+.2f}", f"{low:+.2f} to {high:+.2f}"
        cells = ("", "") if one.name == "learned" else compared
        rows.append((one.name, f"{gap.a:.2f}", *cells, f"{one.routes}x", CONTROLS[one.control]))
    return Table(("routing", "accuracy", "difference", "95 %", "inference", "decisions"), rows)


def provenance_of(report: TrialReport) -> dict[str, Any]:
    """Returns where a record comes from, as JSON values."""
    names = (
        "method source network data official code trained_on subset num_trained crop recipe"
        " environment threads timing predictions"
    )
    values = report.record.model_dump(mode="json")
    return {name: values[name] for name in names.split()}
