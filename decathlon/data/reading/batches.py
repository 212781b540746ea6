"""Batches of uint8 crops from the memory map.

How a batch reaches the network: :meth:`Batches.cuts` decides which images are in it and how
each is cropped and flipped; :meth:`Batches.gather` copies those pixels from the memory map of the
shards; :mod:`decathlon.training.feed` sends them to the device, and normalises them there. Views
with a random resized crop or a bounding box cut rectangles of different sizes
(:mod:`decathlon.data.reading.rectangles`), which are resized to one. That happens on the device:
on the CPU in :meth:`Batches.gather`, on a GPU after :meth:`Batches.packed` pixels were sent.

Order, crops and flips are functions of (seed, domain, epoch, image), so that an epoch can be
entered at any step. If each image has a fixed number of crops, crops and flips are functions of
the number of the crop in place of the epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decathlon.common.errors import UsageError
from decathlon.common.world import ALONE, World
from decathlon.data.keyed import generator
from decathlon.data.reading.rectangles import boxed, random_resized
from decathlon.data.reading.resizing import resized
from decathlon.data.reading.store import Images
from decathlon.suites.base import View

Int64 = npt.NDArray[np.int64]
Uint8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """Which images are in a batch (or in this process's part of it), and how they are cropped.

    Attributes:
        index: int64 (N,), numbers of the images, from 0.
        corner: int64 (N, 2), the crop's top and left pixel; negative in a smaller image, whose
            edge pixels are repeated.
        extent: int64 (N, 2), height and width of the rectangle that is resized to the crop; None
            for crops of pixels as they are stored.
        flips: bool (N,), True for images to mirror.
        height: H of the crops in pixels.
        width: W of the crops in pixels.
        step: Number of the batch within the epoch, from 0.
        share: The share of the whole batch's images that is in it.
    """

    index: Int64
    corner: Int64
    extent: Int64 | None
    flips: npt.NDArray[np.bool_]
    height: int
    width: int
    step: int
    share: float


@dataclass(frozen=True)
class Draw:
    """How all images are cropped in one epoch; of each, None if nothing is drawn.

    Attributes:
        rectangles: int64 (n, 4), what is resized: top, left, height, width.
        position: float32 (n, 2) in [0, 1), of the crop within the image.
        mirror: bool (n,), True for images to mirror.
    """

    rectangles: Int64 | None = None
    position: npt.NDArray[np.float32] | None = None
    mirror: npt.NDArray[np.bool_] | None = None


class Batches:
    """Batches of a domain's images under one view.

    Args:
        images: The images.
        view: Crop and flip. A view without a crop takes whole images; if those of a batch
            differ in size, each is cropped to the smallest height and width, at the centre.
        batch_size: Images in a batch, at most.
        domain: Name that the randomness is keyed by.
        seed: Seed that the randomness is keyed by.
        world: This process among those that train together. Batches are the same for any
            number of processes: :meth:`cuts` gives each a part of every batch,
            :meth:`cuts_in_order` some of the batches.
        crops: Random crops and flips of each image, which epochs take in turn; None for other
            ones in every epoch.
    """

    def __init__(
        self,
        images: Images,
        view: View,
        batch_size: int,
        *,
        domain: str,
        seed: int,
        world: World = ALONE,
        crops: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, at least 1 is needed")
        self.images, self.view, self.batch_size = images, view, batch_size
        self.domain, self.seed, self.world, self.crops = domain, seed, world, crops

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; they differ by at most one image in size."""
        return -(-len(self.images) // self.batch_size)

    def cuts(self, epoch: int, first_step: int = 0) -> Iterator[Cut]:
        """Yields the batches of an epoch: every image once, shuffled, cropped and flipped.

        Args:
            epoch: Number of the epoch.
            first_step: Number of batches to leave out at the start, which costs nothing.

        Raises:
            UsageError: There are more processes than images in a batch.
        """
        count, steps = len(self.images), self.steps_per_epoch
        if self.world.size > 1 and count < steps * self.world.size:
            raise UsageError(
                f"{self.domain}: a batch of {count // steps} images cannot be divided among"
                f" {self.world.size} processes: start fewer, or --set a larger batch_size"
            )
        order = generator(self.seed, self.domain, epoch, "order").permutation(count)
        draw = self._draw(self.draw_of(epoch))
        for step in range(first_step, steps):
            # Nearly equal batches: a last batch of one image would break batch norm.
            index = order[count * step // steps : count * (step + 1) // steps]
            yield self._cut(index, step, draw, self.world)

    @property
    def one_size(self) -> bool:
        """Whether an image is cropped to the same size in every batch."""
        heights, widths = self.images.heights, self.images.widths
        equal = bool((heights == heights[0]).all() and (widths == widths[0]).all())
        return self.view.crop is not None or equal

    def draw_of(self, epoch: int) -> int:
        """Returns the number of the crops that an epoch takes."""
        return epoch if self.crops is None else epoch % self.crops

    def cuts_of(self, draw: int, batch_size: int) -> Iterator[Cut]:
        """Yields all images in order, cropped and flipped as in the epochs of a draw.

        Args:
            draw: Number of the crops.
            batch_size: Images in every batch but the last.
        """
        return self._in_order(self._draw(draw), batch_size)

    def cuts_in_order(self, batch_size: int | None = None) -> Iterator[Cut]:
        """Yields batches for evaluation: every image once, in order, cropped at the centre.

        Several processes take whole batches in turn, so that a network whose predictions depend
        on the batch predicts the same as in one process.

        Args:
            batch_size: Images in every batch but the last; None for the usual number.
        """
        size = self.batch_size if batch_size is None else batch_size
        for cut in self._in_order(Draw(self._rectangles(None)), size):
            if cut.step % self.world.size == self.world.rank:
                yield cut

    def _in_order(self, draw: Draw, size: int) -> Iterator[Cut]:
        for step, start in enumerate(range(0, len(self.images), size)):
            index = np.arange(start, min(start + size, len(self.images)))
            yield self._cut(index, step, draw)

    def _draw(self, number: int) -> Draw:
        count, rectangles = len(self.images), self._rectangles(number)
        position = mirror = None
        if self.view.random and rectangles is None:
            crops = generator(self.seed, self.domain, number, "crop")
            position = crops.random((count, 2), np.float32)
        if self.view.flip:
            mirror = generator(self.seed, self.domain, number, "flip").random(count) < 0.5
        return Draw(rectangles, position, mirror)

    def _rectangles(self, draw: int | None) -> Int64 | None:
        """Returns each image's rectangle that is resized, int64 (n, 4); None if none is.

        Args:
            draw: Number of the crops, or None in evaluation.
        """
        images = self.images
        if self.view.box:
            return boxed(images.boxes, images.heights, images.widths)
        if self.view.scale is None or draw is None:
            return None
        crops = generator(self.seed, self.domain, draw, "resized crop")
        return random_resized(images.heights, images.widths, self.view.scale, crops)

    def _cut(self, index: Int64, step: int, draw: Draw, world: World = ALONE) -> Cut:
        heights, widths = self.images.heights[index], self.images.widths[index]
        crop = self.view.crop
        high, wide = (crop, crop) if crop else (int(heights.min()), int(widths.min()))
        part, whole = world.part(len(index)), len(index)
        index, heights, widths = index[part], heights[part], widths[part]
        flips = np.zeros(len(index), np.bool_) if draw.mirror is None else draw.mirror[index]
        share = len(index) / whole
        if draw.rectangles is not None:
            corner, extent = np.split(draw.rectangles[index], 2, axis=1)
            return Cut(index, corner, extent, flips, high, wide, step, share)
        spare = np.stack([heights - high, widths - wide], axis=1)
        # Half of an odd remainder is rounded to even, as torchvision's CenterCrop does.
        centre = np.rint(spare / 2).astype(np.int64)
        if draw.position is None:
            corner = centre
        else:
            # float64: with float32 the product could round up to spare + 1.
            room = np.maximum(spare, 0) + 1
            corner = np.floor(draw.position[index].astype(np.float64) * room).astype(np.int64)
            corner = np.where(spare < 0, centre, corner)
        return Cut(index, corner, None, flips, high, wide, step, share)

    def gather(self, cut: Cut) -> Uint8:
        """Reads a batch from the memory map; rectangles are resized on the CPU.

        Returns:
            uint8 (N, H, W, 3), contiguous.
        """
        high, wide = cut.height, cut.width
        if cut.extent is not None:
            return resized([*self._cutouts(cut)], high, wide, cut.flips)
        out = np.empty((len(cut.index), high, wide, 3), np.uint8)
        heights, widths = self.images.heights[cut.index], self.images.widths[cut.index]
        rows = zip(
            self._whole(cut.index),
            cut.corner.tolist(),
            cut.flips.tolist(),
            out.view("V3")[..., 0],
            ((heights < high) | (widths < wide)).tolist(),
            strict=True,
        )
        for image, (top, left), flip, target, pad in rows:
            if pad:
                part = _padded(image, high, wide, top, left)
            else:
                part = image[top : top + high, left : left + wide]
            target[...] = part[:, ::-1] if flip else part
        return out

    def packed(self, cut: Cut) -> Uint8:
        """Reads a batch's rectangles from the memory map, one after the other, as they are stored.

        Returns:
            uint8 (pixels, 3).
        """
        assert cut.extent is not None, "these are crops as stored"
        ends = cut.extent.prod(axis=1).cumsum()
        out = np.empty((ends[-1], 3), np.uint8)
        targets = np.split(out.view("V3")[:, 0], ends[:-1])
        for part, target in zip(self._cutouts(cut), targets, strict=True):
            target.reshape(part.shape)[...] = part
        return out

    def _cutouts(self, cut: Cut) -> Iterator[npt.NDArray[np.void]]:
        """Yields a batch's rectangles on the memory map, (height, width), three bytes a pixel."""
        assert cut.extent is not None, "these are crops as stored"
        rows = zip(self._whole(cut.index), cut.corner.tolist(), cut.extent.tolist(), strict=True)
        for image, (top, left), (high, wide) in rows:
            yield image[top : top + high, left : left + wide]

    def _whole(self, index: Int64) -> Iterator[npt.NDArray[np.void]]:
        """Yields whole images on the memory map, (height, width), three bytes a pixel."""
        shards = self.images.rows
        rows = zip(
            self.images.shard[index].tolist(),
            (self.images.offsets[index] // 3).tolist(),
            self.images.heights[index].tolist(),
            self.images.widths[index].tolist(),
            strict=True,
        )
        for shard, start, height, width in rows:
            yield shards[shard][start : start + height * width].reshape(height, width)


def _padded(
    image: npt.NDArray[np.void], high: int, wide: int, top: int, left: int
) -> npt.NDArray[np.void]:
    """Crops (high, wide) pixels from a smaller image, repeating its edge pixels.

    A negative ``top`` or ``left`` puts the image inside the crop.
    """
    rows = np.clip(np.arange(top, top + high), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + wide), 0, image.shape[1] - 1)
    return image[rows][:, columns]
