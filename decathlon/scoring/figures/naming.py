"""Names beside the points of a figure: none lies on another, on a point or on an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decathlon.scoring.figures import canvas

SIZE = 6.5
"""Points of a name's letters."""
APART = 0.12
"""Inches around a point, and from a point to a name at the same height."""
LEADER = 0.3
"""Inches from a column of names to its points where some names are at other heights."""
SCALES = (1.0, 1.25, 1.5, 1.75, 2.0)
"""Inches of a doubling: the first of those that give the most columns of names."""
WIDEST, HIGHEST = 7.0, 8.0
"""Inches that points spread over, and that names do, at most."""


@dataclass
class _Name:
    """A name and its point; all lengths are in inches from the corner of the axes."""

    text: str
    x: float
    y: float
    width: float
    height: float
    middle: float = 0.0


def name_points(
    drawn: Figure, axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str]
) -> None:
    """Writes names on the right of their points, and makes room for them.

    Points that stand so close side by side that a name would lie on the next one share
    a column of names on their right, in the order of their heights.

    Args:
        drawn: The figure.
        axes: Its only axes. They become logarithmic in x; the limits of y are final.
        points: The points in data coordinates.
        names: Their names.
    """
    texts = [canvas.folded(name) for name in names]
    sizes = [_measured(drawn, text) for text in texts]
    octaves = np.log2([x for x, _ in points])
    low, spread = octaves.min(), octaves.max() - octaves.min()
    wide, high = drawn.get_size_inches()
    across, up = _inches(drawn, axes)
    needed = min(sum(height for _, height in sizes), HIGHEST)
    frame, high = wide - across, high + max(0.0, needed - up)
    up = max(up, needed)
    limit = axes.get_ylim()[1]

    def placed(scale: float) -> list[list[_Name]]:
        return _columns(
            [
                _Name(text, (octave - low) * scale + 2 * APART, y / limit * up, *size)
                for text, octave, (_, y), size in zip(texts, octaves, points, sizes, strict=True)
            ]
        )

    scale = max((min(s, WIDEST / max(spread, 0.1)) for s in SCALES), key=lambda s: len(placed(s)))
    columns = placed(scale)
    across = max(_end(columns[-1]) + APART, drawn.get_figwidth() / 2)
    drawn.set_size_inches(frame + across, high)
    left = low - 2 * APART / scale
    axes.set_xscale("log", base=2)
    axes.set_xlim(2**left, 2 ** (left + across / scale))
    for column in columns:
        _spread(column, up)
        moved = any(abs(name.middle - name.y) > name.height / 4 for name in column)
        x = max(name.x for name in column) + (LEADER if moved else APART)
        for name in column:
            _write(axes, name, 2 ** (left + x / scale), limit / up, 2 ** (left + name.x / scale))


def _measured(drawn: Figure, text: str) -> tuple[float, float]:
    written = drawn.text(0, 0, text, fontsize=SIZE)
    width, height = canvas.size_of(drawn, written)
    written.remove()
    return width, height * 1.15


def _inches(drawn: Figure, axes: Axes) -> tuple[float, float]:
    """Returns the size of the axes once they are laid out."""
    drawn.draw_without_rendering()
    return canvas.size_of(drawn, axes)


def _columns(names: list[_Name]) -> list[list[_Name]]:
    """Groups names, from left to right, by the column that they are written in."""
    columns: list[list[_Name]] = []
    for name in sorted(names, key=lambda name: name.x):
        if not columns or name.x - APART > _end(columns[-1]):
            columns.append([])
        columns[-1].append(name)
    return columns


def _end(column: list[_Name]) -> float:
    return max(name.x for name in column) + LEADER + max(name.width for name in column)


def _spread(column: list[_Name], up: float) -> None:
    """Moves names apart, each as little as possible, without changing their order.

    Names that touch form a block, which stands where its names would be on average.
    """
    column.sort(key=lambda name: name.y)
    blocks: list[tuple[float, list[_Name]]] = []
    for name in column:
        block = [name]
        bottom = _bottom(block, up)
        while blocks and blocks[-1][0] + _height(blocks[-1][1]) > bottom:
            block = blocks.pop()[1] + block
            bottom = _bottom(block, up)
        blocks.append((bottom, block))
    for bottom, block in blocks:
        below = bottom
        for name in block:
            name.middle = below + name.height / 2
            below += name.height


def _height(block: list[_Name]) -> float:
    return sum(name.height for name in block)


def _bottom(block: list[_Name], up: float) -> float:
    """Returns where a block begins: its names are as near to their points as can be."""
    below, wanted = 0.0, 0.0
    for name in block:
        wanted += name.y - below - name.height / 2
        below += name.height
    return max(0.0, min(wanted / len(block), up - below))


def _write(axes: Axes, name: _Name, x: float, scale: float, point: float) -> None:
    axes.annotate(
        name.text,
        (point, name.y * scale),
        xytext=(x, name.middle * scale),
        textcoords="data",
        va="center",
        fontsize=SIZE,
        arrowprops={
            "arrowstyle": "-",
            "linewidth": 0.3,
            "color": "0.5",
            "relpos": (0, 0.5),  # from the left of the name, never across another
            "shrinkA": 0,
            "shrinkB": 3,
        },
    )
