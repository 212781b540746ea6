"""Figures of a whole board: score against size, and domain by domain."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decathlon.errors import ResultError, UsageError
from decathlon.scoring import statistics
from decathlon.scoring.board import Board
from decathlon.scoring.escape import visible
from decathlon.scoring.figures import canvas
from decathlon.scoring.rows import Row
from decathlon.scoring.trials import Trials

TICKS = (0.5, 1, 2, 4, 8, 16, 32)


def tradeoff(board: Board) -> Figure:
    """Draws S against #par: published rows hollow, own runs filled, with intervals.

    Raises:
        ResultError: No row has both.
    """
    rows = [row for row in board.rows if row.score is not None and row.params_ratio]
    if not rows:
        raise ResultError("no row has both a score and #par to plot")
    drawn = canvas.figure(6.2, 4.2)
    with canvas.styled():
        axes = drawn.subplots()
        for row in rows:
            _point(axes, row)
        axes.set_xscale("log", base=2)
        sizes = [row.params_ratio or 1 for row in rows]
        low, high = min(sizes) / 1.25, max(sizes) * 1.9  # room for the last labels
        axes.set_xlim(low, high)
        ticks = [tick for tick in TICKS if low <= tick <= high]
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("#par (plain networks)")
        axes.set_ylabel(f"S, {board.split} split")
        axes.grid(axis="y", linewidth=0.3, color="0.85")
        axes.set_axisbelow(True)
        _labels(axes, rows)
        _key(axes, rows)
    return drawn


def _point(axes: Axes, row: Row) -> None:
    x, y = row.params_ratio or 1.0, row.score or 0.0
    if row.kind == "published":
        axes.plot(x, y, "o", markerfacecolor="white", markeredgecolor="0.25", markersize=5)
        return
    if row.ci:
        axes.plot([x, x], row.ci, color="#b2182b", linewidth=1)
    axes.plot(x, y, "D", color="#b2182b", markersize=5)


def _key(axes: Axes, rows: list[Row]) -> None:
    kinds = {row.kind for row in rows}
    if "published" in kinds:
        axes.plot([], [], "o", markerfacecolor="white", markeredgecolor="0.25", label="published")
    if "run" in kinds:
        axes.plot([], [], "D", color="#b2182b", label="own run, 95 % interval")
    axes.legend(loc="lower right")


def _labels(axes: Axes, rows: list[Row]) -> None:
    """Writes names beside points, moved up or down until none covers another or a point.

    Widths are in powers of two of #par, heights in points of S; a line of text is taken
    to be a fortieth of the figure's height.
    """
    top = max(max(row.score or 0, row.ci[1] if row.ci else 0) for row in rows) * 1.06 + 1
    axes.set_ylim(0, top)
    line = top / 40
    points = [(float(np.log2(row.params_ratio or 1)), row.score or 0.0) for row in rows]
    taken = [(x - 0.03, 0.06, y) for x, y in points]
    for row, (x, wanted) in sorted(
        zip(rows, points, strict=True), key=lambda pair: (pair[1][0], -pair[1][1])
    ):
        left, width = x + 0.1, 0.075 * len(row.label)
        y = next(
            (
                wanted + shift * line * 0.5
                for shift in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 8, -8)
                if not _covers(taken, left, width, wanted + shift * line * 0.5, line)
            ),
            wanted,
        )
        taken.append((left, width, y))
        axes.annotate(
            visible(row.label),
            (2**x, wanted),
            xytext=(2**left, y),
            textcoords="data",
            va="center",
            fontsize=6.5,
            arrowprops={"arrowstyle": "-", "linewidth": 0.3, "color": "0.5", "shrinkA": 0},
        )


def _covers(
    taken: list[tuple[float, float, float]], left: float, width: float, y: float, line: float
) -> bool:
    """Whether a label would lie on something; all are (left, width, height)."""
    return any(
        left < other + wide and other < left + width and abs(y - height) < line
        for other, wide, height in taken
    )


def domains(trials: dict[str, Trials], reference: str, split: str) -> Figure:
    """Draws each run's accuracy per domain relative to a reference, paired on images.

    Args:
        trials: The trials to show by label, the reference's among them.
        reference: The label that is the zero line.
        split: Split of the records.

    Raises:
        UsageError: There is nothing beside the reference.
    """
    base = trials[reference]
    shown = [one for label, one in trials.items() if label != reference]
    names = canvas.in_order([d for d in base.domains if any(d in t.domains for t in shown)])
    if not shown or not names:
        raise UsageError(f"there are no results beside those of '{reference}' to compare with it")
    drawn = canvas.figure(1.5 + 0.6 * len(names), 2.8)
    with canvas.styled():
        axes = drawn.subplots()
        axes.axhline(0, color="black", linewidth=0.6)
        for place, one in enumerate(shown):
            offset = (place - (len(shown) - 1) / 2) * min(0.16, 0.7 / len(shown))
            _relative(axes, one, base, names, place, offset)
        axes.set_xticks(range(len(names)), [canvas.column(name) for name in names])
        axes.set_ylabel(f"accuracy - {visible(reference)} (points)")
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.grid(axis="y", linewidth=0.3, color="0.85")
        axes.set_axisbelow(True)
        drawn.legend(loc="outside upper center", ncols=min(4, len(shown)))
    return drawn


def _relative(
    axes: Axes, one: Trials, base: Trials, names: list[str], place: int, offset: float
) -> None:
    own, reference = statistics.draw([one, base], {})
    means = one.mean_errors(), base.mean_errors()
    ink, marker = canvas.INKS[place % 8], canvas.MARKERS[place % 8]
    label: str | None = visible(one.label)
    for x, name in enumerate(names):
        if name not in own.accuracy:
            continue
        gap = 100 * (means[1][name] - means[0][name])
        low, high = statistics.interval(own.accuracy[name] - reference.accuracy[name])
        axes.plot([x + offset] * 2, [low, high], color=ink, linewidth=0.9)
        axes.plot(x + offset, gap, marker, color=ink, markersize=4, linestyle="", label=label)
        label = None
