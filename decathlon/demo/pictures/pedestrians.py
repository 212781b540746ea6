"""Grey upright cut-outs of a street, with a person or without."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, random_pose
from decathlon.demo.light import SHORT, photograph, ramp, smooth_noise
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, arc, box, curve, mirrored, moved

HEIGHT = 2 * SHORT
NAMES = ("non-pedestrian", "pedestrian")


def _grey(value: float) -> Array:
    return np.full(3, min(max(value, 0.03), 0.97))


def _street(rng: np.random.Generator) -> Array:
    """Returns walls and road, out of focus."""
    wall = smooth_noise(rng, HEIGHT, SHORT, rng.uniform(2, 6))
    fine = smooth_noise(rng, HEIGHT, SHORT, 14)
    horizon = rng.uniform(0.1, 0.6)
    road = np.clip((ramp(HEIGHT, SHORT, 90.0) - horizon) * 8, 0, 1) * rng.uniform(-0.3, 0.3)
    value = rng.uniform(0.3, 0.65) + 0.35 * (wall - 0.5) + 0.15 * (fine - 0.5) + road
    return np.repeat(value[..., None], 3, axis=2)


def _pole(pen: Pen) -> None:
    x = pen.rng.uniform(-0.9, 0.9)
    pen.line([(x, -2.4), (x, 2.4)], pen.rng.uniform(0.08, 0.35), _grey(pen.rng.uniform(0.1, 0.9)))


def _window(pen: Pen) -> None:
    x, y = pen.rng.uniform(-1.2, 0.4), pen.rng.uniform(-2.0, 1.0)
    wide, high = pen.rng.uniform(0.4, 1.2), pen.rng.uniform(0.4, 1.4)
    pen.fill(box(x, y, x + wide, y + high), _grey(pen.rng.uniform(0.05, 0.95)))
    pen.line([(x + wide / 2, y), (x + wide / 2, y + high)], 0.06, _grey(pen.rng.uniform(0.2, 0.9)))


def _tree(pen: Pen) -> None:
    tone = pen.rng.uniform(0.08, 0.4)
    x = pen.rng.uniform(-0.5, 0.5)
    pen.line([(x, -0.2), (x + pen.rng.uniform(-0.1, 0.1), 2.4)], 0.22, _grey(tone * 0.7))
    for _ in range(7):
        pen.disc(
            x + pen.rng.normal(0, 0.45),
            pen.rng.normal(-0.9, 0.45),
            pen.rng.uniform(0.25, 0.5),
            _grey(tone + pen.rng.uniform(-0.06, 0.12)),
        )


def _car(pen: Pen) -> None:
    y, tone = pen.rng.uniform(0.0, 1.2), pen.rng.uniform(0.1, 0.9)
    shift = pen.rng.uniform(-0.6, 0.6)
    bonnet, roof = [(-1.6, 0.8), (-1.5, 0.2), (-0.8, 0.1)], [(-0.5, -0.4), (0.6, -0.4)]
    pen.fill(moved([*bonnet, *roof, (0.9, 0.1), (1.6, 0.8)], shift, y), _grey(tone))
    pen.fill(moved([(-0.6, 0.1), (-0.4, -0.3), (0.5, -0.3), (0.7, 0.1)], shift, y), _grey(0.2))
    for x in (-0.9, 0.9):
        pen.disc(x + shift, y + 0.75, 0.28, _grey(0.08))


def _beam(pen: Pen) -> None:
    ends = pen.rng.uniform(-1, 1, (2, 2)) * (1.2, 2.2)
    pen.line(ends, pen.rng.uniform(0.05, 0.3), _grey(pen.rng.uniform(0.1, 0.9)))


CLUTTER: tuple[Callable[[Pen], None], ...] = (_pole, _window, _tree, _car, _beam)


def _person(pen: Pen) -> None:
    """Paints a walking or standing person, from head (y = -1.75) to feet (1.8)."""
    rng = pen.rng
    behind = pen.canvas.pixels[30:110, 20:52].mean()
    dark = behind > rng.uniform(0.3, 0.6)
    coat, legs = (_grey(behind + (-1 if dark else 1) * rng.uniform(0.22, 0.45)) for _ in range(2))
    stride, swing = rng.uniform(0.05, 0.55), rng.uniform(0.05, 0.4)
    for side in (-1, 1):
        knee = (side * (0.12 + stride * 0.5), 0.95)
        foot = (side * stride - 0.08 * stride, 1.75)
        pen.line(curve([(side * 0.14, 0.2), knee, foot]), 0.27, legs * (1.0 if side > 0 else 0.85))
        pen.line([foot, (foot[0] + 0.16, 1.78)], 0.15, _grey(0.1))
    arms = [(-0.34, -1.05), (-0.42 - swing * 0.4, -0.45), (-0.36 - swing, 0.1)]
    pen.line(curve(arms), 0.2, coat * 0.9)
    length = rng.uniform(0.2, 0.75)
    torso = [(-0.4, -1.15), (0, -1.3), (0.4, -1.15), (0.36, -0.4), (0.4, length), (-0.4, length)]
    pen.fill(curve([*torso, (-0.36, -0.4)], closed=True), coat)
    pen.line(curve(mirrored(arms)), 0.2, coat * 0.95)
    head = _grey(rng.uniform(0.45, 0.75))
    pen.line([(0, -1.4), (0, -1.2)], 0.2, head * 0.85)
    pen.fill(arc(0, -1.58, 0.22, 0.28), head)
    pen.fill(arc(0, -1.64, 0.24, 0.26, 180, 360), _grey(rng.uniform(0.05, 0.5)))


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws clutter, and a person before it for class 1."""
    canvas = Canvas(_street(rng), light=(-0.12, -0.1))
    pen = Pen(canvas, random_pose(rng, HEIGHT, SHORT, size=(0.95, 1.05), turn=3), rng)
    person = class_index == NAMES.index("pedestrian")
    for _ in range(int(rng.integers(0, 3) if person else rng.integers(1, 5))):
        CLUTTER[rng.integers(len(CLUTTER))](pen)
    if person:
        pose = random_pose(rng, HEIGHT, SHORT, size=(0.88, 1.08), turn=4, shift=0.07, stretch=0.08)
        _person(Pen(canvas, pose, rng))
    image = photograph(canvas.pixels, rng, light=0.3, noise=0.0, blur=1.6)
    return image.convert("L").convert("RGB")


DRAWER = Drawer(NAMES, draw, (120, 30, 40))
