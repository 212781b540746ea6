"""Small objects, drawn at 32 pixels and enlarged like the official images."""

import numpy as np
from PIL import Image

from decathlon.demo import shapes
from decathlon.demo.light import BLACK, GLASS, SHORT, WHITE, WOOD, hsv
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer, by_name
from decathlon.demo.pictures.objects import depict
from decathlon.demo.shapes import Array, arc, box, curve

SIDE = 32


def apple(painter: Painter, coat: Array) -> None:
    """An apple, red or green."""
    half = curve([(0, -0.5), (0.6, -0.7), (0.9, -0.1), (0.5, 0.85), (0, 0.75)])
    skin = painter.vary(painter.rng.choice([0.0, 0.25]), 0.8, 0.75)
    painter.fill(np.concatenate([half, half[::-1] * (-1, 1)]), skin)
    painter.line([(0, -0.5), (0.1, -0.95)], 0.1, WOOD)
    painter.fill(arc(0.35, -0.85, 0.25, 0.12), hsv(0.32, 0.7, 0.5))


def bottle(painter: Painter, coat: Array) -> None:
    """A bottle with a label."""
    painter.line([(0, -0.8), (0, -0.3)], 0.3, coat)
    painter.line([(0, -0.1), (0, 0.55)], 0.8, coat)
    painter.fill(box(-0.4, 0.1, 0.4, 0.55), WHITE)


def bus(painter: Painter, coat: Array) -> None:
    """A bus from the side."""
    painter.fill(box(-1, -0.6, 1, 0.5), coat)
    for x in np.linspace(-0.85, 0.5, 4):
        painter.fill(box(x, -0.4, x + 0.32, -0.02), GLASS)
    for x in (-0.55, 0.55):
        painter.disc(x, 0.52, 0.22, BLACK)


def chair(painter: Painter, coat: Array) -> None:
    """A chair."""
    painter.line([(-0.48, -0.9), (-0.48, 0.9)], 0.16, coat * 0.8)
    painter.line([(0.45, 0.1), (0.45, 0.9)], 0.16, coat * 0.8)
    painter.fill(box(-0.55, 0.0, 0.55, 0.2), coat)
    painter.fill(box(-0.55, -0.95, 0.15, -0.5), coat)


def cloud(painter: Painter, coat: Array) -> None:
    """A cloud in the sky."""
    painter.fill(box(-6, -6, 6, 6), painter.vary(0.58, 0.55, 0.8))
    for x, y, radius in ((-0.5, 0.1, 0.4), (0.0, -0.2, 0.5), (0.5, 0.1, 0.42), (0, 0.2, 0.4)):
        painter.disc(x + painter.rng.normal(0, 0.06), y, radius, WHITE)


def crab(painter: Painter, coat: Array) -> None:
    """A crab with open claws."""
    shell = painter.vary(0.03, 0.8, 0.8)
    for side in (-1, 1):
        for y in (0.1, 0.35, 0.6):
            painter.line([(0, 0.2), (side * 0.7, y), (side * 0.95, y + 0.3)], 0.1, shell * 0.8)
        painter.line([(side * 0.4, 0), (side * 0.75, -0.4)], 0.14, shell)
        painter.fill(arc(side * 0.75, -0.65, 0.24, 0.3, -50, 230), shell)
    painter.fill(arc(0, 0.15, 0.65, 0.45), shell)


def lamp(painter: Painter, coat: Array) -> None:
    """A lamp with a bright shade."""
    painter.line([(0, -0.2), (0, 0.85)], 0.12, BLACK)
    painter.fill(arc(0, 0.9, 0.45, 0.12), BLACK)
    shade = [(-0.35, -0.95), (0.35, -0.95), (0.75, -0.05), (-0.75, -0.05)]
    painter.fill(shade, painter.vary(0.13, 0.4, 0.95))


def mountain(painter: Painter, coat: Array) -> None:
    """A mountain with snow on top."""
    rock = painter.vary(0.62, 0.2, 0.4)
    painter.fill([(-1.2, 1), (0.1, -0.9), (1.5, 1)], rock)
    painter.fill([(-0.25, -0.39), (0.1, -0.9), (0.47, -0.39)], WHITE)
    painter.fill(box(-4, 0.85, 4, 4), painter.vary(0.3, 0.5, 0.4))


def rocket(painter: Painter, coat: Array) -> None:
    """A rocket with a flame."""
    painter.fill([(-0.65, 0.8), (0, -0.2), (0.65, 0.8), (0, 0.6)], coat)
    painter.fill([(-0.2, 0.65), (0, 1.2), (0.2, 0.65)], hsv(0.09, 0.9, 1))
    hull = [(0, -1), (0.32, -0.4), (0.26, 0.65), (-0.26, 0.65), (-0.32, -0.4)]
    painter.fill(curve(hull, closed=True), WHITE)
    painter.disc(0, -0.3, 0.15, GLASS * 0.7)


def star(painter: Painter, coat: Array) -> None:
    """A star with five rays."""
    painter.fill(shapes.star(5), painter.vary(0.13, 0.8, 0.95))


OBJECTS = by_name(apple, bottle, bus, chair, cloud, crab, lamp, mountain, rocket, star)
NAMES = tuple(OBJECTS)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws an object small and enlarges it."""
    image = depict(rng, SIDE, SIDE, OBJECTS[NAMES[class_index]])
    return image.resize((SHORT, SHORT), Image.Resampling.BICUBIC)


DRAWER = Drawer(NAMES, draw, (26, 6, 8))
