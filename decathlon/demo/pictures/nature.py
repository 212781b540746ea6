"""Grown things, as a painter paints them in the unit box; ``coat`` is any colour."""

import numpy as np

from decathlon.demo.light import BLACK, WHITE, WOOD
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import by_name
from decathlon.demo.shapes import Array, arc, box, curve, moved, star, turned


def butterfly(painter: Painter, coat: Array) -> None:
    """A butterfly with open wings."""
    upper = curve([(0.05, -0.1), (0.35, -0.8), (0.95, -0.8), (0.9, -0.1), (0.3, 0.1)], True)
    lower = curve([(0.05, 0.05), (0.6, 0.1), (0.75, 0.6), (0.35, 0.85), (0.1, 0.4)], True)
    for side in (-1, 1):
        painter.fill(lower * (side, 1), coat * 0.7)
        painter.fill(upper * (side, 1), coat)
        painter.disc(side * 0.62, -0.5, 0.14, 1 - coat)
    painter.fill(arc(0, 0, 0.09, 0.55), BLACK)


def cactus(painter: Painter, coat: Array) -> None:
    """A cactus with two arms, in sand."""
    green = painter.vary(0.33, 0.55, 0.45)
    painter.fill(box(-4, 0.8, 4, 4), painter.vary(0.12, 0.4, 0.8))
    painter.line([(0, 0.9), (0, -0.75)], 0.42, green)
    for x, y in zip((-0.6, 0.6), painter.rng.uniform(-0.1, 0.4, 2), strict=True):
        painter.line(curve([(0, y), (x, y - 0.05), (1.08 * x, y - 0.55)]), 0.24, green)


def fir(painter: Painter, coat: Array) -> None:
    """A fir tree."""
    green = painter.vary(0.38, 0.6, 0.35)
    painter.fill(box(-0.12, 0.6, 0.12, 1.0), WOOD)
    for top, low, half in ((0.0, 0.75, 0.75), (-0.5, 0.3, 0.58), (-1.0, -0.2, 0.42)):
        painter.fill([(0, top), (half, low), (-half, low)], green * (1 + 0.2 * top))


def fish(painter: Painter, coat: Array) -> None:
    """A fish from the side."""
    painter.fill([(0.5, 0), (1.0, -0.5), (0.88, 0), (1.0, 0.5)], coat * 0.8)
    painter.fill([(-0.2, -0.35), (0.1, -0.75), (0.35, -0.3)], coat * 0.7)
    half = curve([(-0.95, 0), (-0.45, -0.42), (0.2, -0.36), (0.65, 0)])
    painter.fill(np.concatenate([half, half[::-1] * (1, -1)]), coat)
    painter.disc(-0.65, -0.1, 0.07, BLACK)


def ladybird(painter: Painter, coat: Array) -> None:
    """A ladybird from above."""
    for y in (-0.35, 0.1, 0.5):
        painter.line([(-0.98, y), (0.98, y)], 0.06, BLACK)
    painter.disc(0, -0.62, 0.36, BLACK)
    painter.fill(arc(0, 0.15, 0.78, 0.82), painter.vary(0.01, 0.85, 0.85))
    painter.line([(0, -0.65), (0, 0.95)], 0.05, BLACK)
    for x, y in ((0.35, -0.25), (-0.35, -0.25), (0.4, 0.3), (-0.4, 0.3)):
        painter.disc(x, y, 0.14, BLACK)


def leaf(painter: Painter, coat: Array) -> None:
    """A leaf, green or in autumn."""
    colour = painter.vary(painter.rng.choice([0.3, 0.26, 0.08]), 0.65, 0.6)
    half = curve([(0, -1), (0.4, -0.5), (0.5, 0.1), (0, 0.75)])
    painter.fill(np.concatenate([half, half[::-1] * (-1, 1)]), colour)
    painter.line([(0, -0.85), (0, 0.6), (0.06, 1.0)], 0.05, colour * 0.55)


def mushroom(painter: Painter, coat: Array) -> None:
    """A mushroom with a spotted cap."""
    painter.fill([(-0.2, 0), (-0.3, 0.95), (0.3, 0.95), (0.2, 0)], WHITE * 0.9)
    dome, rim = arc(0, 0.05, 0.95, 0.95, 180, 360), arc(0, 0.05, 0.95, 0.18, 0, 180)
    painter.fill(np.concatenate([dome, rim]), painter.vary(0.03, 0.75, 0.75))
    for x, y in ((-0.5, -0.25), (0.05, -0.6), (0.5, -0.3), (0.0, -0.1)):
        painter.disc(x, y, painter.rng.uniform(0.09, 0.15), WHITE)


def snail(painter: Painter, coat: Array) -> None:
    """A snail with a spiral shell."""
    skin = painter.vary(0.1, 0.4, 0.65)
    painter.line(curve([(0.9, 0.72), (0.2, 0.72), (-0.6, 0.7), (-0.85, 0.1)]), 0.24, skin)
    painter.disc(0.18, 0.02, 0.66, coat)
    spiral = arc(0.0, 0.0, 1.0, 1.0, 0, 936) * np.linspace(0.62, 0, 86)[:, None]
    painter.line(moved(spiral, 0.18, 0.02), 0.07, coat * 0.35)


def starfish(painter: Painter, coat: Array) -> None:
    """A starfish."""
    colour = painter.vary(painter.rng.choice([0.03, 0.07, 0.95]), 0.7, 0.85)
    painter.fill(curve(turned(star(5), painter.rng.uniform(0, 360)), True), colour)


def tree(painter: Painter, coat: Array) -> None:
    """A broad-leaved tree."""
    painter.line([(0, 1.0), (0, 0.1), (-0.3, -0.3)], 0.17, WOOD)
    green = painter.vary(painter.rng.choice([0.28, 0.3, 0.1]), 0.6, 0.45)
    for x, y in painter.rng.normal((0, -0.35), (0.33, 0.26), (11, 2)):
        painter.disc(x, y, painter.rng.uniform(0.22, 0.4), green * painter.rng.uniform(0.75, 1.25))


OBJECTS = by_name(butterfly, cactus, fir, fish, ladybird, leaf, mushroom, snail, starfish, tree)
