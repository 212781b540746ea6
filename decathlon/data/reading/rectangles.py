"""Which rectangle of an image is resized to the network's input.

A rectangle is (top, left, height, width) in pixels of the stored image, and lies inside it.
"""

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

TRIES = 10
RATIOS = (3 / 4, 4 / 3)
"""Range of width / height, and number of draws: those of torchvision's RandomResizedCrop."""


def random_resized(
    heights: Int64, widths: Int64, scale: tuple[float, float], numbers: np.random.Generator
) -> Int64:
    """Draws rectangles as torchvision's RandomResizedCrop does.

    The share of the area is uniform, and so is the logarithm of the aspect ratio. A rectangle that
    does not fit into its image is drawn again, and after ten tries it is the largest at the centre
    whose aspect ratio is in range. The n-th image's rectangle depends on the generator, n, and the
    number of images.

    Args:
        heights: int64 (n,), of the images.
        widths: int64 (n,).
        scale: Range of the share of the image's area.
        numbers: A fresh generator.

    Returns:
        int64 (n, 4).
    """
    sizes = np.stack([heights, widths], axis=1)
    place = numbers.random(sizes.shape)
    largest = np.stack([widths / RATIOS[0], heights * RATIOS[1]], axis=1)
    extent = np.minimum(sizes, np.rint(largest).astype(np.int64))
    undecided = np.arange(len(sizes))
    for _ in range(TRIES):
        share, ratio = numbers.random(sizes.shape)[undecided].T
        area = sizes[undecided].prod(axis=1) * (scale[0] + (scale[1] - scale[0]) * share)
        aspect = RATIOS[0] * (RATIOS[1] / RATIOS[0]) ** ratio
        sides = np.sqrt(np.stack([area / aspect, area * aspect], axis=1))
        tried = np.rint(sides).astype(np.int64)
        fits = ((tried > 0) & (tried <= sizes[undecided])).all(axis=1)
        extent[undecided[fits]] = tried[fits]
        undecided = undecided[~fits]
        if len(undecided) == 0:
            break
    spare = sizes - extent
    corner = np.floor(place * (spare + 1)).astype(np.int64)
    corner[undecided] = spare[undecided] // 2
    return np.concatenate([corner, extent], axis=1)


def boxed(boxes: npt.NDArray[np.float32] | None, heights: Int64, widths: Int64) -> Int64:
    """Rounds bounding boxes to whole pixels, at least one each way.

    Args:
        boxes: float32 (n, 4), left, top, width and height, inside the images; None to take all
            images whole.
        heights: int64 (n,), of the images.
        widths: int64 (n,).

    Returns:
        int64 (n, 4).
    """
    sizes = np.stack([heights, widths], axis=1)
    if boxes is None:
        return np.concatenate([np.zeros_like(sizes), sizes], axis=1)
    place, extent = boxes[:, [1, 0]].astype(np.float64), boxes[:, [3, 2]]
    first = np.minimum(np.rint(place), sizes - 1)
    last = np.clip(np.rint(place + extent), first + 1, sizes)
    return np.concatenate([first, last - first], axis=1).astype(np.int64)
