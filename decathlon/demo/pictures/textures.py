"""Describable textures in two or three tones."""

import numpy as np
from PIL import Image

from decathlon.demo.light import any_colour, frame, mix, photograph, smooth_noise
from decathlon.demo.patterns import PATTERNS, texture
from decathlon.demo.pictures.drawer import Drawer

NAMES = tuple(PATTERNS)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws one texture over the whole frame."""
    height, width = frame(rng)
    value = texture(rng, height, width, PATTERNS[NAMES[class_index]])
    dark, bright = any_colour(rng) * rng.uniform(0.15, 0.5), any_colour(rng, 0.05, 0.6) ** 0.5
    pixels = mix(dark, bright, value + 0.1 * smooth_noise(rng, height, width, 30) - 0.05)
    return photograph(pixels, rng, light=0.3, blur=0.6)


DRAWER = Drawer(NAMES, draw, (20, 5, 7))
