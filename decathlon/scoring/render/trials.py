"""The report of one trial as tables and JSON."""

import json
from pathlib import Path
from typing import Any

from decathlon.common.grid import Column, Grid
from decathlon.common.text import plural, visible
from decathlon.results.controls import CONTROLS
from decathlon.scoring.render.reports import emit_report
from decathlon.scoring.report import ClassAccuracy, TrialReport
from decathlon.scoring.setups import source_in_words
from decathlon.suites.subset import size_in_words


def render_trial(report: TrialReport, form: str = "table", out: Path | None = None) -> None:
    """Prints the report of a trial, or writes it to a file.

    Args:
        report: The report.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    grids = [_facts(report)]
    notes = list(report.notes)
    if report.classes:
        grids.append(_classes(report))
    if report.controls:
        grids.append(_controls(report))
        notes.append(
            "Differences are to the learned decisions, in accuracy points, paired on images."
            " Inference counts passes through the routed network; mean, tuned, frozen and random"
            " need no policy network beside it."
        )
    if report.ci is not None:
        notes.append("Intervals are 95 % and cover the choice of images only.")
    emit_report(form, out, _value(report), grids, notes)


def _facts(report: TrialReport) -> Grid:
    record = report.record
    rows = {
        "method": record.method,
        "protocol": str(record.recipe.get("protocol", "")),
        "recipe": _recipe(record.recipe),
        "source": source_in_words(report.setup, []),
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
    if record.accuracy is not None and report.ci is not None:
        low, high = report.ci
        rows["accuracy"] = (
            f"{record.accuracy:.2f} % ({low:.2f} to {high:.2f}), {record.correct} of"
            f" {record.total} images"
        )
    if report.tuned:
        shares = " ".join(f"{share:.0f}" for share in report.tuned)
        rows["tuned"] = f"{shares} % of images, by block; {report.mean_tuned:.2f} blocks on average"
    grid = Grid([Column(visible(record.name)), Column("", wraps=True)])
    for name, text in rows.items():
        if text:
            grid.add_row(name, visible(text))
    return grid


def _recipe(recipe: dict[str, Any]) -> str:
    """Returns settings in words, fractions rounded: ``epochs 120, milestones [0.6667, 0.8333]``."""
    rounded = json.loads(json.dumps(recipe), parse_float=lambda text: round(float(text), 4))
    settings = {key: value for key, value in rounded.items() if key != "protocol"}
    return ", ".join(
        f"{key} {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in settings.items()
    )


def _classes(report: TrialReport) -> Grid:
    headings = ("right", "images", "accuracy")
    grid = Grid([Column("class"), *(Column(heading, right=True) for heading in headings)])
    for title, classes in (("lowest", report.lowest), ("highest", report.highest)):
        if classes:
            grid.add_heading(title)
        for one in classes:
            numbers = str(one.correct), str(one.total), f"{one.accuracy:.2f}"
            grid.add_row(visible(one.name) or str(one.category), *numbers)
    return grid


def _controls(report: TrialReport) -> Grid:
    headings = ("accuracy", "difference", "95 %", "inference")
    columns = [Column("routing"), *(Column(heading, right=True) for heading in headings)]
    grid = Grid([*columns, Column("decisions", wraps=True, below=True)])
    for one in report.controls:
        gap = one.to_learned
        low, high = gap.ci
        compared = f"{gap.difference:+.2f}", f"{low:+.2f} to {high:+.2f}"
        cells = ("", "") if one.name == "learned" else compared
        grid.add_row(one.name, f"{gap.a:.2f}", *cells, f"{one.routes}x", CONTROLS[one.control])
    return grid


def _value(report: TrialReport) -> dict[str, Any]:
    """Returns the report as a JSON value."""
    record = report.record
    names = "name method domain split seed suite subset crop trained_on recipe source network"
    found: dict[str, Any] = {name: getattr(record, name) for name in names.split()}
    found["routing"] = record.routing and record.routing.model_dump()
    if record.selection is not None:
        found["selection"] = record.selection.model_dump()
    found |= {"accuracy": record.accuracy, "ci": report.ci}
    found |= {"correct": record.correct, "total": record.total}
    found["tuned"] = list(report.tuned) or None
    found["mean_tuned"] = report.mean_tuned if report.tuned else None
    sides = {"lowest": report.lowest, "highest": report.highest}
    found["classes"] = {side: [_class(one) for one in classes] for side, classes in sides.items()}
    found["controls"] = [
        {"control": one.control, "routes": one.routes, "inference": one.routes}
        | {"accuracy": one.to_learned.a, "to_learned": one.to_learned.as_json()}
        for one in report.controls
    ]
    return found | {"notes": list(report.notes)}


def _class(one: ClassAccuracy) -> dict[str, Any]:
    return {
        "name": one.name,
        "category_id": one.category,
        "correct": one.correct,
        "total": one.total,
        "accuracy": one.accuracy,
    }
