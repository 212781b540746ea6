"""Accuracy over each setting of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from decathlon.common.errors import ResultError
from decathlon.results.points import settings_in
from decathlon.results.selection import value_text
from decathlon.scoring.entries import Entry
from decathlon.scoring.figures import style
from decathlon.scoring.setups import Key
from decathlon.suites.base import Suite

KINDS = ("recipe", "network")
"""Kinds of a setup's facts that are settings."""
MEAN = "mean"
MAX_TICKS = 5
DECADES = 10
"""Ratio of the largest value to the smallest from which an axis is logarithmic."""


@dataclass(frozen=True)
class Swept:
    """One point of a sweep.

    Attributes:
        settings: Its value of each setting that differs between the points.
        accuracy: In percent by domain, the mean over seeds; of all domains also the mean.
    """

    settings: dict[str, Any]
    accuracy: dict[str, float]


def points_of(entries: Sequence[Entry], suite: Suite) -> list[Swept]:
    """Returns the points of the entries of a sweep.

    Raises:
        ResultError: No setting differs between them.
    """
    facts = [entry.setup.facts for entry in entries]
    keys: dict[Key, None] = dict.fromkeys(key for one in facts for key in one if key[0] in KINDS)
    differing = [key for key in keys if len({value_text(one.get(key)) for one in facts}) > 1]
    if not differing:
        raise ResultError("no setting differs between the points of this sweep: nothing to plot")
    domains = suite.in_order({domain for entry in entries for domain in entry.domains})
    found = []
    for entry, one in zip(entries, facts, strict=True):
        errors = entry.mean_errors()
        accuracy = {domain: 100 * (1 - errors[domain]) for domain in domains if domain in errors}
        if len(accuracy) == len(domains) > 1:
            accuracy[MEAN] = sum(accuracy.values()) / len(domains)
        shown = settings_in(entry.name)  # records lack some settings at their defaults
        settings = {
            (own := key[1].removesuffix(".default")): one.get(key, shown.get(own))
            for key in differing
        }
        found.append(Swept(settings, accuracy))
    return found


def sweep(points: Sequence[Swept], suite: Suite) -> Figure:
    """Draws accuracy on val over each setting, a panel per setting and a marker per point.

    The best point of each domain, and of the mean over them, has a large marker. Where points share
    values, a line joins the best of each value. Numbers that spread over decades are on a
    logarithmic axis.

    Args:
        points: The points.
        suite: Their suite.
    """
    names = list(points[0].settings)
    series = list(dict.fromkeys(name for point in points for name in point.accuracy))
    series.sort(key=lambda name: name != MEAN)
    drawn, panels = style.panels(names, suite, 2.2, 1.8, across=3)
    handles: dict[str, Line2D] = {}
    with style.styled():
        for name, axes in panels.items():
            values = [point.settings[name] for point in points]
            places = _places(values)
            for place, one in enumerate(series):
                own = [
                    (x, p.accuracy[one])
                    for x, p in zip(places, points, strict=True)
                    if one in p.accuracy
                ]
                handles[one] = _draw(axes, own, place)
            _set_axis(axes, values, places)
            style.set_ticks(axes.yaxis, 4)
            axes.grid(axis="y", linewidth=0.3, color="0.85")
            axes.set_axisbelow(True)
        drawn.supylabel("accuracy on val (%)", fontsize=8)
        labels = [one if one == MEAN else style.column(one, suite) for one in handles]
        style.legend(drawn, list(handles.values()), labels)
    return drawn


def _draw(axes: Axes, points: Sequence[tuple[float, float]], place: int) -> Line2D:
    look = style.look(place)
    best: dict[float, float] = {}
    for x, y in sorted(points):
        best[x] = max(y, best.get(x, y))
    if len(best) < len(points):
        axes.plot(
            list(best), list(best.values()), color=look.ink, linestyle=look.line, linewidth=0.8
        )
    top = max(points, key=lambda point: point[1])
    axes.plot(*top, look.marker, color=look.ink, markersize=6, linestyle="")
    xs, ys = zip(*points, strict=True)
    return axes.plot(xs, ys, look.marker, color=look.ink, markersize=3, linestyle="")[0]


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _places(values: Sequence[Any]) -> list[float]:
    """Returns where values stand on their axis: numbers as they are, others beside each other."""
    if _are_numbers(values):
        return [float(value) for value in values]
    texts = list(dict.fromkeys(map(value_text, values)))
    return [float(texts.index(value_text(value))) for value in values]


def _set_axis(axes: Axes, values: Sequence[Any], places: Sequence[float]) -> None:
    """Scales the axis of a setting, and puts ticks at its values if they are few."""
    low, high = min(places), max(places)
    numbers = _are_numbers(values)
    if numbers and low > 0 and high / low >= DECADES:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.08, high * (high / low) ** 0.08)
        decades = [10.0**power for power in range(-30, 31)]
        ticks = [decade for decade in decades if low <= decade * 1.0001 and decade <= high * 1.0001]
    else:
        axes.set_xlim(low - 0.08 * (high - low), high + 0.08 * (high - low))
        ticks = []
    texts = [f"{place:g}" for place in places] if numbers else map(value_text, values)
    distinct = dict(sorted(zip(places, texts, strict=True)))
    if not numbers or len(distinct) <= MAX_TICKS:
        axes.set_xticks(list(distinct), [style.folded(text, 12) for text in distinct.values()])
    elif len(ticks) > 1:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    else:
        style.set_ticks(axes.xaxis, 4)
    axes.minorticks_off()
