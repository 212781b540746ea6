"""Resizing on the CPU."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Uint8 = npt.NDArray[np.uint8]


def resized(
    images: Sequence[npt.NDArray[Any]], height: int, width: int, flips: npt.NDArray[np.bool_]
) -> Uint8:
    """Resizes images with an antialiased bilinear filter, as torchvision and Pillow do.

    To 224 x 224 pixels, torch's uint8 kernel takes 0.1 to 0.2 ms of a core, Pillow 0.9 ms, and the
    products of matrices that serve GPUs (:mod:`decathlon.training.resident`) 9 ms. The kernel
    uses one thread, so as many threads share the images as torch computes with.

    Args:
        images: (h, w) each, with three bytes a pixel.
        height: Of the results in pixels.
        width: Of the results.
        flips: bool (N,), True for images to mirror.

    Returns:
        uint8 (N, height, width, 3), contiguous.
    """
    # Not a tensor: one made in inference mode takes no writes of threads outside of it.
    out = np.empty((len(images), height, width, 3), np.uint8)
    threads = torch.get_num_threads()

    def work(first: int) -> None:
        for k in range(first, len(images), threads):
            # A copy, as the memory map is read-only. torch takes the strides of this shape,
            # unlike those of an axis added to the tensor, for its fast order, channels last.
            pixels = images[k].copy().view(np.uint8).reshape(1, *images[k].shape, 3)
            image = torch.from_numpy(pixels).permute(0, 3, 1, 2)
            done = F.interpolate(image, (height, width), mode="bilinear", antialias=True)
            result = done[0].permute(1, 2, 0)
            torch.from_numpy(out[k]).copy_(result.flip(1) if flips[k] else result)

    list(_pool(threads).map(work, range(threads)))
    return out


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Returns threads that are kept: starting them for each batch takes as long as resizing it."""
    return ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not live on in a fork
