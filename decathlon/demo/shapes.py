"""Outlines as lists of points, in a unit box: x to the right, y down, both in [-1, 1]."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Points = Array | Sequence[tuple[float, float]]
"""Points as an N x 2 array, or as pairs (x, y)."""


def arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Array:
    """Returns points along an ellipse, from ``start`` to ``end`` degrees, clockwise."""
    num = max(4, int(abs(end - start) / 11) + 1)
    angle = np.radians(np.linspace(start, end, num))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """Returns the corners of an upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=float)


def regular(num: int, phase: float = -90.0, radius: float = 1.0) -> Array:
    """Returns the corners of a regular polygon, the first at ``phase`` degrees."""
    angle = np.radians(phase + 360.0 * np.arange(num) / num)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def star(num: int, inner: float = 0.45) -> Array:
    """Returns the outline of a star of ``num`` rays whose valleys lie at radius ``inner``."""
    points = regular(2 * num)
    points[1::2] *= inner
    return points


def curve(points: Points, closed: bool = False, steps: int = 6) -> Array:
    """Returns a smooth curve (Catmull-Rom) through the given points.

    Args:
        points: N >= 2 points to pass through.
        closed: Whether the curve returns to its start.
        steps: Points between two given ones.
    """
    knots = np.asarray(points, dtype=float)
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    padded = np.concatenate([before, knots, after])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        cubic = 3 * (b - c) + d - a
        square = 2 * a - 5 * b + 4 * c - d
        pieces.append(b + 0.5 * t * (c - a + t * (square + t * cubic)))
    if not closed:
        pieces.append(knots[-1:])
    return np.concatenate(pieces)


def turned(points: Points, degrees: float, about: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Returns points turned clockwise about a point."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.asarray(about, dtype=float)
    away = np.asarray(points, dtype=float) - centre
    return np.asarray(away @ matrix.T + centre)


def moved(points: Points, x: float, y: float, scale: float = 1.0) -> Array:
    """Returns points scaled about the origin and then shifted by (x, y)."""
    given = np.asarray(points, dtype=float)
    return np.asarray(given * scale + np.array([x, y]))


def mirrored(points: Points) -> Array:
    """Returns points with left and right exchanged."""
    given = np.asarray(points, dtype=float)
    return np.asarray(given * np.array([-1.0, 1.0]))
