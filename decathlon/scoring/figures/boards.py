"""Figures of a whole board: how good against how large, and domain by domain."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from decathlon.common.errors import ResultError, UsageError
from decathlon.scoring import intervals
from decathlon.scoring.board import Board
from decathlon.scoring.entries import Entry
from decathlon.scoring.figures import style
from decathlon.scoring.figures.naming import Point, name_points
from decathlon.scoring.rows import Row, merit_text, placed, powers_of_two
from decathlon.suites.base import Suite

OWN = "#b2182b"
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": "0.25"}
ACROSS = 7.5
"""Inches of one row of domains."""


def tradeoff(board: Board) -> Figure:
    """Draws the score (or mean accuracy) against #par.

    Published rows are hollow, own runs filled, with intervals.

    Raises:
        ResultError: No row has both.
    """
    found = placed(board.rows, board.suite)
    if not found:
        raise ResultError("no row has both a score and #par to plot")
    drawn = style.figure(6.2, 4.2)
    with style.styled():
        axes = drawn.subplots()
        for row, size, value in found:
            _point(axes, row, size, value)
        axes.set_xlabel("#par (plain networks)")
        axes.set_ylabel(f"{merit_text(board.suite)}, {board.split} split")
        axes.grid(axis="y", linewidth=0.3, color="0.85")
        axes.set_axisbelow(True)
        top = max(max(value, row.ci[1] if row.ci else 0) for row, _, value in found)
        axes.set_ylim(0, top * 1.06 + 1)
        style.set_ticks(axes.yaxis, 8)
        _key(drawn, [row for row, _, _ in found])
        points = [Point(size, y, *(row.ci or (y, y))) for row, size, y in found]
        name_points(drawn, axes, points, [row.label for row, _, _ in found])
        ticks = powers_of_two([point.x for point in points])
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
    return drawn


def _point(axes: Axes, row: Row, x: float, y: float) -> None:
    if row.kind == "published":
        axes.plot(x, y, "o", **HOLLOW, markersize=5)
        return
    if row.ci:
        axes.plot([x, x], row.ci, color=OWN, linewidth=1)
    axes.plot(x, y, "D", color=OWN, markersize=5)


def _key(drawn: Figure, rows: list[Row]) -> None:
    kinds = {row.kind for row in rows}
    handles: dict[str, Line2D] = {}
    if "published" in kinds:
        handles["published"] = Line2D([], [], marker="o", linestyle="", **HOLLOW)
    if "run" in kinds:
        handles["own run, 95 % interval"] = Line2D([], [], marker="D", color=OWN)
    style.legend(drawn, list(handles.values()), list(handles))


def domains(entries: dict[str, Entry], reference: str, suite: Suite) -> Figure:
    """Draws each run's accuracy per domain relative to a reference, paired on images.

    Args:
        entries: The entries to show by label, the reference's among them.
        reference: The label that is the zero line.
        suite: The suite.

    Raises:
        UsageError: There is nothing beside the reference.
    """
    base = entries[reference]
    shown = [one for label, one in entries.items() if label != reference]
    names = suite.in_order(d for d in base.domains if any(d in e.domains for e in shown))
    if not shown or not names:
        raise UsageError(f"there are no results beside those of '{reference}' to compare with it")
    # A method has room for its marker, and a domain for its name.
    longest = max(len(line) for name in names for line in style.column(name, suite).split("\n"))
    slot = max(0.09 * (len(shown) + 2), 0.07 * longest + 0.1, 0.6)
    rows = -(-len(names) // max(1, int(ACROSS / slot)))
    parts = np.array_split(np.array(names), rows)
    across = len(parts[0])
    drawn = style.figure(max(0.8 + slot * across, 2.6), 0.4 + 2.2 * rows)
    with style.styled():
        grid = drawn.subplots(rows, 1, sharey=True, squeeze=False)
        handles: dict[str, Line2D] = {}
        for part, axes in zip(map(list, parts), grid.flat, strict=True):
            axes.axhline(0, color="black", linewidth=0.6)
            for place, one in enumerate(shown):
                offset = (place - (len(shown) - 1) / 2) * 0.09 / slot
                marker = _relative(axes, one, base, part, place, offset)
                handles.update({one.label: marker} if marker else {})
            axes.set_xticks(range(len(part)), [style.column(name, suite) for name in part])
            axes.set_xlim(-0.5, across - 0.5)
            axes.grid(axis="y", linewidth=0.3, color="0.85")
            axes.set_axisbelow(True)
        style.set_ticks(grid[0, 0].yaxis, 6)
        drawn.supylabel(f"accuracy - {style.folded(reference, 24)} (points)", fontsize=8)
        style.legend(drawn, list(handles.values()), list(handles))
    return drawn


def _relative(
    axes: Axes, one: Entry, base: Entry, names: list[str], place: int, offset: float
) -> Line2D | None:
    """Draws one method, and returns one of its markers if there is any."""
    own, reference = intervals.draw([one, base], {})
    means = one.mean_errors(), base.mean_errors()
    look = style.look(place)
    marker = None
    for x, name in enumerate(names):
        if name not in own.accuracy:
            continue
        gap = 100 * (means[1][name] - means[0][name])
        low, high = intervals.interval(own.accuracy[name] - reference.accuracy[name])
        axes.plot([x + offset] * 2, [low, high], color=look.ink, linewidth=0.9)
        (marker,) = axes.plot(
            x + offset, gap, look.marker, color=look.ink, markersize=4, linestyle=""
        )
    return marker
