"""Grown things, as painted by a pen in the unit box."""

import numpy as np

from decathlon.demo.canvas import Pen
from decathlon.demo.light import hsv
from decathlon.demo.shapes import Array, arc, box, curve, mirrored, moved, regular, star, turned

BLACK, WHITE = np.full(3, 0.08), np.full(3, 0.95)
BARK = hsv(0.07, 0.55, 0.35)


def butterfly(pen: Pen, coat: Array) -> None:
    """A butterfly with open wings."""
    upper = curve([(0.05, -0.1), (0.35, -0.8), (0.95, -0.8), (0.9, -0.1), (0.3, 0.1)], True)
    lower = curve([(0.05, 0.05), (0.6, 0.1), (0.75, 0.6), (0.35, 0.85), (0.1, 0.4)], True)
    spot = pen.vary(pen.rng.random(), 0.6, 0.95)
    for side in (-1.0, 1.0):
        flip = np.array([side, 1.0])
        for wing in (lower, upper):
            pen.fill(wing * flip * 1.06, BLACK)
            pen.fill(wing * flip, coat)
        pen.disc(side * 0.62, -0.5, 0.14, spot)
        pen.line([(side * 0.02, -0.5), (side * 0.2, -0.95)], 0.04, BLACK)
    pen.fill(arc(0, 0, 0.09, 0.55), BLACK)


def cactus(pen: Pen, coat: Array) -> None:
    """A cactus with two arms, in sand."""
    green = pen.vary(0.33, 0.55, 0.45)
    pen.fill(box(-4, 0.8, 4, 4), pen.vary(0.12, 0.4, 0.8))
    pen.line([(0, 0.9), (0, -0.75)], 0.42, green)
    left, right = pen.rng.uniform(-0.1, 0.4, 2)
    pen.line(curve([(0, left), (-0.6, left - 0.05), (-0.65, left - 0.55)]), 0.24, green)
    pen.line(curve([(0, right), (0.6, right - 0.05), (0.65, right - 0.55)]), 0.24, green)
    for x in (-0.1, 0.1):
        pen.line([(x, 0.75), (x, -0.75)], 0.03, green * 0.5)


def fir(pen: Pen, coat: Array) -> None:
    """A fir tree."""
    green = pen.vary(0.38, 0.6, 0.35)
    pen.fill(box(-0.12, 0.6, 0.12, 1.0), BARK)
    for top, low, half in ((0.0, 0.75, 0.75), (-0.5, 0.3, 0.58), (-1.0, -0.2, 0.42)):
        pen.fill([(0, top), (half, low), (-half, low)], green * pen.rng.uniform(0.85, 1.15))


def fish(pen: Pen, coat: Array) -> None:
    """A fish from the side."""
    pen.fill([(0.5, 0), (1.0, -0.5), (0.88, 0), (1.0, 0.5)], coat * 0.8)
    pen.fill(curve([(-0.2, -0.35), (0.1, -0.75), (0.35, -0.3)]), coat * 0.7)
    back, belly = [(-0.45, -0.42), (0.2, -0.36), (0.65, 0)], [(0.2, 0.36), (-0.45, 0.42)]
    pen.fill(curve([(-0.95, 0), *back, *belly], closed=True), coat)
    pen.fill([(-0.1, 0.05), (0.2, 0.35), (-0.15, 0.3)], coat * 0.6)
    pen.line(arc(-0.75, 0, 0.28, 0.38, -60, 60), 0.04, BLACK, 0.7)
    pen.disc(-0.65, -0.1, 0.09, WHITE)
    pen.disc(-0.66, -0.1, 0.05, BLACK)


def ladybird(pen: Pen, coat: Array) -> None:
    """A ladybird from above."""
    for y in (-0.35, 0.1, 0.5):
        pen.line([(-0.98, y - 0.12), (-0.6, y), (0.6, y), (0.98, y - 0.12)], 0.06, BLACK)
    pen.disc(0, -0.62, 0.36, BLACK)
    pen.fill(arc(0, 0.15, 0.78, 0.82), pen.vary(0.01, 0.85, 0.85))
    pen.line([(0, -0.65), (0, 0.95)], 0.05, BLACK)
    for x, y in ((0.35, -0.25), (0.45, 0.25), (0.22, 0.62)):
        for side in (-1, 1):
            pen.disc(side * x, y, 0.13, BLACK)


def leaf(pen: Pen, coat: Array) -> None:
    """A leaf with veins, green or in autumn."""
    colour = pen.vary(pen.rng.choice([0.3, 0.26, 0.08]), 0.65, 0.6)
    half = [(0, -1), (0.4, -0.5), (0.5, 0.1), (0, 0.75)]
    pen.line([(0, 0.6), (0.06, 1.0)], 0.07, colour * 0.6)
    pen.fill(np.concatenate([curve(half), mirrored(curve(half))[::-1]]), colour)
    pen.line([(0, -0.85), (0, 0.7)], 0.045, colour * 0.55)
    for y in (-0.4, -0.1, 0.2):
        pen.line([(-0.33, y - 0.2), (0, y + 0.1), (0.33, y - 0.2)], 0.03, colour * 0.55)


def mushroom(pen: Pen, coat: Array) -> None:
    """A mushroom with a spotted cap."""
    pen.fill(curve([(-0.2, 0), (-0.3, 0.95), (0.3, 0.95), (0.2, 0)], True), WHITE * 0.9)
    cap = pen.vary(pen.rng.choice([0.0, 0.06]), 0.75, 0.75)
    dome, rim = arc(0, 0.05, 0.95, 0.95, 180, 360), arc(0, 0.05, 0.95, 0.18, 0, 180)
    pen.fill(np.concatenate([dome, rim]), cap)
    for x, y in ((-0.5, -0.25), (0.05, -0.6), (0.5, -0.3), (0.0, -0.1)):
        pen.disc(x + pen.rng.normal(0, 0.05), y, pen.rng.uniform(0.09, 0.15), WHITE)


def snail(pen: Pen, coat: Array) -> None:
    """A snail with a spiral shell."""
    skin = pen.vary(0.1, 0.4, 0.65)
    pen.line(curve([(0.9, 0.72), (0.2, 0.72), (-0.6, 0.7), (-0.85, 0.1)]), 0.24, skin)
    for x in (-0.98, -0.75):
        pen.line([(-0.85, 0.05), (x, -0.25)], 0.06, skin)
    pen.disc(0.18, 0.02, 0.66, coat)
    angle = np.linspace(0, 5.2 * np.pi, 44)
    radius = 0.62 * (1 - angle / angle[-1])
    spiral = np.stack([0.18 + radius * np.cos(angle), 0.02 + radius * np.sin(angle)], axis=1)
    pen.line(spiral, 0.07, coat * 0.35)


def starfish(pen: Pen, coat: Array) -> None:
    """A starfish."""
    colour = pen.vary(pen.rng.choice([0.03, 0.07, 0.95]), 0.7, 0.85)
    pen.fill(curve(turned(star(5, 0.38), pen.rng.uniform(0, 360 / 5)), True, 4), colour)
    for x, y in moved(regular(5, pen.rng.uniform(0, 360 / 5)), 0, 0, 0.35):
        pen.disc(x, y, 0.06, colour * 1.3)


def tree(pen: Pen, coat: Array) -> None:
    """A broad-leaved tree."""
    pen.line([(0, 1.0), (0, 0.1), (-0.3, -0.3)], 0.17, BARK)
    green = pen.vary(pen.rng.choice([0.28, 0.3, 0.1]), 0.6, 0.45)
    for _ in range(11):
        x, y = pen.rng.normal(0, 0.33), pen.rng.normal(-0.35, 0.26)
        pen.disc(x, y, pen.rng.uniform(0.22, 0.4), green * pen.rng.uniform(0.75, 1.25))
