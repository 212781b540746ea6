"""What a check of a bundle found, as a table and as JSON."""

from pathlib import Path

from decathlon.common.grid import Column, Grid
from decathlon.common.text import visible
from decathlon.scoring.bundling.points import MEANINGS, SCHEMA, BundleCheck, Point
from decathlon.scoring.render.reports import emit_report

_STATES = {"holds": "holds", "differs": "differs", "unchecked": "not checked"}


def render_check(check: BundleCheck, form: str = "table", out: Path | None = None) -> None:
    """Prints what a check found, or writes it to a file.

    Args:
        check: What was found.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    grid = Grid([Column("point"), Column(""), Column("found", wraps=True)])
    for point in check.points:
        grid.add_row(*map(visible, (point.name, _STATES[point.state], point.text)))
    notes = [f"{check.path}: {check.verdict}, {MEANINGS[check.verdict]}."]
    differing = [f"  {point.name}: {one}" for point in check.points for one in point.differences]
    ending = "".join(f"{visible(line)}\n" for line in differing)
    emit_report(form, out, _value(check), [grid], notes, ending)


def _value(check: BundleCheck) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "bundle": str(check.path),
        "label": check.card.label,
        "suite": check.suite.name,
        "split": check.card.split,
        "verdict": check.verdict,
        "score": check.score,
        "mean": check.mean,
        "domains": check.num_domains,
        "params_ratio": check.params_ratio,
        "points": [_point(point) for point in check.points],
    }


def _point(point: Point) -> dict[str, object]:
    return {
        "name": point.name,
        "state": point.state,
        "text": point.text,
        "differences": list(point.differences),
    }
