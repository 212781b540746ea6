"""Random numbers that are a function of a key and of each image, on any device.

A counter-based generator has no state: the noise of an image is the same whatever
batch, process or device it is drawn in, and nothing has to be saved for an exact
resume. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014, figure 20).
"""

import torch
from torch import Tensor

from decathlon.data.keyed import key_of

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX2 = 0x94D049BB133111EB - (1 << 64)
_BITS = 23
"""Random bits of a number. With one more, the half that keeps it off 0 would round it to 1."""


def noise_key(seed: int, *words: str | int) -> int:
    """Returns a key in [0, 2^63) made of the seed and what the numbers are for."""
    return key_of(seed, *words) % (1 << 63)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shifts 64-bit integers right without copying the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX1
    x = (x ^ _shift_right(x, 27)) * _MIX2
    return x ^ _shift_right(x, 31)


def keyed_uniform(key: int | Tensor, ids: Tensor, width: int) -> Tensor:
    """Draws ``width`` uniform numbers for each image.

    Args:
        key: 64-bit signed integer, one for each use of noise; or a scalar tensor of it.
        ids: Image ids, N, int64.
        width: Numbers an image.

    Returns:
        N x width, float32, strictly inside (0, 1).
    """
    rows = _mix(_mix(ids * _GOLDEN + key) ^ key)
    columns = torch.arange(1, width + 1, device=ids.device, dtype=torch.int64) * _GOLDEN
    return _inside_unit(_shift_right(_mix(rows[:, None] + columns), 64 - _BITS))


def _inside_unit(bits: Tensor) -> Tensor:
    """Maps integers of ``_BITS`` bits to the middles of as many parts of (0, 1), exactly."""
    return (bits.to(torch.float32) + 0.5) * 2.0**-_BITS


def keyed_gumbel(key: int, ids: Tensor, width: int) -> Tensor:
    """Draws standard Gumbel noise, -log(-log(U)), N x width, float32."""
    return -torch.log(-torch.log(keyed_uniform(key, ids, width)))
