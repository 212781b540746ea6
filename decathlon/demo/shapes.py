"""Outlines as arrays of points, N x 2, in a unit box: x to the right, y down, both in [-1, 1]."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Points = Array | Sequence[tuple[float, float]]
"""Points as an N x 2 array, or as pairs (x, y)."""


def arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Array:
    """Returns points along an ellipse, from ``start`` to ``end`` degrees, clockwise."""
    angle = np.radians(np.linspace(start, end, max(4, int(abs(end - start) / 11) + 1)))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """Returns the corners of an upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def regular(num: int, phase: float = -90.0, radius: float = 1.0) -> Array:
    """Returns the corners of a regular polygon, the first at ``phase`` degrees."""
    angle = np.radians(phase + 360.0 * np.arange(num) / num)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def star(num: int) -> Array:
    """Returns the outline of a star of ``num`` rays."""
    return np.asarray(regular(2 * num) * np.tile([[1.0], [0.42]], (num, 1)))


def curve(points: Points, closed: bool = False) -> Array:
    """Returns a smooth curve (Catmull-Rom) through the given points.

    Args:
        points: N >= 2 points to pass through.
        closed: Whether the curve returns to its start.
    """
    knots = np.asarray(points, dtype=float)
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    padded = np.concatenate([before, knots, after])
    a, b, c, d = (padded[k : len(padded) - 3 + k, None] for k in range(4))
    t = np.linspace(0, 1, 6, endpoint=False)[:, None]
    cubic, square = 3 * (b - c) + d - a, 2 * a - 5 * b + 4 * c - d
    smooth = (b + 0.5 * t * (c - a + t * (square + t * cubic))).reshape(-1, 2)
    return smooth if closed else np.concatenate([smooth, knots[-1:]])


def turned(points: Points, degrees: float) -> Array:
    """Returns points turned clockwise about the origin."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(np.asarray(points) @ np.array([[cos, sin], [-sin, cos]]))


def moved(points: Points, x: float, y: float) -> Array:
    """Returns points shifted by (x, y)."""
    return np.asarray(np.asarray(points, dtype=float) + np.array([x, y]))
