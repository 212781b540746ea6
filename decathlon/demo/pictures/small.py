"""Small objects, drawn at 32 pixels and enlarged like the official images."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, litter, random_pose
from decathlon.demo.light import SHORT, any_colour, hsv, photograph, scene, sky
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, arc, box, curve, star

SIDE = 32
BLACK, WHITE = np.full(3, 0.1), np.full(3, 0.95)
GLASS = np.array([0.6, 0.75, 0.85])


def _apple(pen: Pen, colour: Array) -> None:
    red = pen.vary(pen.rng.choice([0.0, 0.25]), 0.8, 0.75)
    outline = [(0, -0.5), (0.6, -0.7), (0.9, -0.1), (0.5, 0.85), (0, 0.75)]
    left = [(-x, y) for x, y in outline[1:-1][::-1]]
    pen.fill(curve(outline + left, closed=True), red)
    pen.line([(0, -0.5), (0.1, -0.95)], 0.1, hsv(0.08, 0.6, 0.3))
    pen.fill(arc(0.35, -0.85, 0.25, 0.12), hsv(0.32, 0.7, 0.5))


def _bottle(pen: Pen, colour: Array) -> None:
    left = [(-0.15, -0.95), (-0.15, -0.45), (-0.4, -0.1), (-0.4, 0.95)]
    right = [(-x, y) for x, y in reversed(left)]
    pen.fill(curve(left + right, closed=True), colour)
    pen.fill(box(-0.4, 0.15, 0.4, 0.6), WHITE * 0.9)
    pen.fill(box(-0.18, -1.0, 0.18, -0.8), BLACK)


def _bus(pen: Pen, colour: Array) -> None:
    pen.fill(box(-1, -0.6, 1, 0.5), colour)
    for x in np.linspace(-0.85, 0.5, 4):
        pen.fill(box(x, -0.4, x + 0.32, -0.02), GLASS)
    for x in (-0.55, 0.55):
        pen.disc(x, 0.52, 0.22, BLACK)


def _chair(pen: Pen, colour: Array) -> None:
    pen.fill(box(-0.55, -0.95, -0.35, 0.15), colour)
    pen.fill(box(-0.55, 0.0, 0.55, 0.2), colour * 0.85)
    for x in (-0.48, 0.45):
        pen.line([(x, 0.2), (x, 0.95)], 0.14, colour * 0.7)
    pen.fill(box(-0.55, -0.95, 0.15, -0.5), colour)


def _cloud(pen: Pen, colour: Array) -> None:
    pen.fill(box(-6, -6, 6, 6), pen.vary(0.58, 0.55, 0.8))
    for x, y, radius in ((-0.5, 0.1, 0.4), (0.0, -0.2, 0.5), (0.5, 0.1, 0.42), (0, 0.2, 0.4)):
        pen.disc(x + pen.rng.normal(0, 0.06), y, radius, WHITE)


def _crab(pen: Pen, colour: Array) -> None:
    shell = pen.vary(0.03, 0.8, 0.8)
    for side in (-1, 1):
        for y in (0.1, 0.35, 0.6):
            pen.line([(0, 0.2), (side * 0.7, y), (side * 0.95, y + 0.3)], 0.1, shell * 0.8)
        pen.line([(side * 0.4, 0), (side * 0.75, -0.4)], 0.14, shell)
        pen.fill(arc(side * 0.75, -0.65, 0.24, 0.3, 110 - side * 20, 430 - side * 20), shell)
        pen.disc(side * 0.2, -0.4, 0.09, BLACK)
    pen.fill(arc(0, 0.15, 0.65, 0.45), shell)


def _lamp(pen: Pen, colour: Array) -> None:
    pen.line([(0, -0.2), (0, 0.85)], 0.12, BLACK)
    pen.fill(arc(0, 0.9, 0.45, 0.12), BLACK)
    shade = [(-0.35, -0.95), (0.35, -0.95), (0.75, -0.05), (-0.75, -0.05)]
    pen.fill(shade, pen.vary(0.13, 0.4, 0.95))


def _mountain(pen: Pen, colour: Array) -> None:
    rock = pen.vary(0.62, 0.2, 0.4)
    pen.fill([(-2.5, 1), (-0.9, -0.2), (0.6, 1)], rock * 0.75)
    pen.fill([(-1.2, 1), (0.1, -0.9), (1.5, 1)], rock)
    pen.fill([(-0.25, -0.39), (0.1, -0.9), (0.47, -0.39), (0.2, -0.5), (0.0, -0.32)], WHITE)
    pen.fill(box(-4, 0.85, 4, 4), pen.vary(0.3, 0.5, 0.4))


def _rocket(pen: Pen, colour: Array) -> None:
    for side in (-1, 1):
        pen.fill([(side * 0.25, 0.2), (side * 0.65, 0.8), (side * 0.2, 0.65)], colour)
    hull = [(0, -1), (0.32, -0.4), (0.26, 0.65), (-0.26, 0.65), (-0.32, -0.4)]
    pen.fill(curve(hull, closed=True), WHITE)
    pen.disc(0, -0.3, 0.15, GLASS * 0.7)
    pen.fill([(-0.2, 0.65), (0, 1.05 + pen.rng.uniform(0, 0.2)), (0.2, 0.65)], hsv(0.09, 0.9, 1.0))


def _star(pen: Pen, colour: Array) -> None:
    pen.fill(star(5), pen.vary(0.13, 0.8, 0.95))


OBJECTS: dict[str, Callable[[Pen, Array], None]] = {
    "apple": _apple,
    "bottle": _bottle,
    "bus": _bus,
    "chair": _chair,
    "cloud": _cloud,
    "crab": _crab,
    "lamp": _lamp,
    "mountain": _mountain,
    "rocket": _rocket,
    "star": _star,
}
NAMES = tuple(sorted(OBJECTS))


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one object small and enlarges it."""
    ground = sky(rng, SIDE, SIDE) if rng.random() < 0.3 else scene(rng, SIDE, SIDE)
    canvas = Canvas(ground)
    litter(canvas, rng, 4)
    pose = random_pose(rng, SIDE, SIDE, size=(0.5, 0.88), turn=16, shift=0.12, stretch=0.15)
    OBJECTS[NAMES[class_index]](Pen(canvas, pose, rng), any_colour(rng))
    litter(canvas, rng, 2)
    haze = rng.uniform(0.0, 0.5)
    pixels = canvas.pixels * (1 - haze) + haze * ground.mean(axis=(0, 1))
    small = photograph(pixels, rng, light=0.25, noise=0.04)
    return small.resize((SHORT, SHORT), Image.Resampling.BICUBIC)


DRAWER = Drawer(NAMES, draw, (26, 6, 8))
