"""A canvas on which smooth-edged shapes are painted one over the other.

A shape is drawn by Pillow at four times the resolution, within its bounding box only,
and averaged down to a mask; colours are blended by that mask.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from decathlon.demo import shapes
from decathlon.demo.light import hsv
from decathlon.demo.shapes import Array, Points

SUPER = 4
"""Drawn pixels per pixel of the picture, along each side."""


class Canvas:
    """A picture under way.

    Attributes:
        pixels: H x W x 3, values in [0, 1].
        light: Direction (x, y) that the light comes from; a shape is brighter there.
    """

    def __init__(self, ground: Array, light: tuple[float, float] = (-0.15, -0.25)) -> None:
        """Starts from a ground of shape H x W x 3; it is not changed."""
        self.pixels = ground.copy()
        self.light = light

    def fill(self, points: Array, paint: Array, opacity: float = 1.0) -> None:
        """Fills a polygon.

        Args:
            points: N x 2 in pixels.
            paint: A colour (3,) or a whole picture H x W x 3 that shows through.
            opacity: In [0, 1].
        """
        place = self._place(points, 1.0)
        if place is None:
            return
        mask, draw, shifted = self._sheet(place, points)
        draw.polygon(shifted, fill=255)
        self._blend(mask, place, paint, opacity)

    def line(self, points: Array, width: float, paint: Array, opacity: float = 1.0) -> None:
        """Draws a line with round ends and joints through N x 2 points, ``width`` in pixels."""
        place = self._place(points, width / 2 + 1)
        if place is None:
            return
        mask, draw, shifted = self._sheet(place, points)
        draw.line(shifted, fill=255, width=max(1, round(width * SUPER)), joint="curve")
        radius = width * SUPER / 2
        for x, y in (shifted[0], shifted[-1]):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        self._blend(mask, place, paint, opacity)

    def _place(self, points: Array, margin: float) -> tuple[int, int, int, int] | None:
        height, width = self.pixels.shape[:2]
        left, top = np.floor(points.min(axis=0) - margin).astype(int)
        right, bottom = np.ceil(points.max(axis=0) + margin).astype(int)
        left, top = max(int(left), 0), max(int(top), 0)
        right, bottom = min(int(right), width), min(int(bottom), height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    @staticmethod
    def _sheet(
        place: tuple[int, int, int, int], points: Array
    ) -> tuple[Image.Image, ImageDraw.ImageDraw, list[tuple[float, float]]]:
        left, top, right, bottom = place
        mask = Image.new("L", ((right - left) * SUPER, (bottom - top) * SUPER))
        shifted = [((x - left) * SUPER, (y - top) * SUPER) for x, y in points.tolist()]
        return mask, ImageDraw.Draw(mask), shifted

    def _blend(
        self, mask: Image.Image, place: tuple[int, int, int, int], paint: Array, opacity: float
    ) -> None:
        left, top, right, bottom = place
        amount = np.asarray(mask.reduce(SUPER), dtype=float)[..., None] * (opacity / 255)
        colour = paint if paint.ndim == 1 else paint[top:bottom, left:right]
        down = _ramp(bottom - top)[:, None, None] * self.light[1]
        across = _ramp(right - left)[None, :, None] * self.light[0]
        under = self.pixels[top:bottom, left:right]
        under += amount * (colour * (1 + down + across) - under)


def litter(canvas: Canvas, rng: np.random.Generator, most: int) -> None:
    """Strews up to ``most`` discs, twigs and slabs over a picture."""
    height, width = canvas.pixels.shape[:2]
    short = min(height, width)
    for _ in range(int(rng.integers(0, most + 1))):
        at = rng.uniform(0, 1, 2) * (width, height)
        size = rng.uniform(0.06, 0.16) * short
        colour = hsv(rng.random(), rng.uniform(0.1, 0.7), rng.uniform(0.15, 0.9))
        kind = rng.integers(3)
        if kind == 0:
            canvas.fill(shapes.arc(0, 0, size, size) + at, colour)
        elif kind == 1:
            corners = shapes.regular(int(rng.integers(3, 6)), rng.uniform(0, 360), 1.2 * size)
            canvas.fill(corners + at, colour)
        else:
            bend = rng.uniform(-0.4, 0.4, (3, 2)).cumsum(axis=0) * short
            canvas.line(shapes.curve(bend) + at, rng.uniform(0.02, 0.06) * short, colour)


@cache
def _ramp(num: int) -> Array:
    """Returns ``num`` values that rise from -1 to 1."""
    return np.linspace(-1, 1, num)


@dataclass(frozen=True)
class Pose:
    """Where and how a unit box lies in a picture.

    Attributes:
        matrix: 2 x 2, from unit lengths to pixels.
        centre: (x, y) in pixels.
    """

    matrix: Array
    centre: Array

    @property
    def unit(self) -> float:
        """Pixels per unit length, the mean over directions."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def __call__(self, points: Points) -> Array:
        """Maps N x 2 points of the unit box to pixels."""
        return np.asarray(points, dtype=float) @ self.matrix.T + self.centre


def random_pose(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    size: tuple[float, float] = (0.62, 0.92),
    turn: float = 12.0,
    shift: float = 0.08,
    stretch: float = 0.12,
    flip: bool = True,
) -> Pose:
    """Draws a pose.

    Args:
        rng: Source of randomness.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        size: Range of the unit box's side, relative to the short side.
        turn: Largest rotation in degrees.
        shift: Largest shift from the centre, relative to the short side.
        stretch: Largest relative change of width against height, and of shear.
        flip: Whether left and right may be exchanged.
    """
    short = min(height, width)
    scale = rng.uniform(*size) * short / 2
    wide = 1 + rng.uniform(-stretch, stretch)
    side = -1.0 if flip and rng.random() < 0.5 else 1.0
    shape = np.array([[wide * side, rng.uniform(-stretch, stretch)], [0.0, 1 / wide]])
    angle = np.radians(rng.uniform(-turn, turn))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([width, height]) / 2 + rng.uniform(-shift, shift, 2) * short
    return Pose(scale * rotation @ shape, centre)


@dataclass(frozen=True)
class Pen:
    """Paints on a canvas in the units of a pose.

    Attributes:
        canvas: The picture.
        pose: Where the unit box lies in it.
        rng: Source of whatever the drawer varies.
    """

    canvas: Canvas
    pose: Pose
    rng: np.random.Generator

    def fill(self, points: Points, paint: Array, opacity: float = 1.0) -> None:
        """Fills a polygon given in unit coordinates."""
        self.canvas.fill(self.pose(points), paint, opacity)

    def line(self, points: Points, width: float, paint: Array, opacity: float = 1.0) -> None:
        """Draws a line in unit coordinates, ``width`` in unit lengths."""
        self.canvas.line(self.pose(points), width * self.pose.unit, paint, opacity)

    def disc(self, x: float, y: float, radius: float, paint: Array, opacity: float = 1.0) -> None:
        """Fills a disc given in unit coordinates."""
        self.fill(shapes.arc(x, y, radius, radius), paint, opacity)

    def vary(self, hue: float, saturation: float = 0.7, value: float = 0.8) -> Array:
        """Returns a colour near the given one."""
        return hsv(
            hue + self.rng.uniform(-0.03, 0.03),
            saturation + self.rng.uniform(-0.12, 0.12),
            value + self.rng.uniform(-0.15, 0.15),
        )
