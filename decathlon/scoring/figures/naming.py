"""Names beside the points of a figure: none lies on another, on a point or on an interval.

A name stands on the right of its point, on the left, above or below it, where there is
room; the others share a column on the right of the figure, with lines to their points.
Names that stand in one column have the order of their points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decathlon.scoring.figures import style

SIZE = 6.5
"""Points of a name's letters."""
APART = 0.12
"""Inches around a point, and from a point to a name at the same height."""
LEADER = 0.25
"""Inches from points to a column of names where some names are at other heights."""
SCALES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25)
"""Inches of a doubling: the first of those with most names beside their points."""
WIDEST = 8.0
"""Inches that points spread over, at most."""


class Point(NamedTuple):
    """A point to be named, in data coordinates: its place and the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class _Name:
    """A name and its point; all lengths are in inches from the corner of the axes."""

    text: str
    point: Point
    width: float
    height: float
    left: float = 0.0
    middle: float = 0.0

    def covers(self, other: "_Name") -> bool:
        """Whether it lies on another name, or on the point or interval of one."""
        end, (x, _, low, high) = other.left + other.width, other.point
        return self._meets(other.left, end, other.middle, other.middle, other.height / 2) or (
            self._meets(x - APART / 2, x + APART / 2, low, high, APART / 2)
        )

    def _meets(self, left: float, right: float, low: float, high: float, around: float) -> bool:
        reach = self.height / 2 + around - 1e-6
        across = self.left < right and left < self.left + self.width
        return across and low - reach < self.middle < high + reach


class _Plan(NamedTuple):
    """Where names stand: beside their points, or in the column on the right."""

    beside: list[_Name]
    aside: list[_Name]
    width: float


def name_points(drawn: Figure, axes: Axes, points: Sequence[Point], names: Sequence[str]) -> None:
    """Writes names beside their points, and makes room for them.

    Args:
        drawn: The figure.
        axes: Its only axes. They become logarithmic in x; the limits of y are final.
        points: The points.
        names: Their names.
    """
    texts = [style.folded(name) for name in names]
    sizes = [_measured(drawn, text) for text in texts]
    octaves = np.log2([point.x for point in points])
    low, spread = octaves.min(), octaves.max() - octaves.min()
    wide, high = drawn.get_size_inches()
    drawn.draw_without_rendering()  # lays the axes out
    across, up = style.size_of(drawn, axes)
    needed = sum(height for _, height in sizes) + 2 * APART
    frame, high = wide - across, high + max(0.0, needed - up)
    up = max(up, needed - 2 * APART)
    inch = axes.get_ylim()[1] / up

    def plan(scale: float) -> _Plan:
        xs = (octaves - low) * scale + 2 * APART
        places = [Point(x, *(y / inch for y in ys)) for x, (_, *ys) in zip(xs, points, strict=True)]
        found = zip(texts, places, sizes, strict=True)
        return _planned([_Name(text, place, *size) for text, place, size in found], up)

    scales = [min(scale, WIDEST / max(spread, 0.1)) for scale in SCALES]
    scale = min(scales, key=lambda scale: len(plan(scale).aside))
    chosen = plan(scale)
    across = max(chosen.width + APART, wide / 2)
    drawn.set_size_inches(frame + across, high)
    start = low - 2 * APART / scale
    axes.set_xscale("log", base=2)
    axes.set_xlim(2**start, 2 ** (start + across / scale))
    for name in (*chosen.aside, *chosen.beside):  # names hide the lines of those aside
        _write(axes, name, lambda x: float(2 ** (start + x / scale)), inch)


def _measured(drawn: Figure, text: str) -> tuple[float, float]:
    written = drawn.text(0, 0, text, fontsize=SIZE)
    width, height = style.size_of(drawn, written)
    written.remove()
    return width, height * 1.15


def _planned(names: list[_Name], up: float) -> _Plan:
    beside: list[_Name] = []
    left_over = []
    for unit in _units(names):
        for right in (True, False):
            fitting = _fitting(unit, right, [*beside, *names], up)
            beside += fitting
            written = {id(name.point) for name in fitting}
            unit = [name for name in unit if id(name.point) not in written]  # noqa: PLW2901
        for name in unit:
            close = [near for near in _near(name, up) if _is_free(near, [*beside, *names])]
            beside += close[:1]
            left_over += [name] * (not close)
    end = max((name.left + name.width for name in beside), default=0.0)
    end = max(end, max(name.point.x for name in names) + APART)
    aside = _column(left_over, end + LEADER, up)
    return _Plan(beside, aside, max([end, *(name.left + name.width for name in aside)]))


def _units(names: list[_Name]) -> list[list[_Name]]:
    """Groups the names of points that stand above each other, from right to left."""
    units: list[list[_Name]] = []
    for name in sorted(names, key=lambda name: -name.point.x):
        if not units or units[-1][0].point.x - name.point.x > APART:
            units.append([])
        units[-1].append(name)
    return units


def _fitting(unit: list[_Name], right: bool, others: list[_Name], up: float) -> list[_Name]:
    """Returns the names of a unit that fit on one side of it, in their places."""
    xs = [name.point.x for name in unit]
    while unit:
        for gap in (APART, LEADER):
            edge = max(xs) + gap if right else min(xs) - gap
            placed = _column(unit, edge, up, right)
            if all(abs(name.middle - name.point.y) < name.height / 4 for name in placed):
                break
        bad = next((name for name in placed if not _is_free(name, others)), None)
        if bad is None:
            return placed
        unit = [name for name in placed if name is not bad]
    return []


def _is_free(name: _Name, others: list[_Name]) -> bool:
    return name.left >= 0 and not any(name.covers(other) for other in others)


def _near(name: _Name, up: float) -> list[_Name]:
    """Returns a name right above and right below its point."""
    away = (name.height + APART) / 2
    left = name.point.x - name.width / 2
    return [
        replace(name, left=left, middle=middle)
        for middle in (name.point.y + away, name.point.y - away)
        if name.height / 2 <= middle <= up - name.height / 2
    ]


def _column(names: list[_Name], edge: float, up: float, right: bool = True) -> list[_Name]:
    """Places names in a column, each as near to its point as can be, in their order.

    Names that touch form a block, which stands where its names would be on average.
    """
    blocks: list[tuple[float, list[_Name]]] = []
    for name in sorted(names, key=lambda name: name.point.y):
        block, bottom = [name], _bottom([name], up)
        while blocks and blocks[-1][0] + sum(one.height for one in blocks[-1][1]) > bottom:
            block = blocks.pop()[1] + block
            bottom = _bottom(block, up)
        blocks.append((bottom, block))
    placed = []
    for below, block in blocks:
        for name in block:
            left = edge if right else edge - name.width
            placed.append(replace(name, left=left, middle=below + name.height / 2))
            below += name.height  # noqa: PLW2901
    return placed


def _bottom(block: list[_Name], up: float) -> float:
    """Returns where a block begins: its names are as near to their points as can be."""
    below, wanted = 0.0, 0.0
    for name in block:
        wanted += name.point.y - below - name.height / 2
        below += name.height
    return max(0.0, min(wanted / len(block), up - below))


def _write(axes: Axes, name: _Name, to_x: Callable[[float], float], inch: float) -> None:
    right = name.left + name.width > name.point.x
    near = right and name.left < name.point.x
    # The line begins at the end of the name, not across it.
    line: dict[str, Any] = {
        "arrowstyle": "-",
        "linewidth": 0.3,
        "color": "0.5",
        "shrinkA": 0,
        "shrinkB": 3,
    }
    line["relpos"] = (0 if right else 1, 0.5)
    axes.annotate(
        name.text,
        (to_x(name.point.x), name.point.y * inch),
        xytext=(to_x(name.left if right else name.left + name.width), name.middle * inch),
        textcoords="data",
        ha="left" if right else "right",
        va="center",
        fontsize=SIZE,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        arrowprops=None if near else line,
    )
