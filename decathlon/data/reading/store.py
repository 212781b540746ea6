"""Reading prepared data: domains, splits and images on a memory map."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from decathlon.common.errors import DataError, UsageError, nearest
from decathlon.common.limits import memory
from decathlon.data.manifest import FILE, DomainEntry, Manifest, read_manifest, suite_of
from decathlon.data.preparing.verify import differences
from decathlon.data.shard import UNKNOWN, Int64, Shard, open_shard
from decathlon.suites.base import Crop
from decathlon.suites.subset import Subset

VARIABLE = "DECATHLON_DATA"
_PREPARE = (
    "prepare it with 'decathlon prepare --archives DIR --data DIR' (or draw data with"
    f" 'decathlon demo'), or name another folder with --data or {VARIABLE}"
)


def data_folder(option: Path | None = None) -> Path:
    """Returns the data folder: ``option``, else ``$DECATHLON_DATA``, else ``./data``."""
    return option if option is not None else Path(os.environ.get(VARIABLE) or "data")


READ_AHEAD = 0.5
"""Pixels are read ahead if they take at most this part of the memory."""
_BY_IMAGE = ("labels", "image_ids", "heights", "widths", "boxes", "offsets", "shard")


class Images:
    """The images of one or several splits of a domain, one after the other.

    A pickle, as a DataLoader sends to its workers, holds the paths of the shards and no pixels:
    a worker opens the same files again.

    Attributes:
        labels: int64 (n,), -1 where not known.
        image_ids: int64 (n,).
        heights: int64 (n,) in pixels.
        widths: int64 (n,) in pixels.
        offsets: int64 (n,), where each image begins in its shard's pixels, in bytes.
        shard: int64 (n,), the position of its shard in ``maps``.
        boxes: float32 (n, 4), left, top, width and height of the bounding boxes in stored pixels,
            inside the images; None if a shard has none.
        maps: The pixels of each shard, uint8 (bytes,), read-only.
        rows: The same with three bytes an element (pixels,), which numpy mirrors twice as fast.
        digests: SHA-256 by split.
    """

    def __init__(self, shards: Sequence[Shard], digests: dict[str, str]) -> None:
        self.digests = digests
        columns = [shard.columns for shard in shards]
        self.labels, self.image_ids, self.heights, self.widths = (
            np.concatenate([getattr(c, name) for c in columns])
            for name in ("label", "image_id", "height", "width")
        )
        boxes = [c.box for c in columns if c.box is not None]
        self.boxes: npt.NDArray[np.float32] | None = None
        if len(boxes) == len(columns):
            self.boxes = np.concatenate(boxes)
        self.offsets = np.concatenate([shard.offset for shard in shards])
        self.shard = np.repeat(np.arange(len(shards)), [len(shard) for shard in shards])
        # Pixels that do not fit into memory are not read ahead: shuffled reading gains nothing.
        room = memory()
        scattered = room is not None and sum(shard.size for shard in shards) > READ_AHEAD * room
        self.maps = [shard.map(scattered) for shard in shards]
        self.rows = [pixels.view("V3") for pixels in self.maps]
        self._files = [(shard.path.absolute(), shard.content) for shard in shards]
        self._positions: Int64 | None = None

    @classmethod
    def of(cls, pixels: npt.NDArray[np.uint8]) -> "Images":
        """Returns one image that is in no shard.

        Args:
            pixels: uint8 (height, width, 3), contiguous.
        """
        image = object.__new__(cls)
        image.digests, image.boxes = {}, None
        image.labels, image.image_ids = np.array([UNKNOWN]), np.zeros(1, np.int64)
        image.heights, image.widths = np.array([pixels.shape[0]]), np.array([pixels.shape[1]])
        image.offsets = image.shard = np.zeros(1, np.int64)
        image.maps = [pixels.reshape(-1)]
        image.rows = [image.maps[0].view("V3")]
        return image

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._files, self.digests, self._positions)

    def subset(self, positions: Int64) -> "Images":
        """Returns the images at some positions, in that order, on the same memory maps.

        Args:
            positions: int64 (m,), from 0. ``digests`` stay those of the splits.
        """
        chosen = object.__new__(Images)
        chosen.__dict__.update(self.__dict__)
        for name in _BY_IMAGE:
            values = getattr(self, name)
            setattr(chosen, name, None if values is None else values[positions])
        known = self._positions
        chosen._positions = positions if known is None else known[positions]
        return chosen

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """Returns one image, uint8 (height, width, 3), read-only on the memory map."""
        height, width = int(self.heights[index]), int(self.widths[index])
        start = int(self.offsets[index])
        pixels: npt.NDArray[np.uint8] = self.maps[self.shard[index]]
        return pixels[start : start + 3 * height * width].reshape(height, width, 3)


def _reopened(
    files: Sequence[tuple[Path, str]], digests: dict[str, str], positions: Int64 | None
) -> Images:
    """Opens shards again in another process.

    Raises:
        DataError: A shard is missing or damaged, or holds other images than before.
    """
    shards = [open_shard(path) for path, _ in files]
    for shard, (path, content) in zip(shards, files, strict=True):
        if shard.content != content:
            raise DataError(f"{path}: was replaced while it was in use; load the data again")
    images = Images(shards, digests)
    return images if positions is None else images.subset(positions)


class Store:
    """A folder of prepared data.

    Attributes:
        data: The folder.
        suite: The suite that it was prepared for.
        manifest: What it holds.
        domains: The same, by domain.
    """

    def __init__(self, data: Path, manifest: Manifest) -> None:
        self.data, self.suite = data, suite_of(data, manifest)
        self.manifest, self.domains = manifest, manifest.domains
        self._counts: dict[tuple[str, tuple[str, ...], Subset], int] = {}

    def domain(self, name: str) -> DomainEntry:
        """Returns the description of a prepared domain.

        Raises:
            UsageError: It is not prepared here; the nearest name is suggested.
        """
        if name not in self.domains:
            raise UsageError(
                f"no domain '{name}' in {self.data}{nearest(name, self.domains)}"
                f" (prepared: {', '.join(self.domains)})"
            )
        return self.domains[name]

    def check_splits(self, domain: str, splits: Sequence[str]) -> None:
        """Checks that a domain has some splits.

        Raises:
            UsageError: The domain is not prepared here.
            DataError: A split is not there.
        """
        found = self.domain(domain).splits
        for split in splits:
            if split not in found:
                raise DataError(
                    f"{domain} has no split '{split}' in {self.data} (it has {', '.join(found)});"
                    " choose another split, or prepare this one"
                )

    def images(self, domain: str, splits: Sequence[str], subset: Subset | None = None) -> Images:
        """Opens the images of some splits, in the order given.

        Args:
            domain: The domain.
            splits: The splits.
            subset: Only this part of the images of all the splits together.

        Raises:
            UsageError: The domain is not prepared here.
            DataError: A split is not there, or a shard is missing or damaged.
        """
        self.check_splits(domain, splits)
        info = self.domains[domain]
        shards = [shard for split in splits for shard in self._open(domain, split)]
        images = Images(shards, {split: info.splits[split].digest for split in splits})
        if subset is None:
            return images
        return images.subset(subset.of(images.labels, images.image_ids))

    def num_images(self, domain: str, splits: Sequence[str], subset: Subset | None = None) -> int:
        """Counts images, from the manifest alone unless a subset is named; see :meth:`images`."""
        if subset is None:
            return sum(self.domain(domain).splits[split].num_images for split in splits)
        key = (domain, tuple(splits), subset)
        if key not in self._counts:
            self._counts[key] = len(self.images(*key))
        return self._counts[key]

    def has_boxes(self, domain: str) -> bool:
        """Returns whether a domain has bounding boxes here, and views that cut to them."""
        known = self.suite.domains.get(domain)
        return known is not None and known.box_views is not None and self.domain(domain).boxes

    def crop_of(self, domain: str, crop: Crop) -> Crop:
        """Returns what a domain's images are cut from where ``crop`` is asked for."""
        return "box" if crop == "box" and self.has_boxes(domain) else "image"

    def _open(self, domain: str, split: str) -> list[Shard]:
        shards = []
        for listed in self.manifest.shards():
            if (listed.name, listed.split) != (domain, split):
                continue
            path = self.data / listed.shard.file
            if listed.shard.damaged is not None:
                raise DataError(f"{path}: is damaged; run 'decathlon prepare' to build it again")
            shard = open_shard(path)
            if other := differences(listed, shard):
                raise DataError(
                    f"{path}: is not the shard that {FILE} lists ({', '.join(other)});"
                    " run 'decathlon verify'"
                )
            shards.append(shard)
        return shards


def open_store(data: Path) -> Store:
    """Opens a folder of prepared data.

    Raises:
        DataError: The folder or its manifest is missing or broken.
    """
    if not data.is_dir():
        raise DataError(f"there is no data folder {data}; {_PREPARE}")
    manifest = read_manifest(data)
    if manifest is None or not manifest.domains:
        raise DataError(f"{data} holds no prepared data (no {FILE}); {_PREPARE}")
    return Store(data, manifest)
