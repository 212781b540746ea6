"""Made things, as a painter paints them in the unit box; ``coat`` is any colour."""

import numpy as np

from decathlon.demo.light import BLACK, GLASS, STEEL, WHITE, WOOD, hsv
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import by_name
from decathlon.demo.shapes import Array, arc, box, curve, turned


def balloon(painter: Painter, coat: Array) -> None:
    """A balloon with a basket."""
    painter.line([(-0.35, 0.1), (-0.15, 0.75), (0.15, 0.75), (0.35, 0.1)], 0.04, BLACK)
    hull = curve([(0, -1), (0.7, -0.6), (0.65, 0), (0, 0.5), (-0.65, 0), (-0.7, -0.6)], True)
    painter.fill(hull, coat)
    painter.fill(hull * (0.35, 1), 1 - coat)
    painter.fill(box(-0.2, 0.7, 0.2, 1.0), WOOD)


def car(painter: Painter, coat: Array) -> None:
    """A car from the side."""
    painter.fill([(-0.5, -0.03), (-0.34, -0.4), (0.25, -0.4), (0.45, -0.03)], GLASS)
    body = [(-1, 0.45), (-0.98, 0.1), (-0.5, -0.04), (0.6, -0.04), (0.98, 0.15), (1, 0.45)]
    painter.fill(curve(body, closed=True), coat)
    for x in (-0.58, 0.58):
        painter.disc(x, 0.42, 0.24, BLACK)


def clock(painter: Painter, coat: Array) -> None:
    """A round clock at any hour."""
    painter.disc(0, 0, 0.95, coat)
    painter.disc(0, 0, 0.78, WHITE)
    for length, width in ((0.38, 0.09), (0.58, 0.06)):
        hand = turned([(0, 0), (0, -length)], painter.rng.uniform(0, 360))
        painter.line(hand, width, BLACK)


def house(painter: Painter, coat: Array) -> None:
    """A house with a door and windows."""
    painter.fill(box(-0.75, -0.2, 0.75, 0.95), coat)
    painter.fill([(-0.95, -0.1), (0, -0.95), (0.95, -0.1)], painter.vary(0.02, 0.6, 0.5))
    painter.fill(box(-0.18, 0.35, 0.18, 0.95), painter.vary(painter.rng.random(), 0.5, 0.4))
    for x in (-0.46, 0.46):
        painter.fill(box(x - 0.17, 0.1, x + 0.17, 0.5), GLASS)


def kite(painter: Painter, coat: Array) -> None:
    """A kite with a tail."""
    painter.line(curve([(0, 0.4), (0.3, 0.6), (0.0, 0.8), (0.25, 1.0)]), 0.1, 1 - coat)
    painter.fill([(0, -1), (0.6, -0.35), (0, 0.45), (-0.6, -0.35)], coat)


def ladder(painter: Painter, coat: Array) -> None:
    """A ladder."""
    for y in np.linspace(-0.8, 0.8, 6):
        painter.line([(-0.35, y), (0.35, y)], 0.1, coat * 0.85)
    for x in (-0.38, 0.38):
        painter.line([(x, -1.05), (x, 1.05)], 0.13, coat)


def mug(painter: Painter, coat: Array) -> None:
    """A mug with a handle."""
    painter.line(arc(0.5, 0.05, 0.35, 0.38, -90, 90), 0.15, coat * 0.85)
    wall = [(-0.6, -0.65), (-0.57, 0.7), (0, 0.85), (0.53, 0.7), (0.55, -0.65)]
    painter.fill(curve(wall, closed=True), coat)
    painter.fill(arc(-0.02, -0.65, 0.55, 0.15), WOOD)


def sailing_boat(painter: Painter, coat: Array) -> None:
    """A sailing boat on water."""
    painter.fill(box(-3, 0.65, 3, 3), painter.vary(0.57, 0.6, 0.5))
    painter.fill([(-0.9, 0.45), (0.95, 0.45), (0.6, 0.85), (-0.65, 0.85)], WOOD)
    painter.line([(0, 0.5), (0, -1)], 0.07, BLACK)
    painter.fill([(0.07, -0.95), (0.8, 0.35), (0.07, 0.35)], coat)
    painter.fill([(-0.07, -0.8), (-0.07, 0.35), (-0.65, 0.35)], WHITE)


def traffic_light(painter: Painter, coat: Array) -> None:
    """A traffic light; one of the three is lit."""
    painter.line([(0, 0.6), (0, 1.6)], 0.14, STEEL)
    painter.fill(box(-0.38, -1, 0.38, 0.72), BLACK * 1.5)
    lit = painter.rng.integers(3)
    for k, hue in enumerate((0.0, 0.14, 0.38)):
        painter.disc(0, -0.7 + 0.55 * k, 0.22, hsv(hue, 0.85, 1.0 if k == lit else 0.3))


def umbrella(painter: Painter, coat: Array) -> None:
    """An open umbrella."""
    handle = arc(-0.14, 0.75, 0.14, 0.18, 0, 180)
    painter.line(np.concatenate([[(0, -0.7)], handle]), 0.07, BLACK)
    painter.fill(arc(0, 0.05, 0.98, 0.9, 180, 360), coat)
    for x in (-0.49, 0.0, 0.49):
        painter.line([(0, -0.85), (x, 0.0)], 0.035, coat * 0.4)


def window(painter: Painter, coat: Array) -> None:
    """A window in a wall."""
    painter.fill(box(-4, -4, 4, 4), painter.vary(0.03, 0.55, 0.6))
    painter.fill(box(-0.6, -0.8, 0.6, 0.8), coat)
    for x, y in ((-0.27, -0.37), (0.27, -0.37), (-0.27, 0.37), (0.27, 0.37)):
        painter.fill(box(x - 0.2, y - 0.3, x + 0.2, y + 0.3), GLASS * 0.8)


OBJECTS = by_name(
    balloon, car, clock, house, kite, ladder, mug, sailing_boat, traffic_light, umbrella, window
)
