"""Characters of invented alphabets, drawn by hand with a pen."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, random_pose
from decathlon.demo.light import SHORT, photograph
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, arc, curve

ALPHABETS = {"Harbour": 10, "Island": 10, "Mountain": 10}
NAMES = tuple(f"{name}_character{k + 1:02d}" for name, num in ALPHABETS.items() for k in range(num))
SHAPES_SEED = 1623
"""The characters are the same whatever the seed of the images."""
ANCHORS = np.array([(x, y) for x in (-0.7, 0.0, 0.7) for y in (-0.9, -0.3, 0.3, 0.9)])


@dataclass(frozen=True)
class Stroke:
    """One stroke: N x 2 points, and whether the pen runs smoothly through them."""

    points: Array
    smooth: bool


def _stroke(rng: np.random.Generator, start: Array) -> Stroke:
    """Returns a stroke from ``start``: a bow or ring, or a path over anchors."""
    if rng.random() < 0.3:
        radius = rng.uniform(0.3, 0.5)
        first = rng.uniform(0, 360)
        turn = rng.choice([-360.0, -200.0, 200.0, 360.0])
        bow = arc(0, 0, radius, radius * rng.uniform(0.8, 1.2), first, first + turn)
        return Stroke(bow[::4] - bow[0] + start, True)
    num = int(rng.integers(1, 4))
    path = [start]
    for _ in range(num):
        away = np.hypot(*(ANCHORS - path[-1]).T)
        path.append(rng.choice(ANCHORS[(away > 0.5) & (away < 1.5)]))
    return Stroke(np.stack(path), num > 1 and bool(rng.random() < 0.6))


def _candidate(rng: np.random.Generator) -> list[Stroke]:
    start = ANCHORS[rng.integers(len(ANCHORS))]
    strokes = []
    for _ in range(int(rng.integers(2, 4))):
        stroke = _stroke(rng, start)
        strokes.append(stroke)
        # Most strokes hang on the one before, as in most scripts.
        joined = rng.random() < 0.65
        places = stroke.points if joined else ANCHORS
        start = places[rng.integers(len(places))]
    return strokes


@cache
def character(class_index: int) -> tuple[Stroke, ...]:
    """Returns the strokes of a character, fitted to the unit box."""
    rng = np.random.default_rng([SHAPES_SEED, class_index])
    while True:
        strokes = _candidate(rng)
        every = np.concatenate([stroke.points for stroke in strokes])
        low, high = every.min(axis=0), every.max(axis=0)
        # Neither flat nor thin, which would leave little to tell it by.
        if (high - low).min() > 0.55 * (high - low).max():
            break
    middle, half = (low + high) / 2, (high - low).max() / 2
    return tuple(Stroke((stroke.points - middle) / half, stroke.smooth) for stroke in strokes)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one character as one person would: black strokes on white."""
    pose = random_pose(rng, SHORT, SHORT, size=(0.55, 0.82), turn=8, stretch=0.15, flip=False)
    pen = Pen(Canvas(np.ones((SHORT, SHORT, 3)), light=(0.0, 0.0)), pose, rng)
    width = rng.uniform(0.09, 0.13)
    for stroke in character(class_index):
        shaky = stroke.points + rng.normal(0, 0.06, stroke.points.shape)
        pen.line(curve(shaky) if stroke.smooth else shaky, width, np.zeros(3))
    return photograph(pen.canvas.pixels, rng, light=0.0, noise=0.0)


DRAWER = Drawer(NAMES, draw, (8, 2, 3))
