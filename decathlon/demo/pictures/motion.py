"""Dynamic images, the sum of a clip's frames weighted by their time.

What is early is dark, what is late is bright, what does not move is grey.
"""

import numpy as np
from PIL import Image

from decathlon.demo.light import SHORT, photograph, smooth_noise
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer, by_name
from decathlon.demo.shapes import Points, box, moved, turned

FRAMES = 10
Limb = tuple[Points, float]
"""Points of a limb and its width, in the unit box."""


def _ball(size: float, x: float, y: float) -> Limb:
    return [(x, y), (x, y + 0.01)], size


def _body(x: float, y: float, size: float = 0.3) -> list[Limb]:
    return [([(x, y - size), (x, y + size)], 0.7 * size), _ball(0.6 * size, x, y - 1.6 * size)]


def bounce(t: float) -> list[Limb]:
    """A ball that jumps across."""
    return [_ball(0.4, 1.6 * t - 0.8, 0.7 - 1.4 * abs(np.sin(3 * np.pi * t)))]


def clap(t: float) -> list[Limb]:
    """Hands that meet."""
    away = 0.15 + 0.75 * abs(np.cos(2.5 * np.pi * t))
    return [*_body(0, 0.3, 0.4), *(([(0, -0.2), (x, 0.1 - away / 2)], 0.22) for x in (-away, away))]


def climb(t: float) -> list[Limb]:
    """A body that rises, arm over arm."""
    y, reach = 0.7 - 1.4 * t, 0.25 * np.sin(6 * np.pi * t)
    arms = [(-0.35, y - 0.35 - reach), (0, y - 0.15), (0.35, y - 0.35 + reach)]
    return [*_body(0, y), (arms, 0.14)]


def juggle(t: float) -> list[Limb]:
    """Three balls that circle above a body."""
    angles = (2 * np.pi * (t + k / 3) for k in range(3))
    return [*_body(0, 0.5), *(_ball(0.24, 0.75 * np.cos(a), 0.5 * np.sin(a) - 0.3) for a in angles)]


def jumping_jack(t: float) -> list[Limb]:
    """Arms and legs that open and close."""
    wide = abs(np.sin(1.5 * np.pi * t))
    arms = [(-0.7, 0.35 - wide), (0, -0.2), (0.7, 0.35 - wide)]
    legs = [(-0.15 - 0.5 * wide, 0.95), (0, 0.3), (0.15 + 0.5 * wide, 0.95)]
    return [*_body(0, 0.0, 0.35), (arms, 0.16), (legs, 0.18)]


def row(t: float) -> list[Limb]:
    """A body that sways with an oar."""
    sway = np.sin(4 * np.pi * t)
    return [*_body(0.25 * sway, 0.0), (turned([(-1.0, 0.15), (1.0, 0.15)], 40 * sway), 0.12)]


def run(t: float) -> list[Limb]:
    """A body that runs across."""
    x, swing = 1.6 * t - 0.8, 0.35 * np.sin(8 * np.pi * t)
    return [*_body(x, 0.0), ([(x - swing, 0.85), (x, 0.3), (x + swing, 0.85)], 0.16)]


def spin(t: float) -> list[Limb]:
    """A bar that turns about its middle."""
    return [(turned([(-0.95, 0), (0.95, 0)], 170 * t), 0.2), _ball(0.5, 0, 0)]


def swing(t: float) -> list[Limb]:
    """A weight that swings on a rope."""
    rope = moved(turned([(0, 0), (0, 1.5)], 55 * np.cos(1.3 * np.pi * t)), 0, -0.9)
    return [(rope, 0.07), _ball(0.5, *rope[1])]


def wave(t: float) -> list[Limb]:
    """A rope along which waves run."""
    x = np.linspace(-0.95, 0.95, 12)
    return [(np.stack([x, 0.45 * np.sin(5 * x + 2 * np.pi * t)], axis=1), 0.16)]


ACTIONS = by_name(bounce, clap, climb, juggle, jumping_jack, row, run, spin, swing, wave)
NAMES = tuple(ACTIONS)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws the dynamic image of a part of one action, begun anywhere, at any speed."""
    painter = Painter(np.zeros((SHORT, SHORT, 3)), rng)
    painter.place(size=(0.55, 0.92), turn=14, shift=0.1, stretch=0.15)
    start, end = rng.uniform(-1.3, 1.3, (2, 2))  # of something that crosses, to distract
    size = rng.uniform(0.12, 0.3) * (rng.random() < 0.6)
    length = rng.uniform(0.55, 1.0)
    first = rng.uniform(0.0, 1.0 - length)
    moved = np.zeros((SHORT, SHORT, 3))
    for weight, t in zip(np.linspace(-1, 1, FRAMES), np.linspace(0, length, FRAMES), strict=True):
        painter.fill(box(-9, -9, 9, 9), np.zeros(3))
        crossing = _ball(size, *(start + t * (end - start)))
        for points, width in (*ACTIONS[NAMES[class_index]](float(first + t)), crossing):
            painter.line(points, width, np.ones(3))
        moved += weight * painter.picture()
    tint = rng.uniform(0.75, 1.0, 3) * rng.choice([-1, 1], p=[0.3, 0.7])
    # Dynamic images are scaled to a fixed contrast, however little has moved.
    total = 0.5 + rng.uniform(0.075, 0.12) * tint * moved / moved.std()
    for _ in range(2):  # what else moved: the camera, the crowd
        blur = smooth_noise(rng, SHORT, SHORT, rng.uniform(4, 18)) - 0.5
        total += 0.15 * blur[..., None] * rng.uniform(0.5, 1.0, 3)
    return photograph(total, rng, light=0.03, blur=1.2)


DRAWER = Drawer(NAMES, draw, (24, 6, 8))
