"""The audit of printed scores: which scores can the printed accuracies give?

A printed accuracy stands for any value that rounds to it, and so do the baseline
accuracies behind E_max. The score falls in each error and rises in each E_max, so the
extremes lie at the ends of the rounding intervals.
"""

import math
from collections.abc import Mapping

from decathlon.suites.score import points

Pair = tuple[float, float]
"""The least and the greatest value."""
HALF_ACCURACY = 0.00005
"""Half a unit of the last printed digit (0.01 %) of an accuracy, as a share."""
HALF_SCORE = 0.5
"""Half a unit of the last printed digit of a score."""


def score_range(
    accuracy: Mapping[str, float | None], e_max: Mapping[str, float]
) -> tuple[float, float]:
    """Returns the least and the greatest score that round to the printed accuracies.

    Args:
        accuracy: Accuracy in percent by scored domain, or None where none is printed.
        e_max: E_max by domain, rounded like the accuracies.
    """
    low, high = [], []
    for name, percent in accuracy.items():
        if percent is None:
            continue
        error, limit = 1 - percent / 100, e_max[name]
        low.append(points(min(error + HALF_ACCURACY, 1), limit - 2 * HALF_ACCURACY))
        high.append(points(max(error - HALF_ACCURACY, 0), limit + 2 * HALF_ACCURACY))
    return math.fsum(low), math.fsum(high)


def consistent(printed: float, bounds: tuple[float, float]) -> bool:
    """Returns whether some score within ``bounds`` rounds to the printed one."""
    return bounds[0] <= printed + HALF_SCORE and printed - HALF_SCORE <= bounds[1]
