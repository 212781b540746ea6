"""The painter: fills outlines and draws lines in the units of a box that lies in a picture."""

import numpy as np
from PIL import ImageDraw

from decathlon.demo.light import digital, hsv
from decathlon.demo.shapes import Array, Points, arc, regular, turned

SUPER = 4
"""Pixels painted per pixel of the picture, along each side; they are averaged in the end."""


class Painter:
    """Paints on a ground.

    Attributes:
        rng: Source of whatever varies.
    """

    def __init__(self, ground: Array, rng: np.random.Generator) -> None:
        """Starts from a ground, H x W x 3 with values in [0, 1]."""
        self.rng = rng
        self._image = digital(ground).resize((ground.shape[1] * SUPER, ground.shape[0] * SUPER), 0)
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self.place()

    def place(
        self,
        size: tuple[float, float] = (0.62, 0.92),
        turn: float = 12.0,
        shift: float = 0.08,
        stretch: float = 0.12,
        flip: bool = True,
        tall: float = 1.0,
    ) -> None:
        """Chooses where the unit box lies in the picture.

        Args:
            size: Range of the box's side, relative to the picture's short side.
            turn: Largest rotation in degrees.
            shift: Largest shift from the centre, relative to the short side.
            stretch: Largest relative change of width against height, and of shear.
            flip: Whether left and right may be exchanged.
            tall: Factor on the height.
        """
        rng, short = self.rng, min(self._image.size)
        wide, side = 1 + rng.uniform(-stretch, stretch), -1 if flip and rng.random() < 0.5 else 1
        shape = np.array([[wide * side, 0.0], [rng.uniform(-stretch, stretch), tall / wide]])
        self._unit = rng.uniform(*size) * short / 2
        self._matrix = self._unit * turned(shape, rng.uniform(-turn, turn))
        self._centre = np.array(self._image.size) / 2 + rng.uniform(-shift, shift, 2) * short

    def fill(self, points: Points, colour: Array, opacity: float = 1.0) -> None:
        """Fills a polygon."""
        self._draw.polygon(self._pixels(points), _rgba(colour, opacity))

    def line(self, points: Points, width: float, colour: Array, opacity: float = 1.0) -> None:
        """Draws a line with round ends."""
        at, radius = self._pixels(points), width * self._unit / 2
        paint = _rgba(colour, opacity)
        self._draw.line(at, paint, max(1, round(2 * radius)), joint="curve")
        for x, y in (at[:2], at[-2:]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), paint)

    def disc(self, x: float, y: float, radius: float, colour: Array) -> None:
        """Fills a disc."""
        self.fill(arc(x, y, radius, radius), colour)

    def litter(self, most: int) -> None:
        """Strews up to ``most`` slabs and twigs over the picture."""
        rng = self.rng
        for _ in range(int(rng.integers(0, most + 1))):
            at = rng.uniform(-1.5, 1.5, 2)
            colour = hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.15, 0.9))
            if rng.random() < 0.6:
                corners = regular(int(rng.integers(3, 9)), rng.uniform(0, 360))
                self.fill(corners * rng.uniform(0.15, 0.35) + at, colour)
            else:
                self.line(rng.uniform(-0.8, 0.8, (2, 2)) + at, rng.uniform(0.04, 0.12), colour)

    def vary(self, hue: float, saturation: float = 0.7, value: float = 0.8) -> Array:
        """Returns a colour near the given one."""
        return hsv(*self.rng.normal((hue, saturation, value), (0.015, 0.06, 0.08)))

    def picture(self) -> Array:
        """Returns what has been painted, H x W x 3 with values in [0, 1]."""
        return np.asarray(self._image.reduce(SUPER), dtype=float) / 255

    def _pixels(self, points: Points) -> list[float]:
        found = np.asarray(points, dtype=float) @ self._matrix + self._centre
        return [float(value) for value in found.ravel()]


def _rgba(colour: Array, opacity: float) -> tuple[int, ...]:
    return (*(min(max(int(255 * c), 0), 255) for c in colour.tolist()), int(255 * opacity))
