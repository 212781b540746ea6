"""Things grown and made, before any ground."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, litter, random_pose
from decathlon.demo.light import any_colour, frame, mix, photograph, scene, sky
from decathlon.demo.patterns import PATTERNS, plane
from decathlon.demo.pictures import nature, things
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array

Painter = Callable[[Pen, Array], None]
"""Paints a thing; the array is its coat: a colour, or a texture over the whole picture."""

OBJECTS: dict[str, Painter] = {
    "balloon": things.balloon,
    "butterfly": nature.butterfly,
    "cactus": nature.cactus,
    "car": things.car,
    "clock": things.clock,
    "fir": nature.fir,
    "fish": nature.fish,
    "house": things.house,
    "kite": things.kite,
    "ladder": things.ladder,
    "ladybird": nature.ladybird,
    "leaf": nature.leaf,
    "mug": things.mug,
    "mushroom": nature.mushroom,
    "sailing-boat": things.sailing_boat,
    "snail": nature.snail,
    "starfish": nature.starfish,
    "traffic-light": things.traffic_light,
    "tree": nature.tree,
    "umbrella": things.umbrella,
    "window": things.window,
}
NAMES = tuple(sorted(OBJECTS))


def coat(rng: np.random.Generator, height: int, width: int) -> Array:
    """Returns a random colour, or a random texture of two colours, H x W x 3."""
    colour = any_colour(rng)
    if rng.random() < 0.55:
        return colour
    name = str(rng.choice(list(PATTERNS)))
    x, y = plane(rng, height, width, period=(7.0, 12.0), bend=0.1)
    other = any_colour(rng) if rng.random() < 0.5 else colour * 0.4
    return mix(colour, other, np.clip(PATTERNS[name](x, y, rng), 0, 1))


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one object of any coat on any ground."""
    height, width = frame(rng, longest=104)
    ground = sky(rng, height, width) if rng.random() < 0.3 else scene(rng, height, width)
    light = float(rng.uniform(-0.25, 0.25)), float(rng.uniform(-0.25, 0.0))
    canvas = Canvas(ground, light)
    litter(canvas, rng, 5)
    pose = random_pose(rng, height, width, size=(0.6, 0.95), turn=18, shift=0.09, stretch=0.15)
    OBJECTS[NAMES[class_index]](Pen(canvas, pose, rng), coat(rng, height, width))
    litter(canvas, rng, 2)
    return photograph(canvas.pixels, rng, light=0.3, noise=0.03, blur=0.8)


DRAWER = Drawer(NAMES, draw, (88, 5, 6))
