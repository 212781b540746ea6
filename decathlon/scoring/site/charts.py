"""Small charts as coordinates: the templates draw them as part of the page, in its colours.

A page per row has many of them, for which matplotlib would take minutes. All numbers are rounded
to tenths of a pixel, so that equal results give equal pages.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from decathlon.common.text import visible
from decathlon.scoring.entries import Entry
from decathlon.scoring.rounding import Pair
from decathlon.scoring.routes import Decisions, stages_of
from decathlon.scoring.rows import powers_of_two

STRIP = 220
"""Pixels of a strip of accuracies."""
EDGE = 12
"""Pixels left free at both ends of an axis."""
PANEL = (190, 92)
"""Pixels of a panel with a training curve."""
CELL = (34, 24)
"""Pixels of a cell of a map of routing."""
PLOT = (780, 400)
"""Pixels of the plot of merit over size."""
LINE, WIDTH = 14, 6.5
"""Pixels of a line of text in it, and of a character."""
MOST_TICKS = 5


class Axis:
    """A horizontal axis of a few round numbers.

    Attributes:
        low: The number at its left end.
        high: That at its right end.
        width: Pixels from end to end, edges included.
    """

    def __init__(self, low: float, high: float, width: float = STRIP) -> None:
        step = _step((high - low) / MOST_TICKS)
        self.low, self.high = step * math.floor(low / step), step * math.ceil(high / step)
        if self.low == self.high:
            self.high += step
        self.width, self._step = width, step

    def x(self, value: float) -> float:
        """Returns where a number is, in pixels from the left."""
        return _along(value, (self.low, self.high), self.width)

    @property
    def values(self) -> list[float]:
        """The round numbers."""
        count = round((self.high - self.low) / self._step)
        return [round(self.low + i * self._step, 9) for i in range(count + 1)]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places of the round numbers and their texts."""
        return [(self.x(value), f"{value:g}") for value in self.values]


def _along(value: float, ends: Pair, width: float) -> float:
    """Returns where a number is between two others, in pixels of an axis of that width."""
    share = (value - ends[0]) / (ends[1] - ends[0])
    return round(EDGE + share * (width - 2 * EDGE), 1)


def _step(least: float) -> float:
    """Returns the smallest of 1, 2, 5, 10, ... (and 0.1, 0.2, ...) that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def strip(axis: Axis, value: float, pair: Pair | None, best: float | None = None) -> dict[str, Any]:
    """Returns a number with its interval on an axis, and the best number beside it."""
    return {
        "width": axis.width,
        "x": axis.x(value),
        "ends": [axis.x(end) for end in pair] if pair else None,
        "best": None if best is None else axis.x(best),
    }


def curves(
    losses: Mapping[str, Sequence[tuple[float, float]]],
) -> list[dict[str, Any]]:
    """Returns a panel for the training loss of each domain, given (epoch, loss) by domain."""
    width, height = PANEL
    found = []
    for domain, points in losses.items():
        if not points:
            continue
        top = max(loss for _, loss in points) or 1.0
        first, last = points[0][0], points[-1][0]
        wide = (last - first) or 1.0
        places = [
            (
                round(4 + (epoch - first) / wide * (width - 8), 1),
                round(height - 4 - loss / top * (height - 8), 1),
            )
            for epoch, loss in points
        ]
        found.append(
            {
                "heading": visible(domain),
                "width": width,
                "height": height,
                "line": " ".join(f"{x},{y}" for x, y in places),
                "end": places[-1],
                "text": f"{points[0][1]:.3g} in epoch {first:.0f}, {points[-1][1]:.3g} in epoch"
                f" {last:.0f}",
            }
        )
    return found


def routing(decisions: Mapping[str, Decisions], entry: Entry) -> dict[str, Any]:
    """Returns a map of the share of images that took the fine-tuned path, by domain and block.

    Args:
        decisions: Images x blocks by domain.
        entry: The entry, whose records name the stages of the network.
    """
    wide, high = CELL
    count = max(taken.shape[1] for taken in decisions.values())
    rows = []
    for domain, taken in decisions.items():
        shares = [round(float(share)) for share in 100 * taken.mean(axis=0)]
        mean = float(taken.sum(axis=1).mean())
        rows.append({"heading": visible(domain), "shares": shares, "mean": mean})
    starts, stages = 0, []
    for number, blocks in stages_of(entry, count):
        stages.append({"text": f"stage {number}", "start": starts * wide, "blocks": blocks})
        starts += blocks
    return {"rows": rows, "stages": stages, "blocks": count, "wide": wide, "high": high}


def ranks(found: Sequence[tuple[str, str, Pair]]) -> dict[str, Any]:
    """Returns the intervals of ranks on one axis.

    Args:
        found: Label, link and interval of each row, the best first.
    """
    width, all_ranks = 2 * STRIP, (1, max(2, *(high for _, _, (_, high) in found)))
    rows = [
        {
            "label": label,
            "href": href,
            "ends": [_along(rank, all_ranks, width) for rank in (low, high)],
            "low": low,
            "high": high,
        }
        for label, href, (low, high) in found
    ]
    return {"rows": rows, "width": width}


@dataclass(frozen=True)
class Mark:
    """A row in the plot of merit over size.

    Attributes:
        label: What it is called.
        href: Where it leads.
        size: Its #par, above 0.
        value: Its score or mean accuracy.
        pair: The interval of the value.
        own: Whether the row was submitted.
    """

    label: str
    href: str
    size: float
    value: float
    pair: Pair | None
    own: bool


def tradeoff(marks: Sequence[Mark], from_zero: bool) -> dict[str, Any]:
    """Returns the plot of merit over size, with names on the rows that no smaller row reaches.

    Above and to the left of such a row is no other, so that its name has room there.

    Args:
        marks: The rows, at least one.
        from_zero: Whether the scale of values begins at 0.
    """
    width, height = PLOT
    left, bottom = 46, 34
    logs = [math.log2(mark.size) for mark in marks]
    low, span = min(logs), (max(logs) - min(logs)) or 1.0
    ends = [end for mark in marks for end in (mark.value, *(mark.pair or ()))]
    scale = Axis(0 if from_zero else min(ends), max(ends))

    def x(size: float) -> float:
        return round(left + 30 + (math.log2(size) - low) / span * (width - left - 50), 1)

    def y(value: float) -> float:
        share = (value - scale.low) / (scale.high - scale.low)
        return round(height - bottom - share * (height - bottom - 14), 1)

    points = [
        {
            "label": mark.label,
            "href": mark.href,
            "own": mark.own,
            "text": f"{mark.label}: {mark.value:.1f}, {mark.size:.3g}x",
            "x": x(mark.size),
            "y": y(mark.value),
            "ends": [y(end) for end in mark.pair] if mark.pair else None,
        }
        for mark in marks
    ]
    front = _front(points)
    return {
        "width": width,
        "height": height,
        "left": left,
        "base": height - bottom,
        "x_ticks": [(x(size), f"{size:g}x") for size in powers_of_two([m.size for m in marks])],
        "y_ticks": [(y(value), f"{value:g}") for value in scale.values],
        "points": points,
        "front": _staircase(front, width),
        "names": _with_room(front, left),
    }


def _front(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the points that are higher than all further to the left, from the left."""
    found: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda one: (one["x"], one["y"], one["label"])):
        if not found or point["y"] < found[-1]["y"]:
            found.append(point)
    return found


def _staircase(front: Sequence[dict[str, Any]], width: float) -> str:
    """Returns the line below which every size is surpassed by a point that is no larger."""
    corners = []
    for point, following in zip(front, [*front[1:], None], strict=True):
        end = following["x"] if following else width
        corners += [f"{point['x']},{point['y']}", f"{end},{point['y']}"]
    return " ".join(corners)


def _with_room(front: Sequence[dict[str, Any]], left: float) -> list[dict[str, Any]]:
    """Returns names for points, from the highest down, without those that others would cover."""
    found: list[dict[str, Any]] = []
    for point in reversed(front):
        wide = WIDTH * cell_len(point["label"])
        fits = point["x"] - wide > left
        place = {"x": point["x"] + (-9 if fits else 9), "y": point["y"] - 8}
        if all(abs(place["y"] - other["y"]) >= LINE for other in found):
            anchor = "end" if fits else "start"
            found.append(place | {"anchor": anchor, "text": point["label"]})
    return found
