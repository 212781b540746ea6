"""Variants of aeroplanes seen from the side, in flight or on the ground."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from decathlon.demo.canvas import Canvas, Pen, Pose, random_pose
from decathlon.demo.light import any_colour, frame, hsv, photograph, sky, smooth_noise
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, arc, box, curve


@dataclass(frozen=True)
class Plane:
    """Proportions of a variant; the fuselage runs from x = -1 (nose) to 1 (tail).

    Attributes:
        girth: Half the fuselage's height.
        nose: 0 blunt to 1 pointed.
        hump: Height of an upper deck behind the nose.
        wing: (x of its root's front, chord, how far the tip lies behind, how far below).
        wing_y: Height of the wing's root.
        fin: Height of the fin.
        tee: Whether the tailplane sits on top of the fin.
        jets: (x, y) of jet engines.
        props: (x, y) of propellers.
        windows: Number of windows.
        second_wing: Whether there is a second wing above, with struts.
        floats: Whether it stands on floats.
    """

    girth: float = 0.13
    nose: float = 0.4
    hump: float = 0.0
    wing: tuple[float, float, float, float] = (-0.2, 0.36, 0.45, 0.16)
    wing_y: float = 0.06
    fin: float = 0.36
    tee: bool = False
    jets: tuple[tuple[float, float], ...] = ()
    props: tuple[tuple[float, float], ...] = ()
    windows: int = 16
    second_wing: bool = False
    floats: bool = False


PLANES: dict[str, Plane] = {
    "biplane": Plane(
        0.14,
        0.1,
        wing=(-0.55, 0.42, 0.0, 0.0),
        wing_y=0.12,
        fin=0.28,
        props=((-1.0, 0.0),),
        windows=0,
        second_wing=True,
    ),
    "business-jet": Plane(
        0.12,
        0.8,
        wing=(0.0, 0.3, 0.3, 0.1),
        wing_y=0.1,
        fin=0.38,
        tee=True,
        jets=((0.45, -0.12),),
        windows=5,
    ),
    "delta-wing": Plane(
        0.08,
        1.0,
        wing=(-0.35, 1.05, 0.85, 0.1),
        wing_y=0.05,
        fin=0.3,
        windows=0,
        jets=((0.3, 0.13),),
    ),
    "floatplane": Plane(
        0.15,
        0.15,
        wing=(-0.4, 0.36, 0.0, -0.06),
        wing_y=-0.16,
        fin=0.3,
        props=((-1.0, 0.0),),
        windows=3,
        floats=True,
    ),
    "four-jet": Plane(
        0.11,
        0.5,
        fin=0.34,
        jets=((-0.42, 0.16), (-0.02, 0.24)),
        windows=20,
        wing=(-0.35, 0.4, 0.6, 0.2),
    ),
    "glider": Plane(
        0.07,
        0.6,
        wing=(-0.5, 0.16, 0.05, -0.3),
        wing_y=-0.04,
        fin=0.26,
        tee=True,
        windows=0,
    ),
    "high-wing-turboprop": Plane(
        0.14,
        0.35,
        wing=(-0.25, 0.3, 0.0, -0.08),
        wing_y=-0.13,
        fin=0.42,
        tee=True,
        props=((-0.42, -0.1),),
        windows=10,
    ),
    "jumbo-jet": Plane(
        0.17,
        0.3,
        hump=0.12,
        fin=0.42,
        jets=((-0.35, 0.22), (0.05, 0.27)),
        windows=20,
        wing=(-0.3, 0.45, 0.55, 0.18),
    ),
    "tri-jet": Plane(
        0.14,
        0.4,
        fin=0.34,
        jets=((-0.25, 0.22), (0.72, -0.2)),
        windows=16,
        wing=(-0.2, 0.38, 0.45, 0.18),
    ),
    "twin-jet": Plane(0.14, 0.4, jets=((-0.25, 0.23),)),
}
NAMES = tuple(sorted(PLANES))


def _fuselage(plane: Plane) -> Array:
    g, tip = plane.girth, -1.0 + 0.1 * (1 - plane.nose)
    back = [(0.45, -g), (1.0, -0.7 * g), (0.98, -0.35 * g), (0.5, 0.85 * g)]
    front = [(-0.72, g), (tip, 0.55 * g * (1 - plane.nose) + 0.15 * g), (tip, -0.1 * g)]
    hump = plane.hump
    roof = [(-0.8 + 0.1 * plane.nose, -0.8 * g - hump * 0.8), (-0.5, -g - hump), (-0.15, -g)]
    return curve(front + roof + back, closed=True)


def _tail(pen: Pen, plane: Plane, paint: Array, body: Array) -> None:
    base, top = -0.6 * plane.girth, -plane.girth - plane.fin
    pen.fill([(0.55, base), (0.84, top), (1.04, top), (0.98, base)], paint)
    height = top + 0.02 if plane.tee else base
    pen.fill([(0.74, height), (0.98, height + 0.06), (1.16, height + 0.06), (1.06, height)], body)


def _wing(pen: Pen, plane: Plane, body: Array) -> None:
    x, chord, back, below = plane.wing
    y = plane.wing_y
    tip = max(0.25 * chord, 0.1)
    if back > 0.1:  # swept back: seen from the side, the tip lies behind the root
        front, end = (x + back, y + below + 0.03), (x + back + tip, y + below + 0.06)
        outline = [(x, y), front, end, (x + chord, y + 0.07)]
    else:
        front, end = (x + 0.03, y + below - 0.03), (x + chord, y + below)
        outline = [(x, y - 0.03), front, end, (x + chord, y + 0.06)]
    pen.fill(outline, body * 0.72)
    if plane.second_wing:
        pen.fill(box(x - 0.08, -0.52, x + chord - 0.05, -0.44), body * 0.85)
        for at in (x, x + chord - 0.15):
            pen.line([(at, -0.46), (at + 0.04, y)], 0.03, body * 0.4)


def _engines(pen: Pen, plane: Plane, paint: Array) -> None:
    for x, y in plane.jets:
        pen.fill(arc(x, y, 0.15, 0.075), paint * 0.8)
        pen.fill(arc(x - 0.12, y, 0.03, 0.065), paint * 0.25)
    for x, y in plane.props:
        if x > -1:
            pen.fill(arc(x + 0.17, y, 0.2, 0.06), paint * 0.8)
        pen.fill(arc(x, y, 0.025, 0.3), np.full(3, 0.15), 0.6)
        pen.disc(x, y, 0.05, np.full(3, 0.2))


def _floats(pen: Pen, body: Array) -> None:
    for x in (-0.45, 0.1):
        pen.line([(x, 0.1), (x - 0.05, 0.4)], 0.035, body * 0.5)
    hull = [(-0.85, 0.36), (-0.2, 0.36), (0.5, 0.4), (-0.2, 0.5), (-0.75, 0.48)]
    pen.fill(curve(hull, closed=True), body)


def _ground(rng: np.random.Generator, height: int, width: int) -> tuple[Array, float]:
    """Returns a sky, sometimes above a field, and the horizon's row."""
    pixels, horizon = sky(rng, height, width), float(height)
    if rng.random() < 0.4:
        horizon = height * rng.uniform(0.62, 0.8)
        field = hsv(rng.uniform(0.08, 0.35), rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.7))
        grain = 0.85 + 0.3 * smooth_noise(rng, height, width, 20)
        row = int(horizon)
        pixels[row:] = field * grain[row:, :, None]
    return pixels, horizon


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws an aeroplane of one variant in any livery."""
    height, width = frame(rng, longest=108, portrait=0.0)
    width = max(width, 88)
    plane = PLANES[NAMES[class_index]]
    pixels, horizon = _ground(rng, height, width)
    turn = 14.0 if horizon >= height else 3.0
    pose = random_pose(rng, height, width, size=(0.8, 1.0), turn=turn, shift=0.06, stretch=0.08)
    # Taller than life: at this size a true fuselage would be a line.
    tall = Pose(pose.matrix @ np.diag([1.0, 1.4]), pose.centre)
    pen = Pen(Canvas(pixels, light=(0.0, -0.2)), tall, rng)
    body = hsv(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.7, 1.0))
    paint = any_colour(rng, (0.5, 0.95))
    if horizon < height:
        pen.fill(arc(0, 0.42, 0.9, 0.06), np.zeros(3), 0.35)
        for x in (-0.62, 0.12):
            pen.line([(x, 0.1), (x, 0.36)], 0.03, np.full(3, 0.3))
            pen.disc(x, 0.37, 0.055, np.full(3, 0.12))
    if plane.floats:
        _floats(pen, body)
    _tail(pen, plane, paint, body)
    pen.fill(_fuselage(plane), body)
    stripe = 0.25 * plane.girth
    pen.fill(box(-0.85, stripe, 0.8, stripe + rng.uniform(0.2, 0.5) * plane.girth), paint, 0.9)
    if plane.windows:
        for x in np.linspace(-0.68, 0.6, plane.windows):
            pen.disc(x, -0.25 * plane.girth, 0.022, np.full(3, 0.12))
    pen.fill(arc(-0.8, -0.4 * plane.girth, 0.09, 0.3 * plane.girth), np.array([0.1, 0.15, 0.2]))
    _wing(pen, plane, body)
    _engines(pen, plane, body if rng.random() < 0.5 else paint)
    return photograph(pen.canvas.pixels, rng, light=0.2, blur=0.5)


DRAWER = Drawer(NAMES, draw, (24, 6, 8))
