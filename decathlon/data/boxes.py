"""Bounding boxes: from the pixels of an image file to those that are stored.

A box is (left, top, width, height). Annotations count pixels as the file holds them; shards,
those of the upright image at its stored size.
"""

from typing import NamedTuple


class Box(NamedTuple):
    """A bounding box.

    Attributes:
        left: Pixels from the left edge to the box.
        top: Pixels from the upper edge.
        width: In pixels.
        height: In pixels.
    """

    left: float
    top: float
    width: float
    height: float


_MIRRORED_X, _MIRRORED_Y, _TRANSPOSED = (2, 3, 7, 8), (3, 4, 6, 7), (5, 6, 7, 8)
"""EXIF orientations that mirror an image before they transpose it, if they do."""


def turned(box: Box, height: int, width: int, orientation: int) -> Box:
    """Turns a box with its image.

    Args:
        box: In pixels of the image as its file holds it.
        height: Of the upright image.
        width: Of the upright image.
        orientation: Of the file, as EXIF counts it: 1 is upright.
    """
    left, top, wide, high = box
    if orientation in _TRANSPOSED:
        height, width = width, height
    if orientation in _MIRRORED_X:
        left = width - left - wide
    if orientation in _MIRRORED_Y:
        top = height - top - high
    return Box(top, left, high, wide) if orientation in _TRANSPOSED else Box(left, top, wide, high)


def stored(box: Box, shape: tuple[int, int], size: tuple[int, int]) -> Box | None:
    """Scales a box with its image and clips it to the image.

    Args:
        box: In pixels of the upright image.
        shape: (height, width) of the upright image.
        size: (height, width) at which it is stored.

    Returns:
        The box in stored pixels; None if less than a pixel of it lies inside the image.
    """
    (height, width), down, right = size, size[0] / shape[0], size[1] / shape[1]
    left, top = max(0.0, box.left * right), max(0.0, box.top * down)
    wide = min(width, (box.left + box.width) * right) - left
    high = min(height, (box.top + box.height) * down) - top
    return Box(left, top, wide, high) if wide >= 1 and high >= 1 else None
