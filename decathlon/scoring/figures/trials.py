"""Figures of one trial: its training, its calibration, and the routing of its classes."""

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from decathlon.common.text import visible
from decathlon.scoring.calibration import Bin
from decathlon.scoring.classes import ClassRouting
from decathlon.scoring.entries import Entry
from decathlon.scoring.figures import style
from decathlon.scoring.figures.policies import heat_map

SIZE = (3.4, 2.6)
"""Inches of a small figure, which a telephone shows whole."""
LOWEST_ROW = 0.16
"""Inches of a row of text."""
LONGEST_NAME = 24


def curve(points: Sequence[tuple[float, float]]) -> Figure:
    """Draws the training loss by epoch."""
    drawn = style.figure(*SIZE)
    with style.styled():
        axes = drawn.subplots()
        axes.plot(*zip(*points, strict=True), color=style.look(0).ink, marker=".")
        axes.set_ylim(bottom=0)
        style.set_ticks(axes.xaxis, 5, integer=True)
        style.set_ticks(axes.yaxis, 5)
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss")
    return drawn


def reliability(bins: Sequence[Bin]) -> Figure:
    """Draws accuracy over confidence; the area of a point is the share of images in its bin."""
    drawn = style.figure(*SIZE)
    total = sum(one.total for one in bins)
    with style.styled():
        axes = drawn.subplots()
        axes.plot([0, 100], [0, 100], color=style.INKS[6], linewidth=0.8, linestyle="--")
        x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
        axes.plot(x, y, color=style.INKS[1], linewidth=0.8)
        areas = [12 + 120 * one.total / total for one in bins]
        axes.scatter(x, y, s=areas, color=style.INKS[1], zorder=2, clip_on=False)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("confidence (%)")
        axes.set_ylabel("accuracy (%)")
    return drawn


def routing(classes: Sequence[ClassRouting], entry: Entry) -> Figure:
    """Draws the share of each class's images that took the fine-tuned path, by block."""
    names = [textwrap.shorten(visible(one.name), LONGEST_NAME) for one in classes]
    rows = [(name, one.tuned) for name, one in zip(names, classes, strict=True)]
    return heat_map(rows, entry, LOWEST_ROW)
