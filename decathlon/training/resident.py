"""Images that are cropped and resized on the device."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from decathlon.data.reading.batches import Cut, Uint8
from decathlon.data.reading.store import Images

SHARE = 0.25
"""Part of a GPU's free memory that the images of one feed may take."""
CHUNK = 1024
"""Images copied to the device at once."""


def send(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Copies an array to a device; on a GPU, without waiting for the copy to finish."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # from other memory, the copy blocks
    return tensor.to(device, non_blocking=True)


def fits(images: Images, device: torch.device) -> bool:
    """Returns whether images can stay on the device: it is a GPU with room for them."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return bool(3 * (images.heights * images.widths).sum() <= SHARE * free)


class Resident:
    """All images of a domain on a device, as uint8; batches are cropped there."""

    def __init__(self, images: Images, device: torch.device) -> None:
        """Copies all images to the device."""
        sizes = images.heights * images.widths
        ends = sizes.cumsum()
        self._pixels = torch.empty((int(sizes.sum()), 3), dtype=torch.uint8, device=device)
        for first in range(0, len(images), CHUNK):
            some = range(first, min(first + CHUNK, len(images)))
            pixels = np.concatenate([images.pixels(k).reshape(-1, 3) for k in some])
            start = int(ends[first] - sizes[first])
            self._pixels[start : start + len(pixels)] = torch.from_numpy(pixels)
        self._start = torch.from_numpy(ends - sizes).to(device)
        self._size = torch.from_numpy(np.stack([images.heights, images.widths], 1)).to(device)

    def gather(self, cut: Cut) -> Tensor:
        """Makes a batch, as :meth:`decathlon.data.reading.batches.Batches.gather` does.

        Crops of pixels as stored are the same; resized ones differ by rounding, by 1 of 255.

        Args:
            cut: Which images, and where to crop them.

        Returns:
            N x H x W x 3, uint8, on the device.
        """
        device = self._pixels.device
        index, corner, flips = (send(part, device) for part in (cut.index, cut.corner, cut.flips))
        start, size = self._start[index], self._size[index]
        if cut.extent is None:
            return cropped(self._pixels, start, size, corner, cut.height, cut.width, flips)
        high, wide = cut.extent.max(axis=0).tolist()
        crops = cropped(self._pixels, start, size, corner, high, wide)
        return resized_on_device(crops, send(cut.extent, device), cut.height, cut.width, flips)


def resized_from(packed: Uint8, cut: Cut, device: torch.device) -> Tensor:
    """Sends a batch's rectangles to a device, and resizes them there as :class:`Resident` does.

    Args:
        packed: uint8 (pixels, 3), see :meth:`decathlon.data.reading.batches.Batches.packed`.
        cut: The batch.
        device: Where to put it.

    Returns:
        N x H x W x 3, uint8, on the device.
    """
    assert cut.extent is not None, "these are crops as stored"
    sizes = cut.extent.prod(axis=1)
    pixels, start, extent, flips = (
        send(part, device) for part in (packed, sizes.cumsum() - sizes, cut.extent, cut.flips)
    )
    high, wide = cut.extent.max(axis=0).tolist()
    crops = cropped(pixels, start, extent, torch.zeros_like(extent), high, wide)
    return resized_on_device(crops, extent, cut.height, cut.width, flips)


def cropped(
    pixels: Tensor,
    start: Tensor,
    size: Tensor,
    corner: Tensor,
    height: int,
    width: int,
    flips: Tensor | None = None,
) -> Tensor:
    """Crops images; a crop that reaches beyond its image repeats the edge pixels.

    Args:
        pixels: (pixels, 3), images one after the other.
        start: int64 (N,), each image's first pixel.
        size: int64 (N, 2), height and width of each image.
        corner: int64 (N, 2), top and left pixel of each crop.
        height: H of the crops in pixels.
        width: W of the crops.
        flips: bool (N,), True for crops to mirror; None for none.

    Returns:
        N x H x W x 3.
    """
    down = torch.arange(height, device=pixels.device)
    across = torch.arange(width, device=pixels.device)
    if flips is not None:
        across = torch.where(flips[:, None], width - 1 - across, across)
    rows = torch.minimum((corner[:, :1] + down).clamp(min=0), size[:, :1] - 1)
    columns = torch.minimum((corner[:, 1:] + across).clamp(min=0), size[:, 1:] - 1)
    places = (start[:, None] + rows * size[:, 1:])[:, :, None] + columns[:, None]
    return pixels[places]


def resized_on_device(
    crops: Tensor, extent: Tensor, height: int, width: int, flips: Tensor
) -> Tensor:
    """Resizes images with an antialiased bilinear filter, all of a batch in two products.

    Args:
        crops: N x H' x W' x 3, uint8, with an image in the upper left corner of each.
        extent: int64 (N, 2), height and width of that image.
        height: H of the results in pixels.
        width: W of the results.
        flips: bool (N,), True for images to mirror.

    Returns:
        N x H x W x 3, uint8.
    """
    down = _weights(extent[:, 0], crops.shape[1], height)
    across = _weights(extent[:, 1], crops.shape[2], width)
    across = torch.where(flips[:, None, None], across.flip(1), across)
    with torch.autocast(crops.device.type, enabled=False):  # evaluation reads batches under it
        rows = torch.einsum("nyh,nhwc->nywc", down, crops.to(torch.float32))
        pixels = torch.einsum("nxw,nywc->nyxc", across, rows)
    return pixels.round_().to(torch.uint8).contiguous()


def _weights(extent: Tensor, length: int, side: int) -> Tensor:
    """Returns the share of every pixel of a line in each pixel of the resized line.

    The filter is a triangle. It reaches one pixel of the image or, for smaller results, one of the
    result; the image ends at ``extent``.

    Returns:
        N x side x length, float32; rows sum to 1.
    """
    extent = extent[:, None, None]
    scale = extent / side
    taps = torch.arange(length, device=extent.device)
    centres = (torch.arange(side, device=extent.device)[:, None] + 0.5) * scale
    shares = 1 - (taps + 0.5 - centres).abs() / scale.clamp(min=1)
    shares = torch.where(taps < extent, shares.clamp(min=0), 0)
    return shares / shares.sum(dim=2, keepdim=True)
