"""Batches of uint8 crops from the memory map.

Order, crops and flips are functions of (seed, domain, epoch, image position); an epoch
can be entered at any step. Normalisation is left to the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decathlon.data.keyed import generator
from decathlon.data.store import Images
from decathlon.domains import View
from decathlon.errors import UsageError
from decathlon.launch import ALONE, Place

Int64 = npt.NDArray[np.int64]
Uint8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RawBatch:
    """One batch, or the part of it that this process has.

    Attributes:
        images: uint8 (N, H, W, 3), contiguous.
        labels: int64 (N,), -1 where not known.
        index: int64 (N,), positions in the images that were asked for.
        step: Number of the batch within the epoch, from 0.
        share: Its share of the whole batch's images.
    """

    images: Uint8
    labels: Int64
    index: Int64
    step: int
    share: float = 1.0


class Batches:
    """Batches of a domain's images under one view.

    Args:
        images: The images.
        view: Crop and flip. A view without a crop takes whole images, and where those of
            a batch differ in size, the centre of the smallest height and width.
        batch_size: Images in a batch, at most.
        domain: Name that the randomness is keyed by.
        seed: Seed that the randomness is keyed by.
        place: Which of several processes this is. Batches are the same for any number of them:
            in an epoch each has a part of every batch, in a sequence some of the batches.
    """

    def __init__(
        self,
        images: Images,
        view: View,
        batch_size: int,
        *,
        domain: str,
        seed: int,
        place: Place = ALONE,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, at least 1 is needed")
        self.images, self.view, self.batch_size = images, view, batch_size
        self.domain, self.seed, self.place = domain, seed, place
        # One image as one row of three-byte elements: numpy mirrors those twice as fast.
        self._maps = [pixels.view("V3") for pixels in images.maps]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; they differ by at most one image in size."""
        return -(-len(self.images) // self.batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[RawBatch]:
        """Yields every image once, shuffled, cropped and flipped as the view says.

        Args:
            epoch: Number of the epoch.
            first_step: Batches of the epoch to leave out, which costs nothing.

        Raises:
            UsageError: There are more processes than images in a batch.
        """
        count, steps = len(self.images), self.steps_per_epoch
        if self.place.size > 1 and count < steps * self.place.size:
            raise UsageError(
                f"{self.domain}: a batch of {count // steps} images cannot be divided among"
                f" {self.place.size} processes: start fewer, or --set a larger batch_size"
            )
        order = generator(self.seed, self.domain, epoch, "order").permutation(count)
        if self.view.random:
            place = generator(self.seed, self.domain, epoch, "crop").random((count, 2), np.float32)
        else:
            place = None
        mirror = None
        if self.view.flip:
            mirror = generator(self.seed, self.domain, epoch, "flip").random(count) < 0.5
        for step in range(first_step, steps):
            # Nearly equal batches: a last batch of one image would break batch norm.
            index = order[count * step // steps : count * (step + 1) // steps]
            yield self._gather(index, step, place, mirror, self.place)

    def sequential(self, batch_size: int | None = None) -> Iterator[RawBatch]:
        """Yields every image exactly once, in order, cut at the centre.

        Of several processes each has whole batches, in turn: a network that looks at
        several images at once says the same as in one process.

        Args:
            batch_size: Images in a batch but the last, or None for the usual number.
        """
        size = self.batch_size if batch_size is None else batch_size
        for step, start in enumerate(range(0, len(self.images), size)):
            if step % self.place.size == self.place.rank:
                index = np.arange(start, min(start + size, len(self.images)))
                yield self._gather(index, step, None, None)

    def _gather(
        self,
        index: Int64,
        step: int,
        place: npt.NDArray[np.float32] | None,
        mirror: npt.NDArray[np.bool_] | None,
        of: Place = ALONE,
    ) -> RawBatch:
        heights, widths = self.images.heights[index], self.images.widths[index]
        crop = self.view.crop
        high, wide = (crop, crop) if crop else (int(heights.min()), int(widths.min()))
        part, whole = of.part(len(index)), len(index)
        index, heights, widths = index[part], heights[part], widths[part]
        spare = np.stack([heights - high, widths - wide], axis=1)
        # Half of an odd remainder is rounded to even, as torchvision's CenterCrop does.
        centre = np.rint(spare / 2).astype(np.int64)
        if place is None:
            corner = centre
        else:
            # float64: with float32 the product could round up to spare + 1.
            room = np.maximum(spare, 0) + 1
            corner = np.floor(place[index].astype(np.float64) * room).astype(np.int64)
            corner = np.where(spare < 0, centre, corner)
        flips = np.zeros(len(index), np.bool_) if mirror is None else mirror[index]
        out = np.empty((len(index), high, wide, 3), np.uint8)
        small = spare.min(axis=1) < 0
        rows = zip(
            self.images.shard[index].tolist(),
            (self.images.offsets[index] // 3).tolist(),
            heights.tolist(),
            widths.tolist(),
            corner.tolist(),
            flips.tolist(),
            out.view("V3")[..., 0],
            small.tolist(),
            strict=True,
        )
        for shard, start, height, width, (top, left), flip, target, pad in rows:
            image = self._maps[shard][start : start + height * width].reshape(height, width)
            if pad:
                cut = _padded(image, high, wide, top, left)
            else:
                cut = image[top : top + high, left : left + wide]
            target[...] = cut[:, ::-1] if flip else cut
        return RawBatch(out, self.images.labels[index], index, step, len(index) / whole)


def _padded(
    image: npt.NDArray[np.void], high: int, wide: int, top: int, left: int
) -> npt.NDArray[np.void]:
    """Cuts (high, wide) out of an image that is smaller, repeating its edge pixels.

    A negative ``top`` or ``left`` is where the image lies inside the crop.
    """
    rows = np.clip(np.arange(top, top + high), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + wide), 0, image.shape[1] - 1)
    return image[rows][:, columns]
