"""From any image file to a trained network's input, as in the trial that trained it.

An image is decoded and resized as ``prepare`` does it, and cut and normalised as in the trial's
evaluation, by the same code. What that takes is written beside the network's weights.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from decathlon.common.strict import StrictModel
from decathlon.data.image import (
    LARGEST_SIDE,
    PHOTOGRAPH_PIXELS,
    TOLERANCE,
    ImageFile,
    bicubic,
    stored_size,
    upright,
)
from decathlon.data.reading.batches import Batches
from decathlon.data.reading.normaliser import Normaliser
from decathlon.data.reading.store import Images, Store
from decathlon.suites.base import Channels, View

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Positive = Annotated[float, Field(gt=0)]


class Application(StrictModel):
    """How a trained network is applied to an image: its classes, and what is done to the image.

    Attributes:
        classes: Name by label.
        side: Short side in pixels to which images are resized.
        tolerance: Pixels by which the short side of an image may differ and it is not resized.
        crop: Side in pixels of the square that is cut out at the centre; None for whole images.
        box: True to squeeze the whole image to the crop instead, as images without a bounding box
            are with ``--crop box``.
        mean: By which images are normalised, per channel, in [0, 1].
        std: The same.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    side: Side
    tolerance: Annotated[int, Field(ge=0)] = 0
    crop: Side | None
    box: bool = False
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]

    @classmethod
    def of(
        cls, store: Store, domain: str, view: View, mean: Channels, std: Channels
    ) -> "Application":
        """Describes how networks that are evaluated on prepared data are applied.

        Args:
            store: The data.
            domain: One of its domains.
            view: How its images are cut in evaluation.
            mean: By which they are normalised.
            std: The same.

        Raises:
            UsageError: The domain is not prepared here.
        """
        suite = store.suite
        archived = suite.annotations is not None and domain in suite.domains
        return cls(
            classes=tuple(store.domain(domain).class_names),
            side=suite.side,
            tolerance=TOLERANCE if archived else 0,
            crop=view.crop,
            box=view.box,
            mean=mean,
            std=std,
        )

    def __call__(self, image: Image.Image) -> Tensor:
        """Turns an image into a network's input.

        Args:
            image: As ``PIL.Image.open`` returns it, or any other of Pillow's; it is turned
                upright by its EXIF orientation.

        Returns:
            3 x H x W, float32, normalised.

        Raises:
            ImageError: It cannot be decoded, or its colour mode is refused.
        """
        return self._input(upright(image))

    def read(self, data: bytes) -> Tensor:
        """Turns an image file into a network's input; see :meth:`__call__`.

        Args:
            data: The file's bytes.
        """
        return self._input(ImageFile(data, PHOTOGRAPH_PIXELS, photograph=True).pixels())

    def _input(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        height, width, _ = pixels.shape
        stored = bicubic(pixels, *stored_size(height, width, self.side, self.tolerance))
        view, image = View(self.crop, box=self.box), Images.of(np.ascontiguousarray(stored))
        batches = Batches(image, view, 1, domain="", seed=0)
        (cut,) = batches.cuts_in_order()
        crops = torch.from_numpy(batches.gather(cut))
        return Normaliser(self.mean, self.std, crops.device)(crops)[0]
