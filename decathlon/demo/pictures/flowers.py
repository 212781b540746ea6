"""Flowers seen from above, among leaves."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, random_pose
from decathlon.demo.light import frame, hsv, mix, photograph, smooth_noise
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, curve, moved, regular, turned

PETALS: dict[str, list[tuple[float, float]]] = {
    "round": [(0.1, 0), (0.5, -0.36), (0.85, -0.32), (1.0, 0), (0.85, 0.32), (0.5, 0.36)],
    "pointed": [(0.1, 0), (0.45, -0.25), (0.8, -0.14), (1.0, 0), (0.8, 0.14), (0.45, 0.25)],
    "long": [(0.1, 0), (0.5, -0.1), (0.92, -0.09), (1.0, 0), (0.92, 0.09), (0.5, 0.1)],
    "notched": [(0.1, 0), (0.6, -0.24), (1.0, -0.2), (0.86, 0), (1.0, 0.2), (0.6, 0.24)],
    "broad": [(0.1, 0), (0.4, -0.42), (0.8, -0.5), (0.98, 0), (0.8, 0.5), (0.4, 0.42)],
}
"""Outlines of a petal that points to the right, from the flower's centre to radius 1."""


@dataclass(frozen=True)
class Flower:
    """What a species looks like.

    Attributes:
        petals: Number of petals in a whorl.
        shape: Name of a petal's outline.
        colours: (hue, saturation, value) that occur.
        centre: Radius of the centre.
        centre_colour: Its (hue, saturation, value).
        whorls: Whorls of petals, each smaller than the one before.
        blotch: Whether a dark blotch lies at the petals' base.
        veins: Whether each petal has a line along its middle.
    """

    petals: int
    shape: str
    colours: tuple[tuple[float, float, float], ...]
    centre: float = 0.2
    centre_colour: tuple[float, float, float] = (0.13, 0.85, 0.9)
    whorls: int = 1
    blotch: bool = False
    veins: bool = False


FLOWERS: dict[str, Flower] = {
    "anemone": Flower(
        8,
        "round",
        ((0.92, 0.45, 0.95), (0.62, 0.55, 0.85), (0.0, 0.03, 0.97)),
        0.22,
        (0.7, 0.5, 0.15),
    ),
    "buttercup": Flower(5, "broad", ((0.14, 0.9, 0.95),), 0.16, (0.16, 0.9, 0.75)),
    "cosmos": Flower(8, "notched", ((0.89, 0.5, 0.95), (0.93, 0.75, 0.8)), 0.17),
    "crocus": Flower(6, "pointed", ((0.76, 0.5, 0.85), (0.73, 0.3, 0.9)), 0.12, (0.08, 0.95, 0.95)),
    "dahlia": Flower(
        13,
        "pointed",
        ((0.02, 0.85, 0.9), (0.07, 0.85, 0.95), (0.95, 0.7, 0.7)),
        0.08,
        (0.05, 0.9, 0.5),
        whorls=3,
    ),
    "daisy": Flower(15, "long", ((0.15, 0.04, 0.98),), 0.24),
    "flax": Flower(5, "broad", ((0.62, 0.6, 0.9), (0.65, 0.45, 0.9)), 0.08, veins=True),
    "iris": Flower(3, "broad", ((0.73, 0.7, 0.6), (0.7, 0.6, 0.75)), 0.1, whorls=2, veins=True),
    "lily": Flower(
        6,
        "pointed",
        ((0.07, 0.85, 0.95), (0.94, 0.35, 0.95)),
        0.07,
        (0.25, 0.5, 0.5),
        veins=True,
    ),
    "pansy": Flower(
        5,
        "broad",
        ((0.78, 0.75, 0.6), (0.13, 0.85, 0.95), (0.0, 0.8, 0.6)),
        0.09,
        blotch=True,
    ),
    "poppy": Flower(4, "broad", ((0.01, 0.9, 0.85), (0.04, 0.85, 0.9)), 0.18, (0.3, 0.3, 0.12)),
    "sunflower": Flower(19, "long", ((0.13, 0.95, 0.95),), 0.42, (0.07, 0.7, 0.3), whorls=2),
}
NAMES = tuple(sorted(FLOWERS))


def _leaves(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """Returns a green ground with blades and blurred leaves."""
    dark = hsv(rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.3))
    bright = hsv(rng.uniform(0.18, 0.38), rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.7))
    canvas = Canvas(mix(dark, bright, np.clip(smooth_noise(rng, height, width, 6), 0, 1)))
    leaf = np.array([(-1, 0), (-0.3, -0.25), (0.4, -0.2), (1, 0), (0.4, 0.2), (-0.3, 0.25)])
    for _ in range(int(rng.integers(3, 9))):
        size = rng.uniform(12, 40)
        points = turned(curve(leaf, closed=True), rng.uniform(0, 360)) * size
        at = rng.uniform(0, 1, 2) * (width, height)
        canvas.fill(points + at, hsv(rng.uniform(0.2, 0.4), 0.6, rng.uniform(0.2, 0.6)), 0.8)
    return canvas


def _whorl(pen: Pen, flower: Flower, colour: Array, radius: float, phase: float) -> None:
    outline = curve(PETALS[flower.shape], closed=True)
    for k in range(flower.petals):
        angle = phase + 360 * k / flower.petals + pen.rng.uniform(-4, 4)
        length = radius * pen.rng.uniform(0.92, 1.05)
        petal = turned(outline * length, angle)
        pen.fill(petal * 1.05, colour * 0.55, 0.8)
        pen.fill(petal, np.clip(colour * pen.rng.uniform(0.88, 1.08), 0, 1))
        if flower.blotch:
            pen.fill(turned(outline * length * 0.6, angle), np.array([0.15, 0.05, 0.12]), 0.85)
        if flower.veins:
            ends = turned([(0.15 * length, 0.0), (0.75 * length, 0.0)], angle)
            pen.line(ends, 0.045, colour * 0.5, 0.8)


def _bloom(pen: Pen, flower: Flower) -> None:
    colour = pen.vary(*flower.colours[int(pen.rng.integers(len(flower.colours)))])
    phase = pen.rng.uniform(0, 360)
    for whorl in range(flower.whorls):
        shift = phase + whorl * 180 / flower.petals
        _whorl(pen, flower, colour * 0.94**whorl, 1 - 0.27 * whorl, shift)
    middle = pen.vary(*flower.centre_colour)
    pen.disc(0, 0, flower.centre, middle)
    for x, y in moved(regular(9, radius=0.7), 0, 0, flower.centre):
        pen.disc(x, y, 0.25 * flower.centre, middle * 1.3, 0.8)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one or two flowers of one species."""
    height, width = frame(rng, longest=108)
    canvas = _leaves(rng, height, width)
    flower = FLOWERS[NAMES[class_index]]
    if rng.random() < 0.3:
        back = random_pose(rng, height, width, size=(0.35, 0.6), shift=0.5, stretch=0.3)
        _bloom(Pen(canvas, back, rng), flower)
    pose = random_pose(rng, height, width, size=(0.68, 0.98), stretch=0.2)
    _bloom(Pen(canvas, pose, rng), flower)
    return photograph(canvas.pixels, rng, light=0.25, blur=0.6)


DRAWER = Drawer(NAMES, draw, (20, 5, 7))
