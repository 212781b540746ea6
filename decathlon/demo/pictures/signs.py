"""Traffic signs under changing light, a few of them far away."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from decathlon.demo.light import BLACK, WHITE, frame, hsv, mix, photograph, smooth_noise
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, Points, arc, box, moved, regular, turned
from decathlon.demo.strokes import DIGITS

RED, BLUE, YELLOW = hsv(0.99, 0.85, 0.8), hsv(0.6, 0.85, 0.7), hsv(0.13, 0.9, 0.95)


class Part(NamedTuple):
    """One part of a sign: an area, or a line if it has a width."""

    points: Points
    colour: Array
    width: float = 0.0


def _disc(radius: float, colour: Array) -> Part:
    return Part(arc(0, 0, radius, radius), colour)


def _number(tens: int) -> list[Part]:
    strokes = [(stroke, -0.3) for stroke in DIGITS[tens]] + [(stroke, 0.3) for stroke in DIGITS[0]]
    return [Part(moved(0.44 * np.asarray(stroke), x, 0), BLACK, 0.14) for stroke, x in strokes]


def _arrow(degrees: float) -> list[Part]:
    head = turned([(-0.4, -0.1), (0, -0.65), (0.4, -0.1)], degrees)
    return [Part(turned([(0, 0.5), (0, -0.2)], degrees), WHITE, 0.26), Part(head, WHITE)]


BAN = [_disc(1, RED), _disc(0.75, WHITE)]
ORDER = [_disc(1, WHITE), _disc(0.94, BLUE)]
WARNING = [Part(moved(regular(3, radius=r), 0, 0.2), c) for r, c in ((1.15, RED), (0.76, WHITE))]
SIGNS: dict[str, list[Part]] = {
    "speed-30": BAN + _number(3),
    "speed-80": BAN + _number(8),
    "end-of-limits": [
        *(_disc(1, BLACK), _disc(0.92, WHITE)),
        *(Part([(0.55 + d, d - 0.6), (d - 0.6, 0.55 + d)], BLACK, 0.06) for d in (-0.2, 0, 0.2)),
    ],
    "no-entry": [_disc(1, RED), Part(box(-0.7, -0.2, 0.7, 0.2), WHITE)],
    "no-traffic": BAN,
    "stop": [
        *(Part(regular(8, 22.5, 1.05), WHITE), Part(regular(8, 22.5, 0.97), RED)),
        *(Part([(x, -0.3), (x, 0.3)], WHITE, 0.14) for x in (-0.6, -0.2, 0.2, 0.6)),
    ],
    "give-way": [Part(-np.asarray(part.points), part.colour) for part in WARNING],
    "priority-road": [Part(regular(4, radius=1.1), WHITE), Part(regular(4, radius=0.75), YELLOW)],
    "danger": [*WARNING, Part([(0, -0.2), (0, 0.45)], BLACK, 0.2)],
    "crossroads": WARNING + [Part([(-x, -0.1), (x, 0.4)], BLACK, 0.13) for x in (-0.27, 0.27)],
    "bend-left": [
        *WARNING,
        Part([(0.14, 0.5), (0.14, 0.18), (-0.1, -0.05), (-0.1, -0.2)], BLACK, 0.14),
        Part([(-0.26, -0.16), (-0.1, -0.4), (0.06, -0.16)], BLACK),
    ],
    "ahead": ORDER + _arrow(0),
    "turn-left": ORDER + _arrow(-90),
    "turn-right": ORDER + _arrow(90),
    "keep-right": ORDER + _arrow(135),
    "roundabout": ORDER + [Part(arc(0, 0, 0.5, 0.5, d, d + 85), WHITE, 0.2) for d in (0, 120, 240)],
}
NAMES = tuple(f"{number:05d}-{name}" for number, name in enumerate(SIGNS))


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one sign on its post, before trees or walls and a bright or dull sky."""
    height, width = frame(rng)
    leaf = hsv(rng.uniform(0.05, 0.4), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.45))
    air = hsv(0.58, rng.uniform(0.0, 0.35), rng.uniform(0.5, 0.95))
    fine = 0.4 * smooth_noise(rng, height, width, 16) - rng.uniform(0.3, 0.9)
    ground = mix(leaf, air, 3 * (smooth_noise(rng, height, width, rng.uniform(3, 7)) + fine))
    painter = Painter(ground, rng)
    painter.place(size=(0.55, 0.82), turn=7, shift=0.07, stretch=0.1, flip=False)
    painter.line([(0, 0.5), (0, 3)], 0.14, hsv(0, 0, rng.uniform(0.3, 0.6)))
    for part in list(SIGNS.values())[class_index]:
        if part.width:
            painter.line(part.points, part.width, part.colour)
        else:
            painter.fill(part.points, part.colour)
    # Dusk, shade or glare, over the whole picture.
    exposure = rng.uniform(*((0.4, 0.6), (0.6, 1.0), (1.0, 1.3))[rng.integers(3)])
    tinted = painter.picture() * exposure * rng.uniform(0.92, 1.08, 3)
    return photograph(tinted, rng, noise=0.025, blur=1.5)


DRAWER = Drawer(NAMES, draw, (18, 4, 6))
