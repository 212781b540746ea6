"""Training curves, from the logs of the trials."""

from collections import defaultdict
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from decathlon.common.errors import ResultError
from decathlon.results.records import LOG
from decathlon.scoring.entries import Entry
from decathlon.scoring.figures import style
from decathlon.scoring.logs import mean_losses
from decathlon.suites.base import Suite

MARKED = 6
"""Markers on one curve, about."""
Curve = list[tuple[float, float]]
"""Epochs and losses."""


def curves(results: Path, shown: list[Entry], suite: Suite) -> Figure:
    """Draws the training loss by epoch, a panel per domain and a line per name.

    Raises:
        ResultError: No trial has a log, or a log is damaged.
    """
    found: dict[str, dict[str, Curve]] = defaultdict(dict)
    for entry in shown:
        for domain, curve in mean_losses(results, entry).items():
            found[domain][entry.label] = curve
    if not found:
        raise ResultError(f"{results}: no trial has a {LOG} to plot")
    return _draw(found, [entry.label for entry in shown], suite)


def _draw(found: dict[str, dict[str, Curve]], names: list[str], suite: Suite) -> Figure:
    drawn, panels = style.panels(suite.in_order(found), suite, 1.45, 1.3)
    handles = {}
    with style.styled():
        for domain, axes in panels.items():
            for place, name in enumerate(names):
                if name in found[domain]:
                    handles[name] = _line(axes, found[domain][name], place)
            axes.set_ylim(bottom=0)
            style.set_ticks(axes.xaxis, 3, integer=True)
            style.set_ticks(axes.yaxis, 4)
        drawn.supxlabel("epoch", fontsize=8)
        drawn.supylabel("training loss, mean over seeds", fontsize=8)
        in_order = [name for name in names if name in handles]
        style.legend(drawn, [handles[name] for name in in_order], in_order)
    return drawn


def _line(axes: Axes, curve: Curve, place: int) -> Line2D:
    look = style.look(place)
    every = -(-len(curve) // MARKED)
    return axes.plot(
        [epoch for epoch, _ in curve],
        [loss for _, loss in curve],
        color=look.ink,
        linestyle=look.line,
        marker=look.marker,
        markersize=3,
        markevery=(place % every, every),  # those of other curves stand elsewhere
    )[0]
