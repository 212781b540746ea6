"""Grey upright cut-outs of a street, with a person or without."""

import numpy as np
from PIL import Image

from decathlon.demo.light import SHORT, hsv, mix, photograph, ramp, smooth_noise
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import arc, box, curve

HEIGHT = 2 * SHORT
NAMES = ("non-pedestrian", "pedestrian")


def _clutter(painter: Painter) -> None:
    """Paints a pole, a window or a tree."""
    rng, grey = painter.rng, hsv(0, 0, painter.rng.uniform(0.05, 0.95))
    x, y = rng.uniform((-0.9, -1.0), (0.9, 1.2))
    match rng.integers(3):
        case 0:
            painter.line([(x, -2.4), (x + rng.normal(0, 0.4), 2.4)], rng.uniform(0.08, 0.35), grey)
        case 1:
            wide, high = rng.uniform(0.2, 0.7, 2)
            painter.fill(box(x - wide, y - high, x + wide, y + high), grey)
            painter.line([(x, y - high), (x, y + high)], 0.06, 1 - grey)
        case _:
            painter.line([(x, -0.2), (x, 2.4)], 0.22, grey * 0.3)
            for right, down in rng.normal(0, 0.45, (7, 2)):
                painter.disc(x + right, down - 0.9, rng.uniform(0.25, 0.5), grey * 0.45)


def _person(painter: Painter, behind: float) -> None:
    """Paints a walking or standing person, from head (y = -1.85) to feet (1.8)."""
    rng = painter.rng
    side = -1 if behind > rng.uniform(0.3, 0.6) else 1
    coat, legs = (hsv(0, 0, behind + side * rng.uniform(0.22, 0.45)) for _ in range(2))
    stride, swing = rng.uniform(0.05, 0.55), rng.uniform(0.05, 0.4)
    arm = curve([(-0.34, -1.05), (-0.42 - swing * 0.4, -0.45), (-0.36 - swing, 0.1)])
    for x in (-1, 1):
        painter.line(
            curve([(x * 0.14, 0.2), (x * stride / 2, 0.95), (x * stride, 1.7)]), 0.27, legs
        )
        painter.line(arm * (x, 1), 0.2, coat * 0.9)
    hem = rng.uniform(0.2, 0.75)
    torso = [(-0.4, -1.15), (0, -1.3), (0.4, -1.15), (0.36, -0.4), (0.4, hem), (-0.4, hem)]
    painter.fill(curve([*torso, (-0.36, -0.4)], closed=True), coat)
    painter.fill(arc(0, -1.58, 0.22, 0.28), hsv(0, 0, rng.uniform(0.45, 0.75)))


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws clutter, and a person before it for class 1."""
    tone = rng.uniform(0.3, 0.65)
    road = np.clip((ramp(HEIGHT, SHORT, 90) - rng.uniform(0.1, 0.6)) * 8, 0, 1)
    wall = smooth_noise(rng, HEIGHT, SHORT, rng.uniform(2, 6))
    noise = 0.35 * wall + 0.15 * smooth_noise(rng, HEIGHT, SHORT, 14) - 0.25
    painter = Painter(
        mix(np.zeros(3), np.ones(3), tone + noise + rng.uniform(-0.3, 0.3) * road), rng
    )
    painter.place(size=(0.95, 1.05), turn=3)
    for _ in range(int(rng.integers(0, 3) if class_index else rng.integers(1, 5))):
        _clutter(painter)
    if class_index:
        painter.place(size=(0.88, 1.08), turn=4, shift=0.07, stretch=0.08)
        _person(painter, painter.picture()[30:110, 20:52].mean())
    image = photograph(painter.picture(), rng, light=0.3, noise=0.0, blur=1.6)
    return image.convert("L").convert("RGB")


DRAWER = Drawer(NAMES, draw, (120, 30, 40))
