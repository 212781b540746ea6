"""Comparisons and evaluated submissions as tables and JSON."""

import json
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from decathlon.domains import DOMAINS
from decathlon.errors import UsageError, nearest
from decathlon.files import write_text
from decathlon.scoring.compare import Comparison, Difference
from decathlon.scoring.escape import visible
from decathlon.scoring.evaluate import Evaluation
from decathlon.scoring.terminal import PLAIN_WIDTH

FORMATS = ("table", "json")


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Returns a table whose last row is set apart."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(Text(visible(heading)), justify="right" if i else "left", overflow="fold")
    for i, row in enumerate(rows):
        table.add_row(*(Text(visible(cell)) for cell in row), end_section=i + 2 == len(rows))
    return table


def _emit(form: str, out: Path | None, value: object, table: Table, notes: Sequence[str]) -> None:
    if form not in FORMATS:
        raise UsageError(f"unknown format '{form}'{nearest(form, FORMATS)} ({', '.join(FORMATS)})")
    if form == "json":
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    else:
        lines: list[RenderableType] = [table, *(Text(visible(f"* {note}")) for note in notes)]
        if out is None and Console().is_terminal:
            Console().print(*lines, sep="\n")
            return
        buffer = StringIO()
        Console(file=buffer, width=PLAIN_WIDTH).print(*lines, sep="\n")
        text = "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)


def render_comparison(comparison: Comparison, form: str = "table", out: Path | None = None) -> None:
    """Prints a comparison, or writes it to a file.

    Args:
        comparison: The comparison.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    value = {
        "a": comparison.a,
        "b": comparison.b,
        "split": comparison.split,
        "score": _difference(comparison.score),
        "accuracy": {name: _difference(d) for name, d in comparison.accuracy.items()},
        "notes": list(comparison.notes),
    }
    rows = [_line(name, d, 2) for name, d in comparison.accuracy.items()]
    headings = ("", comparison.a, comparison.b, "difference", "95 %", "P(first better)")
    table = _grid(headings, [*rows, _line("S", comparison.score, 1)])
    _emit(form, out, value, table, comparison.notes)


def _difference(d: Difference) -> dict[str, object]:
    return {
        "a": d.a,
        "b": d.b,
        "difference": d.difference,
        "ci": list(d.ci),
        "probability": d.probability,
        "within_noise": d.within_noise,
    }


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


def render_evaluation(evaluation: Evaluation, form: str = "table", out: Path | None = None) -> None:
    """Prints the score of a submission, or writes it to a file.

    Args:
        evaluation: The evaluated submission.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    value: dict[str, object] = {
        "score": evaluation.score,
        "accuracy": evaluation.accuracy,
        "points": evaluation.points,
        "missing": list(evaluation.missing),
    }
    value["notes"] = list(evaluation.notes)
    notes = list(evaluation.notes)
    if evaluation.missing and evaluation.e_max is not None:
        notes.append(f"{', '.join(evaluation.missing)}: missing, counts 0.")
    notes.append("Intervals are 95 % and cover the choice of images only.")
    _emit(form, out, value, _evaluation_table(evaluation), notes)


def _evaluation_table(evaluation: Evaluation) -> Table:
    # Imported here: JSON does not pay for numpy's random generators.
    from decathlon.scoring.statistics import count_intervals

    counts = {d: (evaluation.correct[d], evaluation.total[d]) for d in evaluation.total}
    score_ci, accuracy_ci = count_intervals(counts, evaluation.e_max or {})
    points = {name: f"{value:.1f}" for name, value in evaluation.points.items()}
    rows = []
    for name in DOMAINS:
        if name not in evaluation.total:
            rows.append([name, "-", "-", "-", "-", points.get(name, "-")])
            continue
        low, high = accuracy_ci[name]
        rows.append(
            [
                name,
                str(evaluation.total[name]),
                str(evaluation.correct[name]),
                f"{evaluation.accuracy[name]:.2f}",
                f"{low:.2f} to {high:.2f}",
                points.get(name, "-"),
            ]
        )
    span, total = "", "withheld"
    if evaluation.score is not None:
        span, total = f"{score_ci[0]:.0f} to {score_ci[1]:.0f}", f"{evaluation.score:.1f}"
    rows.append(["S", "", "", "", span, total])
    return _grid(("", "images", "right", "accuracy", "95 %", "points"), rows)
