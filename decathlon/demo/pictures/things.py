"""Made things, as painted by a pen in the unit box."""

import numpy as np

from decathlon.demo.canvas import Pen
from decathlon.demo.light import hsv
from decathlon.demo.shapes import Array, arc, box, curve, moved, regular, turned

BLACK, STEEL, WHITE = np.full(3, 0.1), np.array([0.55, 0.58, 0.62]), np.full(3, 0.93)
GLASS = np.array([0.55, 0.72, 0.82])


def balloon(pen: Pen, coat: Array) -> None:
    """A balloon with a basket."""
    for x in (-0.35, 0.35):
        pen.line([(x, 0.1), (x * 0.4, 0.75)], 0.04, BLACK)
    hull = [(0, -1), (0.7, -0.6), (0.65, 0), (0, 0.5), (-0.65, 0), (-0.7, -0.6)]
    pen.fill(curve(hull, closed=True), coat)
    seam = pen.vary(pen.rng.random(), 0.6, 0.9)
    pen.fill(curve([(0, -1), (0.22, -0.4), (0, 0.5), (-0.22, -0.4)], True), seam)
    pen.fill(box(-0.2, 0.7, 0.2, 1.0), hsv(0.08, 0.6, 0.45))


def car(pen: Pen, coat: Array) -> None:
    """A car from the side."""
    pen.fill(arc(0, 0.62, 1.0, 0.08), BLACK, 0.4)
    roof = [(-0.62, -0.02), (-0.4, -0.48), (0.3, -0.48), (0.58, -0.02)]
    pen.fill(roof, coat * 0.9)
    pen.fill([(-0.5, -0.03), (-0.34, -0.4), (-0.05, -0.4), (-0.05, -0.03)], GLASS)
    pen.fill([(0.03, -0.03), (0.03, -0.4), (0.25, -0.4), (0.45, -0.03)], GLASS)
    body = [(-1, 0.45), (-0.98, 0.1), (-0.5, -0.04), (0.6, -0.04), (0.98, 0.15), (1, 0.45)]
    pen.fill(curve(body, closed=True), coat)
    for x in (-0.58, 0.58):
        pen.disc(x, 0.42, 0.24, BLACK)
        pen.disc(x, 0.42, 0.11, STEEL)


def clock(pen: Pen, coat: Array) -> None:
    """A round clock at any hour."""
    pen.disc(0, 0, 0.95, coat)
    pen.disc(0, 0, 0.78, WHITE)
    for tick in regular(12):
        pen.line([0.62 * tick, 0.72 * tick], 0.05, BLACK)
    for length, width in ((0.38, 0.09), (0.58, 0.06)):
        pen.line(turned([(0, 0), (0, -length)], pen.rng.uniform(0, 360)), width, BLACK)


def house(pen: Pen, coat: Array) -> None:
    """A house with a door, windows and perhaps a chimney."""
    roof = pen.vary(pen.rng.choice([0.02, 0.07, 0.6]), 0.6, 0.5)
    if pen.rng.random() < 0.6:
        pen.fill(box(0.35, -0.85, 0.58, -0.2), roof * 0.8)
    pen.fill(box(-0.75, -0.2, 0.75, 0.95), coat)
    pen.fill([(-0.95, -0.1), (0, -0.95), (0.95, -0.1)], roof)
    pen.fill(box(-0.18, 0.35, 0.18, 0.95), pen.vary(pen.rng.random(), 0.5, 0.4))
    for x in (-0.46, 0.46):
        pen.fill(box(x - 0.17, 0.1, x + 0.17, 0.5), GLASS)
        pen.line([(x, 0.1), (x, 0.5)], 0.05, WHITE)


def kite(pen: Pen, coat: Array) -> None:
    """A kite with a tail of bows."""
    tail = curve([(0, 0.4), (0.3, 0.6), (0.0, 0.8), (0.25, 1.0)])
    pen.line(tail, 0.04, BLACK)
    for x, y in tail[4::6]:
        pen.disc(x, y, 0.08, pen.vary(pen.rng.random(), 0.8, 0.9))
    pen.fill([(0, -1), (0.6, -0.35), (0, 0.45), (-0.6, -0.35)], coat)
    pen.fill([(0, -1), (0.6, -0.35), (0, -0.35)], pen.vary(pen.rng.random(), 0.7, 0.9))
    pen.line([(0, -1), (0, 0.45)], 0.04, BLACK)


def ladder(pen: Pen, coat: Array) -> None:
    """A ladder."""
    for y in np.linspace(-0.8, 0.8, 6):
        pen.line([(-0.35, y), (0.35, y)], 0.1, coat * 0.85)
    for x in (-0.38, 0.38):
        pen.line([(x, -1.05), (x, 1.05)], 0.13, coat)


def mug(pen: Pen, coat: Array) -> None:
    """A mug with a handle."""
    pen.line(arc(0.5, 0.05, 0.35, 0.38, -90, 90), 0.15, coat * 0.85)
    wall = [(-0.6, -0.65), (-0.57, 0.7), (0, 0.85), (0.53, 0.7), (0.55, -0.65)]
    pen.fill(curve(wall, closed=True), coat)
    pen.fill(arc(-0.02, -0.65, 0.58, 0.17), coat * 1.1)
    pen.fill(arc(-0.02, -0.63, 0.48, 0.12), pen.vary(0.07, 0.7, 0.3))


def sailing_boat(pen: Pen, coat: Array) -> None:
    """A sailing boat on water."""
    pen.fill(box(-3, 0.65, 3, 3), pen.vary(0.57, 0.6, 0.5))
    pen.fill([(-0.9, 0.45), (0.95, 0.45), (0.6, 0.85), (-0.65, 0.85)], hsv(0.07, 0.6, 0.4))
    pen.line([(0, 0.5), (0, -1)], 0.07, BLACK)
    pen.fill([(0.07, -0.95), (0.8, 0.35), (0.07, 0.35)], coat)
    pen.fill([(-0.07, -0.8), (-0.07, 0.35), (-0.65, 0.35)], WHITE)


def traffic_light(pen: Pen, coat: Array) -> None:
    """A traffic light; one of the three is lit."""
    pen.line([(0, 0.6), (0, 1.6)], 0.14, STEEL)
    pen.fill(box(-0.38, -1, 0.38, 0.72), BLACK * 1.5)
    lit = int(pen.rng.integers(3))
    for k, hue in enumerate((0.0, 0.14, 0.38)):
        pen.disc(0, -0.7 + 0.55 * k, 0.22, hsv(hue, 0.85, 1.0 if k == lit else 0.3))


def umbrella(pen: Pen, coat: Array) -> None:
    """An open umbrella."""
    pen.line([(0, -0.7), (0, 0.75)], 0.07, BLACK)
    pen.line(arc(-0.14, 0.75, 0.14, 0.18, 0, 180), 0.07, BLACK)
    dome = arc(0, 0.05, 0.98, 0.9, 180, 360)
    rim = [arc(x, 0.05, 0.245, 0.13, 0, -180) for x in (0.735, 0.245, -0.245, -0.735)]
    pen.fill(np.concatenate([dome, *rim]), coat)
    for x in (-0.49, 0.0, 0.49):
        pen.line(curve([(0, -0.85), (x * 0.8, -0.45), (x, 0.0)]), 0.035, BLACK, 0.6)


def window(pen: Pen, coat: Array) -> None:
    """A window in a brick wall."""
    brick = pen.vary(0.03, 0.55, 0.55)
    pen.fill(box(-4, -4, 4, 4), brick * 1.3)
    for row in range(-6, 7):
        for column in range(-3, 4):
            x, y = 0.76 * column - 0.38 * (row % 2), 0.36 * row
            pen.fill(box(x, y, x + 0.7, y + 0.3), brick * pen.rng.uniform(0.8, 1.05))
    pen.fill(box(-0.6, -0.8, 0.6, 0.8), coat)
    for x in (-0.27, 0.27):
        for y in (-0.37, 0.37):
            pen.fill(moved(box(-0.2, -0.3, 0.2, 0.3), x, y), GLASS * 0.8)
