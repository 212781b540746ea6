"""Mean and standard deviation of a domain's pixels."""

from collections.abc import Iterable

import numpy as np

from decathlon.data.shard import Shard

_ROW = 3 * 1024
_ROWS = 64
"""Rows added up in float32, where they are whole numbers below 2^24 and so exact."""
_CHUNK = _ROW * _ROWS
Channels = tuple[float, float, float]


def mean_and_std(shards: Iterable[Shard]) -> tuple[Channels, Channels]:
    """Computes the mean and standard deviation over all pixels, per channel.

    The sums are of whole numbers and exact, so the result depends neither on the order
    of summation nor on the machine.

    Args:
        shards: Shards of at least one image.

    Returns:
        (mean, std), three numbers in [0, 1] each, rounded to six digits.
    """
    ones = np.ones(_ROWS, np.float32)
    total, sums, squares = 0, np.zeros(_ROW, np.uint64), np.zeros(_ROW, np.uint64)
    for shard in shards:
        # Read, not mapped: mapped pages would count as this process's memory.
        with shard.path.open("rb") as file:
            file.seek(shard.start)
            left = shard.size
            while left:
                raw = file.read(min(left, _CHUNK))
                left -= len(raw)
                total += len(raw) // 3
                # Long rows add up several times faster than rows of three.
                rows = np.frombuffer(raw + bytes(-len(raw) % _ROW), np.uint8)
                values = rows.reshape(-1, _ROW).astype(np.float32)
                # A product with ones adds ten times as fast as sum(axis=0).
                sums += (ones[: len(values)] @ values).astype(np.uint64)
                np.multiply(values, values, out=values)
                squares += (ones[: len(values)] @ values).astype(np.uint64)
    mean = sums.reshape(-1, 3).sum(axis=0) / total / 255
    second = squares.reshape(-1, 3).sum(axis=0) / total / 255**2
    std = np.sqrt(np.maximum(second - mean**2, 0))
    rounded = [tuple(round(float(x), 6) for x in row) for row in (mean, std)]
    (m0, m1, m2), (s0, s1, s2) = rounded
    return (m0, m1, m2), (s0, s1, s2)
