"""Variants of aeroplanes in flight, seen from the side."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from decathlon.demo.light import BLACK, SHORT, any_colour, hsv, photograph, sky
from decathlon.demo.painter import Painter
from decathlon.demo.pictures.drawer import Drawer
from decathlon.demo.shapes import Array, arc, box, curve

Place = tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """Proportions of a variant; the fuselage runs from x = -1 (nose) to 1 (tail).

    Attributes:
        girth: Half the fuselage's height.
        nose: 0 blunt to 1 pointed.
        wing: Where its root begins, and its chord.
        tip: How far the wing's tip lies behind and below the root.
        windows: Number of windows.
        jets: Places of jet engines.
        prop: Place of a propeller.
        hump: Height of an upper deck behind the nose.
        tee: Whether the tailplane sits on top of the fin.
        extra: ``biplane`` for a second wing above, with struts; ``floats`` for floats.
    """

    girth: float
    nose: float
    wing: tuple[float, float, float]
    tip: Place
    windows: int = 0
    jets: tuple[Place, ...] = ()
    prop: Place | None = None
    hump: float = 0.0
    tee: bool = False
    extra: str = ""


NOSE = (-1.0, 0.0)
PLANES = {
    "biplane": Plane(0.14, 0.1, (-0.55, 0.12, 0.42), (0, 0), prop=NOSE, extra="biplane"),
    "business-jet": Plane(0.12, 0.8, (0, 0.1, 0.3), (0.3, 0.1), 5, ((0.45, -0.12),), tee=True),
    "delta-wing": Plane(0.08, 1.0, (-0.35, 0.05, 1.05), (0.85, 0.1), jets=((0.3, 0.13),)),
    "floatplane": Plane(0.15, 0.15, (-0.4, -0.16, 0.36), (0, -0.06), 3, prop=NOSE, extra="floats"),
    "four-jet": Plane(0.11, 0.5, (-0.35, 0.06, 0.4), (0.6, 0.2), 20, ((-0.42, 0.16), (0, 0.24))),
    "glider": Plane(0.07, 0.6, (-0.5, -0.04, 0.16), (0.05, -0.3), tee=True),
    "high-wing-turboprop": Plane(
        0.14, 0.35, (-0.25, -0.13, 0.3), (0, -0.08), 10, prop=(-0.42, -0.1), tee=True
    ),
    "jumbo-jet": Plane(
        0.17, 0.3, (-0.3, 0.06, 0.45), (0.55, 0.18), 20, ((-0.35, 0.22), (0.05, 0.27)), hump=0.12
    ),
    "tri-jet": Plane(
        0.14, 0.4, (-0.2, 0.06, 0.38), (0.45, 0.18), 16, ((-0.25, 0.22), (0.72, -0.2))
    ),
    "twin-jet": Plane(0.14, 0.4, (-0.2, 0.06, 0.36), (0.45, 0.16), 16, ((-0.25, 0.23),)),
}
NAMES = tuple(PLANES)


def _plane(painter: Painter, plane: Plane, body: Array, paint: Array) -> None:
    g, nose = plane.girth, 0.1 * plane.nose
    if plane.extra == "floats":
        painter.line([(-0.45, 0.1), (-0.5, 0.4), (0.1, 0.4), (0.15, 0.1)], 0.035, body * 0.5)
        painter.line([(-0.75, 0.43), (0.4, 0.43)], 0.13, body)
    top = -g - (0.42 if plane.tee else 0.34)
    painter.fill([(0.55, -0.6 * g), (0.84, top), (1.04, top), (0.98, -0.6 * g)], paint)
    rear = top if plane.tee else -0.6 * g
    painter.fill([(0.74, rear), (1.0, rear + 0.06), (1.16, rear + 0.06), (1.06, rear)], body)
    front = [(-0.72, g), (nose - 0.9 - 2 * nose, (0.7 - 5.5 * nose) * g), (-0.9 - nose, -0.1 * g)]
    roof = [(nose - 0.8, -0.8 * (g + plane.hump)), (-0.5, -g - plane.hump), (-0.15, -g)]
    back = [(0.45, -g), (1.0, -0.7 * g), (0.98, -0.35 * g), (0.5, 0.85 * g)]
    painter.fill(curve(front + roof + back, closed=True), body)
    painter.fill(box(-0.85, 0.25 * g, 0.8, painter.rng.uniform(0.45, 0.75) * g), paint)
    for x in np.linspace(-0.68, 0.6, plane.windows):
        painter.disc(x, -0.25 * g, 0.022, BLACK)
    painter.fill(arc(-0.8, -0.4 * g, 0.09, 0.3 * g), BLACK)
    x, y, chord = plane.wing
    dx, dy = plane.tip
    tip = [(x + dx, y + dy), (x + max(chord, 0.25 * chord + dx), y + dy)]
    painter.fill([(x, y - 0.03), *tip, (x + chord, y + 0.06)], body * 0.72)
    if plane.extra == "biplane":
        painter.fill(box(x - 0.08, -0.52, x + chord - 0.05, -0.44), body * 0.85)
        for at in (x, x + chord - 0.15):
            painter.line([(at, -0.46), (at + 0.04, y)], 0.03, body * 0.4)
    for x, y in plane.jets:
        painter.fill(arc(x, y, 0.15, 0.075), paint * 0.8)
        painter.fill(arc(x - 0.12, y, 0.03, 0.065), paint * 0.25)
    if plane.prop:
        x, y = plane.prop
        painter.fill(arc(x + 0.17, y, 0.2, 0.06), paint * 0.8)
        painter.fill(arc(x, y, 0.025, 0.3), BLACK, 0.6)


def draw(rng: np.random.Generator, class_index: int) -> Image.Image:
    """Draws an aeroplane of one variant in any livery."""
    painter = Painter(sky(rng, SHORT, int(rng.integers(88, 109))), rng)
    # Taller than life: at this size a true fuselage would be a line.
    painter.place((0.8, 1.0), turn=14, shift=0.06, stretch=0.08, tall=1.4)
    body = hsv(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.7, 1.0))
    _plane(painter, PLANES[NAMES[class_index]], body, any_colour(rng, 0.5, 0.95))
    return photograph(painter.picture(), rng, light=0.2, blur=0.5)


DRAWER = Drawer(NAMES, draw, (24, 6, 8))
