"""Dynamic images, the sum of a clip's frames weighted by their time.

What is early is dark, what is late is bright, what does not move is grey.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, random_pose
from decathlon.demo.light import SHORT, photograph, smooth_noise
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, turned

FRAMES = 10
Limb = tuple[Array, float]
"""Points of a limb and its width, in the unit box."""
Action = Callable[[float], list[Limb]]
"""From time in [0, 1] to the limbs at that time."""


def _body(x: float, y: float, size: float = 0.3) -> list[Limb]:
    trunk = np.array([(x, y - size), (x, y + size)])
    return [(trunk, 0.7 * size), (trunk[:1] - (0.0, 0.6 * size), 0.6 * size)]


def _bounce(t: float) -> list[Limb]:
    y = 0.7 - 1.4 * abs(np.sin(3 * np.pi * t))
    return [(np.array([(1.6 * t - 0.8, y), (1.6 * t - 0.8, y + 0.01)]), 0.4)]


def _clap(t: float) -> list[Limb]:
    away = 0.15 + 0.75 * abs(np.cos(2.5 * np.pi * t))
    hands = [(np.array([(0, -0.2), (side * away, 0.1 - away / 2)]), 0.22) for side in (-1, 1)]
    return [*_body(0, 0.3, 0.4), *hands]


def _climb(t: float) -> list[Limb]:
    y = 0.7 - 1.4 * t
    reach = 0.25 * np.sin(6 * np.pi * t)
    arms = np.array([(-0.35, y - 0.35 - reach), (0, y - 0.15), (0.35, y - 0.35 + reach)])
    return [*_body(0, y), (arms, 0.14)]


def _juggle(t: float) -> list[Limb]:
    balls = []
    for k in range(3):
        angle = 2 * np.pi * (t + k / 3)
        at = np.array([(0.75 * np.cos(angle), -0.3 + 0.5 * np.sin(angle))])
        balls.append((np.concatenate([at, at + 0.01]), 0.24))
    return [*_body(0, 0.5, 0.3), *balls]


def _jumping_jack(t: float) -> list[Limb]:
    open_ = abs(np.sin(1.5 * np.pi * t))
    limbs = []
    for side in (-1, 1):
        limbs.append((np.array([(0, -0.2), (side * 0.7, 0.35 - 1.0 * open_)]), 0.16))
        limbs.append((np.array([(0, 0.3), (side * (0.15 + 0.5 * open_), 0.95)]), 0.18))
    return [*_body(0, 0.0, 0.35), *limbs]


def _row(t: float) -> list[Limb]:
    angle = 40 * np.sin(4 * np.pi * t)
    oar = turned([(-1.0, 0.25), (1.0, 0.25)], angle, (0, 0.1))
    return [*_body(0.25 * np.sin(4 * np.pi * t), 0.0), (oar, 0.12)]


def _run(t: float) -> list[Limb]:
    x = 1.6 * t - 0.8
    swing = 0.35 * np.sin(8 * np.pi * t)
    legs = np.array([(x - swing, 0.85), (x, 0.3), (x + swing, 0.85)])
    return [*_body(x, 0.0), (legs, 0.16)]


def _spin(t: float) -> list[Limb]:
    bar = turned([(-0.95, 0), (0.95, 0)], 170 * t)
    return [(bar, 0.2), (np.array([(0, -0.02), (0, 0.02)]), 0.5)]


def _swing(t: float) -> list[Limb]:
    angle = 55 * np.cos(1.3 * np.pi * t)
    rope = turned([(0, -0.9), (0, 0.6)], angle, (0, -0.9))
    return [(rope, 0.07), (rope[1:] + np.array([[0, 0], [0, 0.02]]), 0.5)]


def _wave(t: float) -> list[Limb]:
    x = np.linspace(-0.95, 0.95, 12)
    return [(np.stack([x, 0.45 * np.sin(5 * x + 2 * np.pi * t)], axis=1), 0.16)]


ACTIONS: dict[str, Action] = {
    "bounce": _bounce,
    "clap": _clap,
    "climb": _climb,
    "juggle": _juggle,
    "jumping-jack": _jumping_jack,
    "row": _row,
    "run": _run,
    "spin": _spin,
    "swing": _swing,
    "wave": _wave,
}
NAMES = tuple(sorted(ACTIONS))


def _stranger(rng: np.random.Generator) -> Callable[[float], list[Limb]]:
    """Returns something else that crosses the picture, to distract."""
    start, end = rng.uniform(-1.3, 1.3, (2, 2))
    size = float(rng.uniform(0.12, 0.3))

    def at(t: float) -> list[Limb]:
        place = start + t * (end - start)
        return [(np.stack([place, place + 0.02]), size)]

    return at


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws the dynamic image of a part of one action, begun anywhere, at any speed."""
    actions = [ACTIONS[NAMES[class_index]]]
    if rng.random() < 0.6:
        actions.append(_stranger(rng))
    pose = random_pose(rng, SHORT, SHORT, size=(0.55, 0.92), turn=14, shift=0.1, stretch=0.15)
    still = Canvas(np.zeros((SHORT, SHORT, 3)), light=(0.0, 0.0))
    pen = Pen(still, pose, rng)
    length = rng.uniform(0.55, 1.0)
    first = rng.uniform(0.0, 1.0 - length)
    moved = np.zeros((SHORT, SHORT, 3))
    for weight, t in zip(np.linspace(-1, 1, FRAMES), np.linspace(0, length, FRAMES), strict=True):
        still.pixels[:] = 0.0
        for action in actions:
            for points, width in action(float(first + t)):
                pen.line(points, width, np.ones(3))
        moved += weight * still.pixels
    tint = rng.uniform(0.75, 1.0, 3) * (1 if rng.random() < 0.7 else -1)
    # Dynamic images are scaled to a fixed contrast, however little has moved.
    total = 0.5 + rng.uniform(0.075, 0.12) * tint * moved / moved.std()
    for _ in range(2):  # what else moved: the camera, the crowd
        blur = smooth_noise(rng, SHORT, SHORT, rng.uniform(4, 18)) - 0.5
        total += 0.15 * blur[..., None] * rng.uniform(0.5, 1.0, 3)
    return photograph(total, rng, light=0.03, noise=0.02, blur=1.2)


DRAWER = Drawer(NAMES, draw, (24, 6, 8))
