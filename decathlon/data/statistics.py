"""Mean and standard deviation of a domain's pixels."""

from collections.abc import Iterable

import numpy as np

from decathlon.data.shard import Shard

_CHUNK = 3 << 20
Channels = tuple[float, float, float]


def mean_and_std(shards: Iterable[Shard]) -> tuple[Channels, Channels]:
    """Computes the mean and standard deviation over all pixels, per channel.

    The sums are exact (integers), so the result does not depend on order or blocks.

    Args:
        shards: Shards of at least one image.

    Returns:
        (mean, std), three numbers in [0, 1] each, rounded to six digits.
    """
    counts = np.zeros((3, 256), np.int64)
    for shard in shards:
        pixels = shard.map()
        for start in range(0, len(pixels), _CHUNK):
            block = pixels[start : start + _CHUNK].reshape(-1, 3)
            for channel in range(3):
                counts[channel] += np.bincount(block[:, channel], minlength=256)
    values = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ values / total
    std = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    rounded = [tuple(round(float(x), 6) for x in row) for row in (mean, std)]
    (m0, m1, m2), (s0, s1, s2) = rounded
    return (m0, m1, m2), (s0, s1, s2)
