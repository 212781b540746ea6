"""Mean and standard deviation of a domain's pixels."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from decathlon.data.preparing.checking import check
from decathlon.data.shard import Shard
from decathlon.suites.base import Channels

_ROW = 3 * 256
_ROWS = 128
"""Rows added up at a time in float32: sums are whole numbers below 2^24, and so exact."""
_CHUNK = _ROW * _ROWS
SMALLEST = 1 / 255
"""Standard deviation at least, of a channel that is the same in all images too."""


class Sums:
    """Sums and sums of squares of pixels, per channel.

    They are exact whole numbers: the result depends neither on the order of summation nor on
    the machine.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums, self._squares = np.zeros(_ROW, np.uint64), np.zeros(_ROW, np.uint64)
        self._ones = np.ones(_ROWS, np.float32)

    def add(self, pixels: memoryview) -> None:
        """Adds pixels of three bytes."""
        values = np.frombuffer(pixels, np.uint8)
        self.count += len(values) // 3
        for at in range(0, len(values), _CHUNK):
            part = values[at : at + _CHUNK]
            if len(part) % _ROW:
                part = np.concatenate([part, np.zeros(-len(part) % _ROW, np.uint8)])
            # Long rows add up several times faster than rows of three, and a product
            # with ones adds ten times as fast as sum(axis=0).
            rows = part.reshape(-1, _ROW).astype(np.float32)
            ones = self._ones[: len(rows)]
            self._sums += (ones @ rows).astype(np.uint64)
            np.multiply(rows, rows, out=rows)
            self._squares += (ones @ rows).astype(np.uint64)

    def moments(self) -> npt.NDArray[np.uint64]:
        """Returns the sums and the sums of squares, 2 x 3."""
        rows = np.stack([self._sums, self._squares]).reshape(2, -1, 3)
        moments: npt.NDArray[np.uint64] = rows.sum(axis=1)
        return moments


def sums_of(shard: Shard) -> Sums:
    """Reads a shard and adds up its pixels."""
    sums = Sums()
    check(shard, sums.add)
    return sums


def mean_and_std(parts: Iterable[Sums]) -> tuple[Channels, Channels]:
    """Computes the mean and standard deviation over all pixels, per channel.

    Args:
        parts: Sums over at least one pixel.

    Returns:
        (mean, std), three numbers in [0, 1] each, rounded to six digits. A std is at least
        :data:`SMALLEST`, as images are divided by it.
    """
    total, moments = 0, np.zeros((2, 3), np.uint64)
    for part in parts:
        total += part.count
        moments += part.moments()
    mean, second = moments[0] / total / 255, moments[1] / total / 255**2
    std = np.maximum(np.sqrt(np.maximum(second - mean**2, 0)), SMALLEST)
    rounded = [tuple(round(float(x), 6) for x in row) for row in (mean, std)]
    (m0, m1, m2), (s0, s1, s2) = rounded
    return (m0, m1, m2), (s0, s1, s2)
