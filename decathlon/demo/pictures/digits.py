"""House numbers; the digit in the middle counts, its neighbours distract."""

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, Pose, random_pose
from decathlon.demo.light import SHORT, hsv, mix, photograph, smooth_noise
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import moved
from decathlon.demo.strokes import DIGITS

NAMES = tuple("0123456789")


def _wall(rng: np.random.Generator) -> tuple[Canvas, float]:
    """Returns a wall or plate, and its brightness."""
    value = rng.uniform(0.15, 0.9)
    low = hsv(rng.random(), rng.uniform(0.0, 0.6), value)
    high = np.clip(low + rng.uniform(-0.15, 0.15, 3), 0, 1)
    amount = np.clip(smooth_noise(rng, SHORT, SHORT, rng.uniform(2, 9)), 0, 1)
    canvas = Canvas(mix(low, high, amount), light=(0.0, 0.0))
    if rng.random() < 0.4:
        edge = rng.uniform(2, 12) if rng.random() < 0.5 else SHORT - rng.uniform(2, 12)
        ends = np.array([(-5, edge), (SHORT + 5, edge + rng.uniform(-4, 4))])
        canvas.line(ends, rng.uniform(2, 7), low * 0.5, 0.8)
    return canvas, float(low.mean())


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws a digit between parts of others."""
    canvas, brightness = _wall(rng)
    pose = random_pose(
        rng, SHORT, SHORT, size=(0.72, 0.95), turn=8, shift=0.04, stretch=0.14, flip=False
    )
    away = rng.uniform(0.35, 0.6)
    value = brightness - away if brightness > rng.uniform(0.35, 0.6) else brightness + away
    colour = hsv(rng.random(), rng.uniform(0, 0.6), value)
    width = rng.uniform(0.16, 0.34)
    shadow = rng.random() < 0.3
    for shift in (-1.45, 1.45, 0.0):
        digit = class_index if shift == 0.0 else int(rng.integers(10))
        if shift != 0.0 and rng.random() < 0.3:
            continue
        at = shift + np.sign(shift) * rng.uniform(0, 0.25)
        for layer in ("shadow", "digit") if shadow else ("digit",):
            offset = 2.0 if layer == "shadow" else 0.0
            pen = Pen(canvas, Pose(pose.matrix, pose.centre + offset), rng)
            paint = np.zeros(3) if layer == "shadow" else colour
            for stroke in DIGITS[digit]:
                pen.line(moved(stroke, at, 0.0), width, paint, 0.5 if layer == "shadow" else 1.0)
    return photograph(canvas.pixels, rng, light=0.3, noise=0.03, blur=1.8)


DRAWER = Drawer(NAMES, draw, (30, 6, 8))
