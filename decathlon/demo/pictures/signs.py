"""Traffic signs under changing light, a few of them far away."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, random_pose
from decathlon.demo.light import frame, hsv, mix, photograph, smooth_noise
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, Points, arc, box, mirrored, moved, regular, turned
from decathlon.demo.strokes import DIGITS

RED, BLUE, YELLOW = hsv(0.99, 0.85, 0.8), hsv(0.6, 0.85, 0.7), hsv(0.13, 0.9, 0.95)
WHITE, BLACK = np.full(3, 0.95), np.full(3, 0.08)
ARROW = np.array(
    [(-0.13, 0.6), (-0.13, -0.1), (-0.4, -0.1), (0, -0.65), (0.4, -0.1), (0.13, -0.1), (0.13, 0.6)]
)
"""An arrow that points up."""


def _number(pen: Pen, text: str) -> None:
    for place, digit in zip((-0.3, 0.3), text, strict=True):
        for stroke in DIGITS[int(digit)]:
            pen.line(moved(stroke, place, 0, 0.38), 0.13, BLACK)


def _limit(pen: Pen, text: str) -> None:
    pen.disc(0, 0, 1, RED)
    pen.disc(0, 0, 0.76, WHITE)
    _number(pen, text)


def _speed_30(pen: Pen) -> None:
    _limit(pen, "30")


def _speed_80(pen: Pen) -> None:
    _limit(pen, "80")


def _end_of_limits(pen: Pen) -> None:
    pen.disc(0, 0, 1, BLACK)
    pen.disc(0, 0, 0.92, WHITE)
    for shift in (-0.24, -0.08, 0.08, 0.24):
        pen.line([(0.55 + shift, -0.6 + shift), (-0.6 + shift, 0.55 + shift)], 0.06, BLACK)


def _no_entry(pen: Pen) -> None:
    pen.disc(0, 0, 1, RED)
    pen.fill(box(-0.7, -0.2, 0.7, 0.2), WHITE)


def _no_traffic(pen: Pen) -> None:
    pen.disc(0, 0, 1, RED)
    pen.disc(0, 0, 0.74, WHITE)


def _stop(pen: Pen) -> None:
    pen.fill(regular(8, 22.5, 1.05), WHITE)
    pen.fill(regular(8, 22.5, 0.97), RED)
    letters: tuple[Points, ...] = (
        [(0.3, -0.8), (-0.3, -0.9), (-0.3, -0.1), (0.3, 0.1), (0.3, 0.9), (-0.3, 0.8)],
        [(-0.35, -0.9), (0.35, -0.9), (0, -0.9), (0, 0.9)],
        arc(0, 0, 0.35, 0.9, 0, 362),
        [(-0.3, 0.9), (-0.3, -0.9), (0.3, -0.8), (0.3, 0), (-0.3, 0)],
    )
    for place, letter in zip((-0.6, -0.2, 0.2, 0.6), letters, strict=True):
        pen.line(moved(letter, place, 0, 0.36), 0.1, WHITE)


def _give_way(pen: Pen) -> None:
    pen.fill(moved(regular(3, 90, 1.15), 0, -0.15), RED)
    pen.fill(moved(regular(3, 90, 0.72), 0, -0.15), WHITE)


def _priority_road(pen: Pen) -> None:
    pen.fill(regular(4, radius=1.1), WHITE)
    pen.fill(regular(4, radius=0.75), YELLOW)


def _warning(pen: Pen) -> None:
    pen.fill(moved(regular(3, radius=1.15), 0, 0.2), RED)
    pen.fill(moved(regular(3, radius=0.76), 0, 0.2), WHITE)


def _danger(pen: Pen) -> None:
    _warning(pen)
    pen.line([(0, -0.2), (0, 0.2)], 0.15, BLACK)
    pen.disc(0, 0.44, 0.09, BLACK)


def _crossroads(pen: Pen) -> None:
    _warning(pen)
    pen.line([(-0.27, -0.12), (0.27, 0.45)], 0.13, BLACK)
    pen.line([(0.27, -0.12), (-0.27, 0.45)], 0.13, BLACK)


def _bend_left(pen: Pen) -> None:
    _warning(pen)
    pen.line([(0.14, 0.5), (0.14, 0.18), (-0.1, -0.05), (-0.1, -0.2)], 0.14, BLACK)
    pen.fill([(-0.26, -0.16), (-0.1, -0.4), (0.06, -0.16)], BLACK)


def _arrow(pen: Pen, degrees: float) -> None:
    pen.disc(0, 0, 1, WHITE)
    pen.disc(0, 0, 0.94, BLUE)
    pen.fill(turned(ARROW, degrees), WHITE)


def _ahead(pen: Pen) -> None:
    _arrow(pen, 0)


def _turn_left(pen: Pen) -> None:
    _arrow(pen, -90)


def _turn_right(pen: Pen) -> None:
    _arrow(pen, 90)


def _keep_right(pen: Pen) -> None:
    _arrow(pen, 135)


def _roundabout(pen: Pen) -> None:
    pen.disc(0, 0, 1, WHITE)
    pen.disc(0, 0, 0.94, BLUE)
    head = mirrored([(0.32, -0.1), (0.55, 0.28), (0.75, -0.12)])
    for degrees in (0, 120, 240):
        pen.line(turned(arc(0, 0, 0.53, 0.53, 185, 275), degrees), 0.15, WHITE)
        pen.fill(turned(head, degrees), WHITE)


SIGNS: dict[str, Callable[[Pen], None]] = {
    "00000-speed-30": _speed_30,
    "00001-speed-80": _speed_80,
    "00002-end-of-limits": _end_of_limits,
    "00003-no-entry": _no_entry,
    "00004-no-traffic": _no_traffic,
    "00005-stop": _stop,
    "00006-give-way": _give_way,
    "00007-priority-road": _priority_road,
    "00008-danger": _danger,
    "00009-crossroads": _crossroads,
    "00010-bend-left": _bend_left,
    "00011-ahead": _ahead,
    "00012-turn-left": _turn_left,
    "00013-turn-right": _turn_right,
    "00014-keep-right": _keep_right,
    "00015-roundabout": _roundabout,
}
NAMES = tuple(SIGNS)


def _roadside(rng: np.random.Generator, height: int, width: int) -> Array:
    """Returns trees or walls before a bright or dull sky."""
    leaf = hsv(rng.uniform(0.05, 0.4), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.45))
    air = hsv(0.58, rng.uniform(0.0, 0.35), rng.uniform(0.5, 0.95))
    amount = smooth_noise(rng, height, width, rng.uniform(3, 7))
    amount = amount + 0.4 * smooth_noise(rng, height, width, 16) - rng.uniform(0.3, 0.9)
    return mix(leaf, air, np.clip(3 * amount, 0, 1))


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one sign on its post."""
    height, width = frame(rng, longest=84, portrait=0.5)
    pose = random_pose(
        rng, height, width, size=(0.55, 0.82), turn=7, shift=0.07, stretch=0.1, flip=False
    )
    pen = Pen(Canvas(_roadside(rng, height, width), light=(0.05, -0.1)), pose, rng)
    pen.line([(0, 0.5), (0, 3)], 0.14, np.full(3, rng.uniform(0.3, 0.6)))
    SIGNS[NAMES[class_index]](pen)
    # Dusk, shade or glare, over the whole picture.
    exposure = rng.choice([rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.0), rng.uniform(1.0, 1.3)])
    tint = 1 + rng.uniform(-0.08, 0.08, 3)
    return photograph(pen.canvas.pixels * exposure * tint, rng, light=0.25, noise=0.025, blur=1.5)


DRAWER = Drawer(NAMES, draw, (18, 4, 6))
