"""The audit of printed scores: which S can the printed accuracies give at all?

A printed accuracy stands for any value that rounds to it, and so do the baseline
accuracies behind E_max. S falls in each error and rises in each E_max, so the
extremes lie at the ends of the rounding intervals.
"""

import math
from collections.abc import Mapping

from decathlon.scoring.score import points
from decathlon.suites.visual_decathlon import SCORE

HALF_ACCURACY = 0.00005
"""Half a unit of the last printed digit (0.01 %) of an accuracy, as a share."""
HALF_SCORE = 0.5
"""Half a unit of the last printed digit of a score."""


def score_range(accuracy: Mapping[str, float | None]) -> tuple[float, float]:
    """Returns the least and the greatest S that round to the printed accuracies.

    Args:
        accuracy: Accuracy in percent by official domain, or None where none is printed.
    """
    low, high = [], []
    for name, percent in accuracy.items():
        if percent is None:
            continue
        error, e_max = 1 - percent / 100, SCORE.e_max[name]
        low.append(points(min(error + HALF_ACCURACY, 1), e_max - 2 * HALF_ACCURACY))
        high.append(points(max(error - HALF_ACCURACY, 0), e_max + 2 * HALF_ACCURACY))
    return math.fsum(low), math.fsum(high)


def consistent(printed: float, bounds: tuple[float, float]) -> bool:
    """Tells whether some S within ``bounds`` rounds to the printed score."""
    return bounds[0] <= printed + HALF_SCORE and printed - HALF_SCORE <= bounds[1]
