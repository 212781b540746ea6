"""The report of one trial as tables, JSON or a page."""

from pathlib import Path
from typing import Any

from decathlon.common.errors import check_known
from decathlon.common.grid import Column, Grid
from decathlon.common.output import write_utf8
from decathlon.common.text import visible
from decathlon.scoring.classes import ClassAccuracy, Confusion
from decathlon.scoring.render.reports import emit_report
from decathlon.scoring.render.trial_tables import (
    Table,
    class_table,
    confusion_table,
    control_table,
    facts_of,
    notes_of,
    provenance_of,
    routing_table,
)
from decathlon.scoring.report import TrialReport

FORMATS = ("table", "html", "json")
SCHEMA = 1
"""Version of the report as JSON; it grows when a key changes its meaning or goes."""
MOST_DIFFERENT = 3
"""Classes whose routing is listed on a terminal."""


def render_trial(report: TrialReport, form: str = "table", out: Path | None = None) -> None:
    """Prints the report of a trial, or writes it to a file.

    Args:
        report: The report.
        form: ``table``, ``html`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    check_known("format", form, FORMATS)
    if form != "html":
        command = f"\n{visible(report.command)}\n" if report.command else ""
        emit_report(form, out, _value(report), _grids(report), notes_of(report), command)
        return
    # Imported here: no other format pays for jinja2.
    from decathlon.scoring.render.trial_page import to_html

    write_utf8(to_html(report), out)


def _grids(report: TrialReport) -> list[Grid]:
    facts = Grid([Column(visible(report.record.name)), Column("", wraps=True)])
    for name, text in facts_of(report).items():
        if text:
            facts.add_row(name, visible(text))
    grids = [facts]
    if report.classes:
        lowest, highest = class_table(report.lowest), class_table(report.highest)
        grids.append(_grid(lowest, {"lowest": lowest, "highest": highest}))
    if report.confusions:
        grids.append(_grid(confusion_table(report.confusions), left=(1,)))
    if report.routing:
        grids.append(_grid(routing_table(report.routing[:MOST_DIFFERENT])))
    if report.controls:
        grids.append(_grid(control_table(report.controls), left=(5,)))
    return grids


def _grid(table: Table, groups: dict[str, Table] | None = None, left: tuple[int, ...] = ()) -> Grid:
    """Returns a table as a grid; columns of words are to the left and go below first."""
    columns = [
        Column(heading, right=i > 0 and i not in left, wraps=i in left, below=i in left)
        for i, heading in enumerate(table.headings)
    ]
    grid = Grid(columns)
    for title, part in (groups or {"": table}).items():
        if title and part.rows:
            grid.add_heading(title)
        for row in part.rows:
            grid.add_row(*map(visible, row))
    return grid


def _value(report: TrialReport) -> dict[str, Any]:
    """Returns the report as a JSON value."""
    record = report.record
    names = "name method domain split seed suite subset crop trained_on recipe source network"
    found: dict[str, Any] = {"schema": SCHEMA}
    found |= {name: getattr(record, name) for name in names.split()}
    if record.selection is not None:
        found["selection"] = record.selection.model_dump()
    found |= {"accuracy": record.accuracy, "ci": report.ci, "interval": report.ci}
    found |= {"correct": record.correct, "total": record.total}
    found["tuned"] = list(report.tuned) or None
    found["mean_tuned"] = report.mean_tuned if report.tuned else None
    labelled = bool(report.classes)
    found["classes"] = [_class(one) for one in report.classes] if labelled else None
    found["confusions"] = [_confusion(one) for one in report.confusions] if labelled else None
    found["top5"] = report.top5
    calibration = report.calibration
    found["calibration"] = calibration and {
        "error": calibration.error,
        "bins": [one._asdict() for one in calibration.bins],
    }
    points = [{"epoch": epoch, "loss": loss} for epoch, loss in report.curve]
    found |= {"curve": points or None, "routing": _routing(report)}
    found["controls"] = [
        {"control": one.control, "routes": one.routes, "inference": one.routes}
        | {"accuracy": one.to_learned.a, "to_learned": one.to_learned.as_json()}
        for one in report.controls
    ]
    found |= {"provenance": provenance_of(report), "command": report.command or None}
    return found | {"notes": list(report.notes)}


def _class(one: ClassAccuracy) -> dict[str, Any]:
    facts = {"name": one.name, "category_id": one.category}
    return facts | {
        "correct": one.correct,
        "total": one.total,
        "accuracy": one.accuracy,
        "ci": one.ci,
    }


def _confusion(one: Confusion) -> dict[str, Any]:
    return {"true": one.true, "predicted": one.predicted, "count": len(one.image_ids)}


def _routing(report: TrialReport) -> dict[str, Any] | None:
    """Returns which control the trial is, if it is one, and the routing of its classes."""
    control = report.record.routing
    if control is None and not report.tuned:
        return None
    classes = [
        {"name": one.name, "total": one.total}
        | {"tuned": list(one.tuned), "difference": one.difference}
        for one in report.routing
    ]
    return (control.model_dump() if control else {}) | {"classes": classes or None}
