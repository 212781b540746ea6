"""The critical-difference diagram: rows by mean rank, joined where they cannot be told apart.

After Demsar, Statistical comparisons of classifiers over multiple data sets (2006), Figure 1.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decathlon.scoring.figures import style
from decathlon.scoring.rows import Row

WIDTH = 4.5
"""Inches of the axis and of the lines that lead beyond its ends."""
BESIDE = 0.35
"""Inches from an end of the axis to the names beside it."""
BAR = 0.11
"""Inches from a bar to the next."""
LINE = 0.17
"""Inches that a line of a name takes."""


def diagram(rows: Sequence[Row], bars: Sequence[Sequence[int]], text: str, caption: str) -> Figure:
    """Draws rows on an axis of mean ranks, with their names at both sides.

    Args:
        rows: Rows with a mean rank, the best first.
        bars: Places of the rows that a bar joins, in ascending order; a dot marks each of them,
            as a bar may pass over others.
        text: What the axis shows.
        caption: What the bars mean.
    """
    ranks = [row.mean_rank or 0.0 for row in rows]
    names = [style.folded(row.label) for row in rows]
    half, top = (len(rows) + 1) // 2, BAR * (len(bars) + 1)
    left, right = _depths(names[:half], top), _depths(names[: half - 1 : -1], top)
    depth = max(*left, *right) + LINE
    drawn = style.figure(2 * WIDTH, depth + 1)  # with room for names of any length
    with style.styled():
        axes = drawn.subplots()
        _axis(axes, len(rows), depth, text)
        drawn.supxlabel(caption, fontsize=7)
        for place, y in enumerate([*left, *reversed(right)]):
            _name(axes, names[place], ranks[place], y, at_left=place < half)
        for number, bar in enumerate(bars):
            xs, y = [ranks[place] for place in bar], BAR * (number + 1)
            axes.plot(xs, [y] * len(xs), "o-", color="black", linewidth=2, markersize=4)
        drawn.draw_without_rendering()  # lays the axes out
        sizes = zip(
            drawn.get_size_inches(), style.size_of(drawn, axes), (WIDTH, depth), strict=True
        )
        drawn.set_size_inches(*(whole - inner + wanted for whole, inner, wanted in sizes))
    return drawn


def _depths(names: Sequence[str], top: float) -> list[float]:
    """Returns how far below the axis the lines to names run, from the outside to the inside."""
    depths, bottom = [], top
    for name in names:
        height = LINE * (name.count("\n") + 1)
        depths.append(bottom + height / 2)
        bottom += height
    return depths


def _axis(axes: Axes, count: int, depth: float, text: str) -> None:
    """Makes the upper edge the axis of ranks; the vertical scale is in inches below it."""
    beside = BESIDE * (count - 1) / (WIDTH - 2 * BESIDE)
    axes.set_xlim(1, count)
    style.set_ticks(axes.xaxis, 10, integer=True)
    axes.set_xlim(1 - beside, count + beside)
    axes.set_ylim(depth, 0)
    axes.set_yticks([])
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(text)
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.spines["top"].set_bounds(1, count)


def _name(axes: Axes, name: str, rank: float, depth: float, at_left: bool) -> None:
    """Writes a name beside the axis, and its rank on the line that leads there."""
    low, high = axes.get_xlim()
    end, sign = (low, -1) if at_left else (high, 1)
    axes.plot([rank, rank, end], [0, depth, depth], color="0.4", linewidth=0.7)
    at_end: dict[str, Any] = {"xy": (end, depth), "textcoords": "offset points"}
    inner, outer = ("left", "right") if at_left else ("right", "left")
    axes.annotate(f"{rank:.2f}", xytext=(0, 1), ha=inner, va="bottom", fontsize=6, **at_end)
    axes.annotate(name, xytext=(3 * sign, 0), ha=outer, va="center", fontsize=8, **at_end)
