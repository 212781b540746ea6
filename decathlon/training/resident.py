"""The images of a domain on the device, where batches are cut out of them.

A domain of 50,000 images takes about 0.8 GB. Where that fits, a batch costs a GPU one
indexing of what it already has, and the host sends no pixels.
"""

import numpy as np
import torch
from torch import Tensor

from decathlon.data.reading.batches import Cut
from decathlon.data.reading.store import Images
from decathlon.training.device import send

SHARE = 0.25
"""Of the device's free memory that the images of one feed may take."""


def is_worth_it(images: Images, device: torch.device) -> bool:
    """Whether images are kept on the device: on a GPU that has room for them."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(len(pixels) for pixels in images.maps) <= SHARE * free


class Resident:
    """Images on a device, as uint8."""

    def __init__(self, images: Images, device: torch.device) -> None:
        """Copies all images to the device.

        Args:
            images: The images.
            device: Where they are kept, and where batches will be.
        """
        sizes = [len(pixels) // 3 for pixels in images.maps]
        before = np.cumsum([0, *sizes[:-1]])
        self._pixels = torch.empty((sum(sizes), 3), dtype=torch.uint8, device=device)
        for first, size, pixels in zip(before.tolist(), sizes, images.maps, strict=True):
            # Copied: torch takes no memory that it must not write to.
            self._pixels[first : first + size] = torch.tensor(pixels).view(-1, 3)
        start = before[images.shard] + images.offsets // 3
        self._start, self._height, self._width = (
            torch.from_numpy(values).to(device) for values in (start, images.heights, images.widths)
        )

    def gather(self, cut: Cut) -> Tensor:
        """Cuts a batch out; the same as :meth:`decathlon.data.reading.batches.Batches.gather`.

        Args:
            cut: Which images, and where they are cut.

        Returns:
            N x H x W x 3, uint8, on the device.
        """
        device = self._pixels.device
        index, corner, flips = (send(part, device) for part in (cut.index, cut.corner, cut.flips))
        height, width = self._height[index, None], self._width[index, None]
        down = torch.arange(cut.height, device=device)
        right = torch.arange(cut.width, device=device)
        across = torch.where(flips[:, None], cut.width - 1 - right, right)
        # Outside a smaller image are its edge pixels.
        rows = torch.minimum((corner[:, :1] + down).clamp(min=0), height - 1)
        columns = torch.minimum((corner[:, 1:] + across).clamp(min=0), width - 1)
        places = (self._start[index, None] + rows * width)[:, :, None] + columns[:, None]
        return self._pixels[places]
