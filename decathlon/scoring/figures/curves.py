"""Training curves, from the logs of the trials."""

import json
import math
from collections import defaultdict
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from decathlon.errors import ResultError
from decathlon.scoring.escape import visible
from decathlon.scoring.figures import canvas
from decathlon.scoring.trials import Trials

LOG = "log.jsonl"
Curve = dict[float, list[float]]
"""Losses of all seeds by epoch."""


def read_losses(path: Path) -> list[tuple[float, float]]:
    """Reads (epoch, loss) of one trial's log.

    Raises:
        ResultError: A line is not valid JSON with an epoch and a finite loss.
    """
    points = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            facts = json.loads(line)
            epoch, loss = float(facts["epoch"]), float(facts["loss"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ResultError(
                f"{path}: line {number} has no epoch and loss; run the trial again with --force"
            ) from None
        if math.isfinite(loss):
            points.append((epoch, loss))
    return points


def curves(results: Path, shown: list[Trials]) -> Figure:
    """Draws the training loss by epoch, a panel per domain and a line per name.

    Raises:
        ResultError: No trial has a log, or a log is damaged.
    """
    found: dict[str, dict[str, Curve]] = defaultdict(dict)
    for trials in shown:
        for record in trials.used:
            path = results / record.folder / LOG
            if path.exists():
                curve = found[record.domain].setdefault(trials.label, defaultdict(list))
                for epoch, loss in read_losses(path):
                    curve[epoch].append(loss)
    if not found:
        raise ResultError(f"{results}: no trial has a {LOG} to plot")
    return _draw(found, [trials.label for trials in shown])


def _draw(found: dict[str, dict[str, Curve]], names: list[str]) -> Figure:
    domains = canvas.in_order(list(found))
    columns = min(5, len(domains))
    rows = -(-len(domains) // columns)
    drawn = canvas.figure(0.6 + 1.4 * columns, 0.8 + 1.25 * rows)
    with canvas.styled():
        grid = drawn.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(domains) :]:
            axes.set_visible(False)
        handles = {}
        for axes, domain in zip(grid.flat, domains, strict=False):
            for place, name in enumerate(names):
                if name in found[domain]:
                    handles[name] = _line(axes, found[domain][name], place)
            axes.set_title(canvas.column(domain))
            axes.set_ylim(bottom=0)
        drawn.supxlabel("epoch", fontsize=8)
        drawn.supylabel("training loss, mean over seeds", fontsize=8)
        labels = [visible(name) for name in handles]
        drawn.legend(
            list(handles.values()), labels, loc="outside upper center", ncols=min(4, len(handles))
        )
    return drawn


def _line(axes: Axes, curve: Curve, place: int) -> Line2D:
    epochs = sorted(curve)
    means = [math.fsum(curve[epoch]) / len(curve[epoch]) for epoch in epochs]
    ink, line = canvas.INKS[place % 8], canvas.LINES[place % 8]
    return axes.plot(epochs, means, color=ink, linestyle=line)[0]
