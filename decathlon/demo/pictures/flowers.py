"""Flowers seen from above, among leaves."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from decathlon.demo.light import frame, hsv, mix, named, photograph, smooth_noise
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import curve, turned

PETALS = {
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
        shape: A petal's outline.
        colours: Those that occur, by their names in CSS.
        centre: Radius of the centre.
        centre_colour: Its colour.
        whorls: Whorls of petals, each smaller than the one before.
        marks: What each petal bears: ``blotch`` at its base, ``vein`` along its middle.
    """

    petals: int
    shape: str
    colours: tuple[str, ...]
    centre: float
    centre_colour: str = "gold"
    whorls: int = 1
    marks: str = ""


FLOWERS = {
    "anemone": Flower(8, "round", ("hotpink", "royalblue", "white"), 0.22, "black"),
    "buttercup": Flower(5, "broad", ("gold",), 0.16, "goldenrod"),
    "cosmos": Flower(8, "notched", ("orchid", "hotpink"), 0.17),
    "crocus": Flower(6, "pointed", ("mediumpurple", "plum"), 0.12, "orange"),
    "dahlia": Flower(13, "pointed", ("crimson", "darkorange"), 0.08, "firebrick", whorls=3),
    "daisy": Flower(15, "long", ("white",), 0.24),
    "flax": Flower(5, "broad", ("cornflowerblue", "slateblue"), 0.08, marks="vein"),
    "iris": Flower(3, "broad", ("indigo", "rebeccapurple"), 0.1, whorls=2, marks="vein"),
    "lily": Flower(6, "pointed", ("darkorange", "lightpink"), 0.07, "olive", marks="vein"),
    "pansy": Flower(5, "broad", ("darkviolet", "gold", "firebrick"), 0.09, marks="blotch"),
    "poppy": Flower(4, "broad", ("red", "orangered"), 0.18, "black"),
    "sunflower": Flower(19, "long", ("gold",), 0.42, "saddlebrown", whorls=2),
}
NAMES = tuple(FLOWERS)


def _bloom(painter: Painter, flower: Flower) -> None:
    rng, outline = painter.rng, curve(PETALS[flower.shape], closed=True)
    colour = named(rng.choice(flower.colours)) * rng.uniform(0.85, 1.1, 3)
    phase = rng.uniform(0, 360)
    for k in range(flower.whorls * flower.petals):
        whorl = k // flower.petals
        angle = phase + 360 * (k + whorl / 2) / flower.petals + rng.uniform(-4, 4)
        petal = turned(outline, angle) * (1 - 0.27 * whorl) * rng.uniform(0.92, 1.05)
        painter.fill(petal * 1.05, colour * 0.55, 0.8)
        painter.fill(petal, colour * 0.94**whorl * rng.uniform(0.88, 1.08))
        if flower.marks == "blotch":
            painter.fill(petal * 0.6, hsv(0.88, 0.6, 0.15), 0.85)
        elif flower.marks == "vein":
            painter.line(turned([(0.15, 0), (0.7, 0)], angle), 0.045, colour * 0.5)
    middle = named(flower.centre_colour) * rng.uniform(0.85, 1.1, 3)
    painter.disc(0, 0, flower.centre, middle)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws a flower of one species."""
    height, width = frame(rng)
    dark = hsv(rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.3))
    bright = hsv(rng.uniform(0.18, 0.38), rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.7))
    painter = Painter(mix(dark, bright, smooth_noise(rng, height, width, 6)), rng)
    leaf = curve(PETALS["pointed"], closed=True)
    for _ in range(int(rng.integers(3, 9))):
        blade = turned(leaf, rng.uniform(0, 360)) * rng.uniform(0.6, 2) + rng.uniform(-1.5, 1.5, 2)
        painter.fill(blade, hsv(rng.uniform(0.2, 0.4), 0.6, rng.uniform(0.2, 0.6)), 0.8)
    painter.place(size=(0.68, 0.98), stretch=0.2)
    _bloom(painter, FLOWERS[NAMES[class_index]])
    return photograph(painter.picture(), rng, blur=0.6)


DRAWER = Drawer(NAMES, draw, (20, 5, 7))
