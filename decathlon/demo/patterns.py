"""Textures as functions of the plane.

Each takes coordinates ``x`` and ``y`` (H x W, one unit is one period of the texture) and
a random generator, and returns H x W values in [0, 1].
"""

from collections.abc import Callable

import numpy as np

from decathlon.demo.light import smooth_noise
from decathlon.demo.shapes import Array

Pattern = Callable[[Array, Array, np.random.Generator], Array]


def plane(
    rng: np.random.Generator,
    height: int,
    width: int,
    period: tuple[float, float] = (8.0, 15.0),
    bend: float = 0.25,
) -> tuple[Array, Array]:
    """Returns coordinates of a picture's pixels: turned, shifted, stretched and bent.

    Args:
        rng: Source of randomness.
        height: H.
        width: W.
        period: Range of the length of a unit, in pixels.
        bend: Size of smooth distortions, in units.

    Returns:
        x and y, each H x W.
    """
    rows, columns = np.mgrid[0:height, 0:width] / rng.uniform(*period)
    angle = rng.uniform(0, 2 * np.pi)
    x = np.cos(angle) * columns - np.sin(angle) * rows + rng.uniform(0, 50)
    y = np.sin(angle) * columns + np.cos(angle) * rows + rng.uniform(0, 50)
    x, y = (
        axis + bend * (2 * smooth_noise(rng, height, width, 4) - 1)
        for axis in (x, y * rng.uniform(0.85, 1.15))
    )
    return x, y


def _noise(rng: np.random.Generator, like: Array, cells: float) -> Array:
    """Returns smooth noise of the shape of another array."""
    return smooth_noise(rng, like.shape[0], like.shape[1], cells)


def _edge(distance: Array, softness: float = 0.08) -> Array:
    """Returns a soft step: 0 where the distance is negative, 1 where it is positive."""
    return np.asarray(np.clip(distance / softness + 0.5, 0, 1))


def _wave(x: Array) -> Array:
    """Returns a triangle wave of period 1 between 0 and 1."""
    return np.asarray(2 * np.abs(x - np.floor(x + 0.5)))


def _seeds(x: Array, y: Array, rng: np.random.Generator, count: float) -> Array:
    """Returns random points over the plane's extent, K x 2, ``count`` a square unit."""
    low = np.array([x.min(), y.min()])
    size = np.array([x.max(), y.max()]) - low
    num = max(8, int(count * size.prod()))
    return np.asarray(low + size * rng.random((num, 2)))


def _cells(x: Array, y: Array, seeds: Array) -> tuple[Array, Array, Array]:
    """Returns nearest and second nearest distance to the seeds, and which is nearest."""
    x_flat, y_flat = (axis.astype(np.float32).reshape(-1, 1) for axis in (x, y))
    near = seeds.astype(np.float32)
    square = (x_flat - near[:, 0]) ** 2 + (y_flat - near[:, 1]) ** 2
    nearest = square.argmin(axis=1)
    first = square.min(axis=1)
    square[np.arange(len(square)), nearest] = np.inf
    second = square.min(axis=1)
    shape = x.shape
    root = np.sqrt(np.stack([first, second]).astype(float))
    return root[0].reshape(shape), root[1].reshape(shape), nearest.reshape(shape)


def banded(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Straight bands."""
    return _edge(_wave(x) - rng.uniform(0.35, 0.65), 0.2)


def blotchy(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Irregular patches of two tones."""
    noise = _noise(rng, x, rng.uniform(7, 11))
    noise = noise + 0.6 * _noise(rng, x, 20) - 0.3
    return _edge(noise - rng.uniform(0.45, 0.6), 0.15)


def bubbly(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Rings of all sizes, each with a bright spot."""
    value = np.full(x.shape, 0.4)
    for seed_x, seed_y in _seeds(x, y, rng, 0.5):
        radius = rng.uniform(0.25, 0.8)
        distance = np.hypot(x - seed_x, y - seed_y)
        inside = distance < radius
        value[inside] = 0.55 - 0.3 * (distance[inside] / radius) ** 2
        value[np.abs(distance - radius) < 0.1] = 1.0
        spot = np.hypot(x - seed_x + radius / 3, y - seed_y + radius / 3)
        value[spot < radius / 5] = 1.0
    return value


def chequered(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Squares of two tones in turn."""
    a, b = _edge(_wave(x) - 0.5, 0.2), _edge(_wave(y) - 0.5, 0.2)
    return a + b - 2 * a * b


def cracked(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Dark cracks between plates."""
    wild_x = x + 0.25 * (_noise(rng, x, 12) - 0.5)
    wild_y = y + 0.25 * (_noise(rng, x, 12) - 0.5)
    first, second, nearest = _cells(wild_x, wild_y, _seeds(x, y, rng, 0.25))
    tone = 0.75 + 0.25 * rng.random(int(nearest.max()) + 1)
    return np.asarray(_edge(second - first - 0.15, 0.1) * tone[nearest])


def crystalline(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Facets, each with its own slope of light."""
    seeds = _seeds(x, y, rng, 0.5)
    _, _, nearest = _cells(x, y, seeds)
    slope = rng.uniform(-0.5, 0.5, (len(seeds), 2))
    tone = rng.random(len(seeds))[nearest]
    away_x, away_y = x - seeds[nearest, 0], y - seeds[nearest, 1]
    tone = tone + slope[nearest, 0] * away_x + slope[nearest, 1] * away_y
    return np.asarray(np.clip(tone, 0, 1))


def dotted(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Discs on a lattice."""
    shifted = x + 0.5 * (np.floor(y) % 2) * (rng.random() < 0.5)
    distance = np.hypot(shifted - np.floor(shifted) - 0.5, y - np.floor(y) - 0.5)
    return _edge(rng.uniform(0.22, 0.36) - distance, 0.12)


def honeycombed(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Hexagonal cells with walls."""
    height = np.sqrt(3.0)
    distances = []
    for shift in (0.0, 0.5):
        away_x = x + shift - np.floor(x + shift + 0.5)
        away_y = y / height + shift
        away_y = (away_y - np.floor(away_y + 0.5)) * height
        distances.append(np.maximum(np.abs(away_x), np.abs(away_x) / 2 + np.abs(away_y) * 0.866))
    inner = 0.5 - np.minimum(*distances)
    return np.asarray(_edge(inner - rng.uniform(0.05, 0.1), 0.08) * (1 - 0.5 * inner))


def marbled(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Veins along distorted waves."""
    noise = 2.0 * _noise(rng, x, 5) + 0.8 * _noise(rng, x, 14)
    return 1 - (1 - _wave(0.4 * x + noise)) ** 3


def meshed(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Thin threads that cross."""
    thread = rng.uniform(0.15, 0.25)
    return np.asarray(np.maximum(_edge(thread - _wave(x), 0.2), _edge(thread - _wave(y), 0.2)))


def scaly(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Rows of overlapping scales, each bright at its rim."""
    value = np.zeros(x.shape)
    row = np.floor(y * 2)
    for above in (-1.0, 0.0, 1.0):
        centre_y = (row + above) / 2
        shift = 0.5 * ((row + above) % 2)
        away = np.hypot(x + shift - np.floor(x + shift) - 0.5, y - centre_y)
        inside = (away < 0.56) & (y >= centre_y)
        value = np.where(inside, 0.15 + 0.85 * (away / 0.56) ** 3, value)
    return value


def zigzagged(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Bands that turn to and fro."""
    return _edge(_wave(0.9 * x + rng.uniform(0.5, 0.8) * _wave(0.6 * y)) - 0.5, 0.25)


PATTERNS: dict[str, Pattern] = {
    "banded": banded,
    "blotchy": blotchy,
    "bubbly": bubbly,
    "chequered": chequered,
    "cracked": cracked,
    "crystalline": crystalline,
    "dotted": dotted,
    "honeycombed": honeycombed,
    "marbled": marbled,
    "meshed": meshed,
    "scaly": scaly,
    "zigzagged": zigzagged,
}
"""All textures by name."""
