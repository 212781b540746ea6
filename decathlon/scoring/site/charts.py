"""Small charts as coordinates: the templates draw them as part of the page, in its colours.

A page per row has many of them, for which matplotlib would take minutes. All numbers are rounded
to tenths of a pixel, so that equal results give equal pages.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from decathlon.scoring.entries import Entry
from decathlon.scoring.rounding import Pair
from decathlon.scoring.routes import Decisions, stages_of

STRIP = 220
"""Pixels of a strip of accuracies."""
EDGE = 8
"""Pixels left free at both ends of an axis."""
PANEL = (190, 92)
"""Pixels of a panel with a training curve."""
CELL = (34, 24)
"""Pixels of a cell of a map of routing."""
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
        share = (value - self.low) / (self.high - self.low)
        return round(EDGE + share * (self.width - 2 * EDGE), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places of the round numbers and their texts."""
        count = round((self.high - self.low) / self._step)
        values = [self.low + i * self._step for i in range(count + 1)]
        return [(self.x(value), f"{value:g}") for value in values]


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
    losses: Mapping[str, Sequence[tuple[float, float]]], headings: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Returns a panel for the training loss of each domain.

    Args:
        losses: (epoch, loss) by domain.
        headings: What domains are called.
    """
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
                "heading": headings.get(domain, domain),
                "width": width,
                "height": height,
                "line": " ".join(f"{x},{y}" for x, y in places),
                "end": places[-1],
                "text": f"{points[0][1]:.3g} in epoch {first:.0f}, {points[-1][1]:.3g} in epoch"
                f" {last:.0f}",
            }
        )
    return found


def routing(
    decisions: Mapping[str, Decisions], entry: Entry, headings: Mapping[str, str]
) -> dict[str, Any]:
    """Returns a map of the share of images that took the fine-tuned path, by domain and block.

    Args:
        decisions: Images x blocks by domain.
        entry: The entry, whose records name the stages of the network.
        headings: What domains are called.
    """
    wide, high = CELL
    count = max(taken.shape[1] for taken in decisions.values())
    rows = []
    for domain, taken in decisions.items():
        shares = [round(float(share)) for share in 100 * taken.mean(axis=0)]
        mean = float(taken.sum(axis=1).mean())
        rows.append({"heading": headings.get(domain, domain), "shares": shares, "mean": mean})
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
    last = max(high for _, _, (_, high) in found)
    axis = Axis(1, max(last, 2), 2 * STRIP)
    axis.low, axis.high = 1, max(last, 2)
    rows = [
        {
            "label": label,
            "href": href,
            "ends": [axis.x(low), axis.x(high)],
            "low": low,
            "high": high,
        }
        for label, href, (low, high) in found
    ]
    return {"rows": rows, "width": axis.width}
