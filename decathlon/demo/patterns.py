"""Textures as functions of the plane.

Each takes coordinates ``x`` and ``y`` (H x W, one unit is one period of the texture) and
a random generator, and returns H x W values, 0 for dark and 1 for bright.
"""

from collections.abc import Callable

import numpy as np

from decathlon.demo.light import smooth_noise
from decathlon.demo.shapes import Array

Pattern = Callable[[Array, Array, np.random.Generator], Array]


def texture(rng: np.random.Generator, height: int, width: int, pattern: Pattern) -> Array:
    """Returns a pattern, H x W, on a plane that is turned, shifted, stretched and bent."""
    rows, columns = np.mgrid[0:height, 0:width] / rng.uniform(8.0, 15.0)
    angle = rng.uniform(0, 2 * np.pi)
    x = np.cos(angle) * columns - np.sin(angle) * rows + rng.uniform(0, 50)
    y = (np.sin(angle) * columns + np.cos(angle) * rows) * rng.uniform(0.85, 1.15)
    x += 0.5 * smooth_noise(rng, height, width, 4)
    return pattern(x, y + 0.5 * smooth_noise(rng, height, width, 4), rng)


def _noise(rng: np.random.Generator, like: Array, cells: float) -> Array:
    return smooth_noise(rng, like.shape[0], like.shape[1], cells)


def _edge(distance: Array, softness: float = 0.2) -> Array:
    """Returns a soft step: 0 where the distance is negative, 1 where it is positive."""
    return np.asarray(np.clip(distance / softness + 0.5, 0, 1))


def _wave(x: Array) -> Array:
    """Returns a triangle wave of period 1 between 0 and 1."""
    return np.asarray(2 * np.abs(x - np.floor(x + 0.5)))


def _cells(
    x: Array, y: Array, rng: np.random.Generator, jitter: float
) -> tuple[Array, Array, Array]:
    """Divides the plane into cells around seeds: a hexagonal lattice, each moved by ``jitter``.

    Returns:
        For each pixel: distance to the nearest seed and to the second, and its cell's tone.
    """
    left, right, top, bottom = (int(f(a)) for a in (x, y) for f in (np.min, np.max))
    rows, columns = np.mgrid[top - 1 : bottom + 3, left - 1 : right + 3].reshape(2, -1)
    seeds = np.stack([columns + 0.5 * (rows % 2), rows])
    seeds += rng.uniform(-jitter, jitter, seeds.shape)
    across, down = (a[..., None] - at for a, at in zip((x, y), seeds, strict=True))
    away = np.hypot(across, down)
    first, second = np.moveaxis(np.partition(away, 1)[..., :2], -1, 0)
    return first, second, rng.random(len(rows))[away.argmin(axis=-1)]


def _blotches(x: Array, y: Array, rng: np.random.Generator) -> Array:
    return _edge(_noise(rng, x, rng.uniform(7, 11)) + 0.6 * _noise(rng, x, 20) - 0.8, 0.15)


def _bubbles(x: Array, y: Array, rng: np.random.Generator) -> Array:
    distance, _, tone = _cells(x, y, rng, 0.3)
    return np.clip(1.2 - distance / (0.25 + 0.4 * tone), 0, 1)


def _cracks(x: Array, y: Array, rng: np.random.Generator) -> Array:
    first, second, tone = _cells(x, y, rng, 0.4)
    return _edge(second - first - 0.15, 0.1) * (0.75 + 0.25 * tone)


def _honeycomb(x: Array, y: Array, rng: np.random.Generator) -> Array:
    first, second, _ = _cells(x, y, rng, 0.0)
    return np.maximum(_edge(0.2 - second + first, 0.1), 0.6 * first)


def _scales(x: Array, y: Array, rng: np.random.Generator) -> Array:
    value = np.zeros(x.shape)
    for row in (np.floor(y * 2) + above for above in (-1, 0, 1)):
        away = np.hypot(_wave(x + 0.25 * (row % 2 * 2) + 0.5) / 2, y - row / 2)
        value = np.where((away < 0.56) & (y >= row / 2), 0.15 + 0.85 * (away / 0.56) ** 3, value)
    return value


PATTERNS: dict[str, Pattern] = {
    "banded": lambda x, y, rng: _edge(_wave(x) - rng.uniform(0.35, 0.65)),
    "blotchy": _blotches,
    "bubbly": _bubbles,
    "chequered": lambda x, y, rng: _edge((_wave(x) - 0.5) * (_wave(y) - 0.5), 0.05),
    "cracked": _cracks,
    "crystalline": lambda x, y, rng: _cells(x, y, rng, 0.5)[2],
    "dotted": lambda x, y, rng: _edge(rng.uniform(0.45, 0.7) - np.hypot(_wave(x), _wave(y))),
    "honeycombed": _honeycomb,
    "marbled": lambda x, y, rng: _wave(0.4 * x + 2 * _noise(rng, x, 5) + _noise(rng, x, 14)) ** 0.3,
    "meshed": lambda x, y, rng: _edge(0.2 - np.minimum(_wave(x), _wave(y))),
    "scaly": _scales,
    "zigzagged": lambda x, y, rng: _edge(_wave(0.9 * x + 0.65 * _wave(0.6 * y)) - 0.5),
}
"""All textures by name, sorted."""
