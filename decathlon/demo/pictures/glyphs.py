"""Characters of invented alphabets, drawn by hand with a pen."""

from functools import cache

import numpy as np
from PIL import Image

from decathlon.demo.light import SHORT, digital
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, arc, curve

NAMES = tuple(
    f"{alphabet}_character{k:02d}"
    for alphabet in ("Harbour", "Island", "Mountain")
    for k in range(1, 11)
)
SHAPES_SEED = 1623
"""The characters are the same whatever the seed of the images."""
ANCHORS = np.array([(x, y) for x in (-0.7, 0.0, 0.7) for y in (-0.9, -0.3, 0.3, 0.9)])


def _stroke(rng: np.random.Generator, start: Array) -> Array:
    """Returns a stroke from ``start``: a bow or ring, or a path over anchors."""
    if rng.random() < 0.3:
        first, turn = rng.uniform(0, 360), rng.choice([-360.0, -200.0, 200.0, 360.0])
        wide, high = rng.uniform(0.3, 0.5, 2)
        bow = arc(0, 0, wide, high, first, first + turn)[::4]
        return np.asarray(bow - bow[0] + start)
    path = [start]
    for _ in range(int(rng.integers(1, 4))):
        away = np.hypot(*(ANCHORS - path[-1]).T)
        path.append(rng.choice(ANCHORS[(away > 0.5) & (away < 1.5)]))
    return np.stack(path)


@cache
def character(class_index: int) -> tuple[Array, ...]:
    """Returns the strokes of a character, N x 2 points each, fitted to the unit box."""
    rng = np.random.default_rng([SHAPES_SEED, class_index])
    while True:
        strokes = [_stroke(rng, rng.choice(ANCHORS))]
        for _ in range(int(rng.integers(1, 3))):
            # Most strokes hang on the one before, as in most scripts.
            strokes.append(
                _stroke(rng, rng.choice(strokes[-1] if rng.random() < 0.65 else ANCHORS))
            )
        every = np.concatenate(strokes)
        low, high = every.min(axis=0), every.max(axis=0)
        half = (high - low).max() / 2
        if (high - low).min() > 1.1 * half:  # neither flat nor thin
            return tuple((stroke - (low + high) / 2) / half for stroke in strokes)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one character as one person would: black strokes on white."""
    painter = Painter(np.ones((SHORT, SHORT, 3)), rng)
    painter.place(size=(0.55, 0.82), turn=8, stretch=0.15, flip=False)
    width = rng.uniform(0.09, 0.13)
    for stroke in character(class_index):
        shaky = stroke + rng.normal(0, 0.06, stroke.shape)
        # Every other character is angular.
        painter.line(curve(shaky) if class_index % 2 else shaky, width, np.zeros(3))
    return digital(painter.picture())


DRAWER = Drawer(NAMES, draw, (8, 2, 3))
