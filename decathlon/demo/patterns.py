"""Textures as functions of the plane.

Each takes coordinates ``x`` and ``y`` (H x W, one unit is one period of the texture) and
a random generator, and returns H x W values, 0 for dark and 1 for bright.
"""

from collections.abc import Callable

import numpy as np

from decathlon.demo.light import smooth_noise
from decathlon.demo.pictures.drawer import by_name
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
) -> tuple[Array, Array, Array, Array]:
    """Divides the plane into cells around seeds: a hexagonal lattice, each moved by ``jitter``.

    Returns:
        For each pixel: distance to the nearest seed and to the second, and a random tone and
        a random slope of its cell, in [0, 1] and [-1/2, 1/2].
    """
    left, right, top, bottom = (int(f(a)) for a in (x, y) for f in (np.min, np.max))
    rows, columns = np.mgrid[top - 1 : bottom + 3, left - 1 : right + 3].reshape(2, -1)
    seeds = np.stack([columns + 0.5 * (rows % 2), rows]) + rng.uniform(
        -jitter, jitter, (2, len(rows))
    )
    square = sum(
        (axis.astype(np.float32).reshape(-1, 1) - place.astype(np.float32)) ** 2
        for axis, place in zip((x, y), seeds, strict=True)
    )
    nearest = square.argmin(axis=1)
    first = square.min(axis=1)
    square[np.arange(len(square)), nearest] = np.inf
    tone, slope = rng.random(len(rows))[nearest], rng.uniform(-0.5, 0.5, len(rows))[nearest]
    found = (np.sqrt(first), np.sqrt(square.min(axis=1)), tone, slope)
    return tuple(a.reshape(x.shape) for a in found)


def banded(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Straight bands."""
    return _edge(_wave(x) - rng.uniform(0.35, 0.65))


def blotchy(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Irregular patches of two tones."""
    return _edge(_noise(rng, x, rng.uniform(7, 11)) + 0.6 * _noise(rng, x, 20) - 0.8, 0.15)


def bubbly(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Shaded balls of all sizes, each with a bright rim."""
    distance, _, tone, _ = _cells(x, y, rng, 0.3)
    radius = 0.25 + 0.4 * tone
    inside = 0.6 - 0.5 * (distance / radius) ** 2
    return np.where(
        distance < radius, np.maximum(inside, _edge(0.15 - radius + distance, 0.1)), 0.2
    )


def chequered(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Squares of two tones in turn."""
    a, b = _edge(_wave(x) - 0.5), _edge(_wave(y) - 0.5)
    return a + b - 2 * a * b


def cracked(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Dark cracks between plates."""
    x, y = (axis + 0.25 * (_noise(rng, x, 12) - 0.5) for axis in (x, y))
    first, second, tone, _ = _cells(x, y, rng, 0.4)
    return _edge(second - first - 0.15, 0.1) * (0.75 + 0.25 * tone)


def crystalline(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Facets, each with its own slope of light."""
    _, _, tone, slope = _cells(x, y, rng, 0.5)
    return tone + slope * (_wave(x) + _wave(y) - 1)


def dotted(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Discs on a lattice."""
    return _edge(rng.uniform(0.45, 0.7) - np.hypot(_wave(x), _wave(y)))


def honeycombed(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Hexagonal cells with bright walls."""
    first, second, _, _ = _cells(x, y, rng, 0.0)
    return np.maximum(_edge(rng.uniform(0.15, 0.25) - second + first, 0.1), 0.6 * first)


def marbled(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Veins along distorted waves."""
    noise = 2.0 * _noise(rng, x, 5) + 0.8 * _noise(rng, x, 14)
    return 1 - (1 - _wave(0.4 * x + noise)) ** 3


def meshed(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Thin threads that cross."""
    return _edge(rng.uniform(0.15, 0.25) - np.minimum(_wave(x), _wave(y)))


def scaly(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Rows of overlapping scales, each bright at its rim."""
    value = np.zeros(x.shape)
    for row in (np.floor(y * 2) + above for above in (-1, 0, 1)):
        away = np.hypot(_wave(x + 0.25 * (row % 2 * 2) + 0.5) / 2, y - row / 2)
        value = np.where((away < 0.56) & (y >= row / 2), 0.15 + 0.85 * (away / 0.56) ** 3, value)
    return value


def zigzagged(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Bands that turn to and fro."""
    return _edge(_wave(0.9 * x + rng.uniform(0.5, 0.8) * _wave(0.6 * y)) - 0.5)


PATTERNS = by_name(
    banded,
    blotchy,
    bubbly,
    chequered,
    cracked,
    crystalline,
    dotted,
    honeycombed,
    marbled,
    meshed,
    scaly,
    zigzagged,
)
"""All textures by name, sorted."""
