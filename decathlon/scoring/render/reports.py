"""Comparisons and evaluated submissions as tables and JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from decathlon.common.errors import check_known
from decathlon.common.files import write_text
from decathlon.common.grid import Column, Grid, emit, plain
from decathlon.common.text import span, visible
from decathlon.scoring.compare import Comparison
from decathlon.scoring.difference import Difference
from decathlon.scoring.evaluate import SubmissionScore

FORMATS = ("table", "json")
LONGEST_HEADING = 24
"""Characters of a name that can head a column of numbers."""


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]], below: int) -> Grid:
    """Returns a grid whose last row is set apart; columns from ``below`` on go below first."""
    columns = [Column(visible(h), right=i > 0, below=i >= below) for i, h in enumerate(headings)]
    grid = Grid(columns)
    for i, row in enumerate(rows):
        grid.add_row(*map(visible, row), end_section=i + 2 == len(rows))
    return grid


def emit_report(
    form: str,
    out: Path | None,
    value: object,
    grids: Sequence[Grid],
    notes: Sequence[str],
    ending: str = "",
) -> None:
    """Prints tables and notes, or JSON; or writes them to a file.

    Args:
        form: ``table`` or ``json``.
        out: File to write; standard output where None.
        value: What JSON holds.
        grids: The tables.
        notes: Sentences below them.
        ending: Text below these, whose lines are not wrapped.

    Raises:
        UsageError: There is no such format.
    """
    check_known("format", form, FORMATS)
    parts: list[RenderableType] = []
    for grid in grids:
        parts += [Text(), grid] if parts else [grid]
    parts += [Text(visible(f"* {note}")) for note in notes]
    text = plain(*parts) if form == "table" else json.dumps(value, indent=2, allow_nan=False) + "\n"
    text += ending if form == "table" else ""
    if out is not None:
        write_text(out, text)
    elif form == "table":
        emit(*parts)
        sys.stdout.write(ending)
    else:
        sys.stdout.write(text)


def render_comparison(comparison: Comparison, form: str = "table", out: Path | None = None) -> None:
    """Prints a comparison, or writes it to a file.

    Args:
        comparison: The comparison.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    suite = comparison.suite
    overall = comparison.score.as_json()
    value = {
        "a": comparison.a,
        "b": comparison.b,
        "split": comparison.split,
        "score": overall if suite.score else None,
        **({} if suite.score else {"mean_accuracy": overall}),
        "accuracy": {name: d.as_json() for name, d in comparison.accuracy.items()},
        "notes": list(comparison.notes),
    }
    rows = [_line(name, d, 2) for name, d in comparison.accuracy.items()]
    if suite.score:
        rows.append(_line(suite.score.heading, comparison.score, 1))
    else:
        rows.append(_line("mean", comparison.score, 2))
    names, notes = (comparison.a, comparison.b), list(comparison.notes)
    if max(map(len, names)) > LONGEST_HEADING:
        notes = [f"A is {comparison.a}, B is {comparison.b}.", *notes]
        names = ("A", "B")
    grid = _grid(("", *names, "difference", "95 %", "P(first better)"), rows, below=4)
    emit_report(form, out, value, [grid], notes)


def _line(name: str, d: Difference, digits: int) -> list[str]:
    low, high = d.ci
    return [
        name,
        f"{d.a:.{digits}f}",
        f"{d.b:.{digits}f}",
        f"{d.difference:+.{digits}f}",
        f"{low:+.{digits}f} to {high:+.{digits}f}",
        f"{d.probability:.3f}",
    ]


def render_submission(
    scored: SubmissionScore, form: str = "table", out: Path | None = None
) -> None:
    """Prints the score of a submission, or writes it to a file.

    Args:
        scored: The scored submission.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    keys = ("score", "accuracy", "points", "missing", "notes")
    value = {key: getattr(scored, key) for key in keys}
    notes = list(scored.notes)
    if scored.missing and scored.e_max is not None:
        notes.append(f"{', '.join(scored.missing)}: missing, counts 0.")
    notes.append("Intervals are 95 % and cover the choice of images only.")
    emit_report(form, out, value, [_submission_table(scored)], notes)


def _submission_table(scored: SubmissionScore) -> Grid:
    # Imported here: JSON does not pay for numpy's random generators.
    from decathlon.scoring.intervals import count_intervals

    counts = {d: (scored.correct[d], scored.total[d]) for d in scored.total}
    score_ci, accuracy_ci = count_intervals(counts, scored.e_max or {})
    points = {name: f"{value:.1f}" for name, value in scored.points.items()}
    rows = []
    for name in scored.suite.domains:
        cells = ["-"] * 4
        if name in scored.total:
            counted = str(scored.total[name]), str(scored.correct[name])
            cells = [*counted, f"{scored.accuracy[name]:.2f}", span(accuracy_ci[name])]
        rows.append([name, *cells, points.get(name, "-")])
    interval, total = "", "withheld"
    if scored.score is not None:
        interval, total = f"{score_ci[0]:.0f} to {score_ci[1]:.0f}", f"{scored.score:.1f}"
    heading = scored.suite.score.heading if scored.suite.score else ""
    rows.append([heading, "", "", "", interval, total])
    return _grid(("", "images", "right", "accuracy", "95 %", "points"), rows, below=6)
