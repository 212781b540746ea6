"""Things grown and made, before any ground."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from decathlon.demo.light import any_colour, frame, mix, photograph, scene, sky
from decathlon.demo.painter import Painter
from decathlon.demo.patterns import PATTERNS, texture
from decathlon.demo.pictures import nature, things
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array

OBJECTS = dict(sorted({**nature.OBJECTS, **things.OBJECTS}.items()))
NAMES = tuple(OBJECTS)


def _texture(rng: np.random.Generator, height: int, width: int) -> Array:
    pattern = PATTERNS[rng.choice(list(PATTERNS))]
    dark, bright = any_colour(rng) * 0.6, any_colour(rng)
    return mix(dark, bright, texture(rng, height, width, pattern))


def depict(
    rng: np.random.Generator, height: int, width: int, paint: Callable[[Painter, Array], None]
) -> Image.Image:
    """Draws one object of any colour on any ground, among litter."""
    ground = (sky, scene, scene, _texture)[rng.integers(4)](rng, height, width)
    painter = Painter(ground, rng)
    painter.litter(4)
    painter.place(size=(0.58, 0.92), turn=17, shift=0.1, stretch=0.15)
    paint(painter, any_colour(rng))
    painter.litter(2)
    return photograph(painter.picture(), rng, light=0.3, noise=0.03, blur=0.6)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws an object."""
    return depict(rng, *frame(rng), OBJECTS[NAMES[class_index]])


DRAWER = Drawer(NAMES, draw, (88, 5, 6))
