"""House numbers; the digit in the middle counts, its neighbours distract."""

import numpy as np
from PIL import Image

from decathlon.demo.light import SHORT, hsv, mix, photograph, smooth_noise
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import moved
from decathlon.demo.strokes import DIGITS


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws a digit between parts of others, on a wall or plate."""
    value = rng.uniform(0.15, 0.9)
    low = hsv(rng.random(), rng.uniform(0.0, 0.6), value)
    noise = smooth_noise(rng, SHORT, SHORT, rng.uniform(2, 9))
    painter = Painter(mix(low, low + rng.uniform(-0.15, 0.15, 3), noise), rng)
    painter.place(size=(0.72, 0.95), turn=8, shift=0.04, stretch=0.14, flip=False)
    away = rng.uniform(0.35, 0.6) * (-1 if value > rng.uniform(0.35, 0.6) else 1)
    colour = hsv(rng.random(), rng.uniform(0, 0.6), value + away)
    width = rng.uniform(0.16, 0.34)
    neighbours = rng.integers(10, size=2)
    for digit, x in ((neighbours[0], -1.55), (neighbours[1], 1.55), (class_index, 0.0)):
        for stroke in DIGITS[digit]:
            painter.line(moved(stroke, x, 0), width, colour)
    return photograph(painter.picture(), rng, light=0.3, noise=0.03, blur=1.8)


DRAWER = Drawer(tuple("0123456789"), draw, (30, 6, 8))
