"""Writes one shard: images arrive in any order, the finished file appears whole.

Until the shard is done, these files lie beside its final name:

* ``<name>.part``: the shard itself, pixels in place;
* ``<name>.spill.part``: pixels of images whose size is not the annotated one;
* ``<name>.journal.part``: which images have been written, with their checksums, so
  that the next call can continue;
* ``<name>.laid.part``: the shard laid out again, if images were spilled.
"""

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.data.image import RESIZE
from decathlon.data.manifest import FILE, ShardEntry
from decathlon.data.preparing.checking import check
from decathlon.data.preparing.statistics import Sums
from decathlon.data.shard import BOX, Columns, Int64, create, hdf5, open_shard
from decathlon.data.sources.plan import ShardPlan

IN_PLACE = -1
"""Offset in the spill file of an image that is not in it."""
WRITTEN = np.dtype(
    [
        ("position", "<u4"),  # in the shard
        ("crc32", "<u4"),  # of the pixels
        ("height", "<u2"),
        ("width", "<u2"),
        ("spilled", "<i8"),  # where it begins in the spill file, or IN_PLACE
        ("resized", "<u4"),  # whether it was
    ]
)
"""What is known of images whose pixels have been written, in memory and in the journal."""
BOXED = np.dtype([*WRITTEN.descr, ("box", "<f4", 4)])
"""The same of images with bounding boxes: these in stored pixels."""
Written = npt.NDArray[np.void]


class ShardWriter:
    """A shard that is being written beside its final name.

    Pixels go straight to their final position as long as images have their annotated size.
    An image of another size goes to the spill file, and when all images have arrived, the
    shard is laid out again by their true sizes.

    Args:
        folder: The domain's folder.
        plan: The shard.
        source: What the pixels depend on besides the plan: archive, library versions. Files
            that an earlier call left are continued if they have the same plan and source.
        summed: True to add up the pixels when the finished file is read back.

    Attributes:
        done: uint8 (n,), 1 where an image's pixels have been written.
        resized: True if any image was resized.
        sums: The sums of the finished file's pixels, if ``summed``.
    """

    def __init__(self, folder: Path, plan: ShardPlan, source: str, summed: bool = False) -> None:
        self.plan = plan
        self.sums: Sums | None = None
        self._summed = summed
        self.path = folder / plan.file
        self.part = folder / f"{plan.file}.part"
        self.spill = folder / f"{plan.file}.spill.part"
        self.journal = folder / f"{plan.file}.journal.part"
        self._laid = folder / f"{plan.file}.laid.part"
        self._count = len(plan.columns.height)
        self._at = plan.columns.offset
        self._identity = bytes.fromhex(digest_of([plan.digest, source]))
        self.done = np.zeros(self._count, np.uint8)
        self.resized = False
        self._dtype = WRITTEN if plan.boxes is None else BOXED
        self._written = np.zeros(self._count, self._dtype)
        self._spill_end = 0
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.path, self.part, self.spill, self.journal, self._laid):
            if path.is_dir():
                raise DataError(
                    f"{path}: is a folder in the place of a file; move it away and run"
                    " 'decathlon prepare' again"
                )
        self._published = self._adopt()
        if self._published is None and not self._resume():
            self._begin()

    def reserve(
        self, positions: Sequence[int], sizes: Sequence[tuple[int, int]] | None = None
    ) -> tuple[Path, Int64, Written]:
        """Finds room for the pixels of n images.

        Args:
            positions: Of the images in the shard.
            sizes: (height, width) of each if they differ from the annotated sizes: these
                images go to the spill file.

        Returns:
            (the file, where each image's pixels go in it in bytes, what to give to
            :meth:`record`).
        """
        images = np.zeros(len(positions), self._dtype)
        images["position"] = positions
        if sizes is None:
            columns, index = self.plan.columns, images["position"]
            images["height"], images["width"] = columns.height[index], columns.width[index]
            images["spilled"] = IN_PLACE
            return self.part, self._offsets(images), images
        images["height"], images["width"] = np.array(sizes).T
        ends = self._spill_end + np.cumsum(_sizes(images))
        images["spilled"] = ends - _sizes(images)
        self._spill_end = int(ends[-1])
        return self.spill, images["spilled"], images

    def flush(self) -> None:
        """Brings the pixels written so far to the disk."""
        if self._published is None:
            with self.part.open("rb") as written:
                _sync(written.fileno())

    def record(
        self,
        images: Written,
        crc32: Sequence[int | None],
        resized: Sequence[int],
        boxes: Sequence[Sequence[float]] = (),
    ) -> None:
        """Records which pixels have been written, in memory and in the journal.

        Args:
            images: What :meth:`reserve` returned for n images.
            crc32: The checksum of each image's pixels, None if they were not written.
            resized: Which of the n images were resized.
            boxes: Of the images that were written, in stored pixels; none if the plan has none.
        """
        images["resized"][list(resized)] = 1
        images = images[[value is not None for value in crc32]]
        images["crc32"] = [value for value in crc32 if value is not None]
        if boxes:
            images["box"] = boxes
        self._add(images)
        with self.journal.open("ab", buffering=0) as file:
            file.write(images.tobytes())

    def finish(self) -> ShardEntry:
        """Completes the file beside its final name, reads it back and checks it.

        Raises:
            DataError: The file reads back differently from what was written (a failing disk).
        """
        if self._published is not None:
            return self._published
        height, width, crc32 = (
            self._written[name].astype(np.int64) for name in ("height", "width", "crc32")
        )
        columns = replace(self.plan.columns, height=height, width=width, crc32=crc32)
        if columns.box is not None:
            columns = replace(columns, box=self._written["box"])
        file = self._lay_out(columns) if self._odd else self.part
        with hdf5(file, "r+") as shard:
            shard["crc32"][...] = columns.crc32.astype(np.uint32)
            if columns.box is not None:
                shard[BOX][...] = columns.box
            if self.resized:
                shard.attrs.modify("resize", np.bytes_(RESIZE))
        # The disk writes what is left while it is read back, from memory.
        with file.open("rb") as written, ThreadPoolExecutor(1) as other:
            synced = other.submit(os.fsync, written.fileno())
            entry = self._entry(file)
            synced.result()
        return entry

    def publish(self) -> None:
        """Gives the finished file its final name; the journal stays until the end."""
        if self._published is None:
            (self._laid if self._odd else self.part).replace(self.path)

    def clean(self) -> None:
        """Removes what is temporary; the journal, which vouches for the rest, first."""
        for path in (self.journal, self.part, self.spill, self._laid):
            path.unlink(missing_ok=True)

    def _begin(self) -> None:
        self.clean()
        self._start = create(self.part, self.plan.header, self.plan.columns)
        self.spill.touch()
        self.journal.write_bytes(self._identity)

    @property
    def _odd(self) -> bool:
        """True if the file has to be laid out again: images were spilled."""
        return self._spill_end > 0

    def _add(self, images: Written) -> None:
        self._written[images["position"]] = images
        self.done[images["position"]] = 1
        self.resized = self.resized or bool(images["resized"].any())
        ends = images["spilled"] + _sizes(images)
        self._spill_end = max(self._spill_end, *ends[images["spilled"] != IN_PLACE].tolist(), 0)

    def _entry(self, path: Path) -> ShardEntry:
        """Reads a finished shard back.

        Raises:
            DataError: It is damaged.
        """
        self.sums = Sums() if self._summed else None
        found = check(open_shard(path), self.sums.add if self.sums else None)
        if found.damaged:
            raise DataError(
                f"{path}: what was read back differs from what was written;"
                " check the disk and run 'decathlon prepare' again"
            )
        name = f"{self.path.parent.name}/{self.path.name}"
        size = path.stat().st_size
        return ShardEntry(file=name, num_images=self._count, size=size, sha256=found.sha256)

    def _journal(self) -> Written | None:
        """Returns what an earlier call with the same plan and source wrote, None without one."""
        if not self.journal.is_file():
            return None
        raw = self.journal.read_bytes()
        known = len(self._identity)
        if raw[:known] != self._identity:
            return None
        # A record that was cut off is dropped, so that the next ones stay aligned.
        count = (len(raw) - known) // self._dtype.itemsize
        images = np.frombuffer(raw, self._dtype, count, offset=known)
        return images[images["position"] < self._count]

    def _adopt(self) -> ShardEntry | None:
        """Takes over a shard that an earlier call published before it was killed.

        The shard has to hold what the journal says: it may be of another archive, or somebody
        may have removed the temporary file.
        """
        images = self._journal()
        if images is None or self.part.exists() or not self.path.is_file():
            return None
        crc32 = np.full(self._count, -1)
        crc32[images["position"]] = images["crc32"]
        try:
            shard = open_shard(self.path)
            same = replace(shard.header, resize="") == self.plan.header
            if not same or not np.array_equal(shard.columns.crc32, crc32):
                return None
            entry = self._entry(self.path)
        except DataError:
            return None
        self._add(images)
        return entry

    def _resume(self) -> bool:
        """Takes over the images that an earlier call wrote, after checking each."""
        images = self._journal()
        if images is None or not self.part.is_file() or not self.spill.is_file():
            return False
        try:
            self._start = open_shard(self.part).start
        except DataError:
            return False
        pixels = zip(self._pixels(images), images["crc32"].tolist(), strict=True)
        kept = images[[zlib_ng.crc32(data) == crc32 for data, crc32 in pixels]]
        self._add(kept)
        self.journal.write_bytes(self._identity + kept.tobytes())
        return True

    def _offsets(self, images: Written) -> Int64:
        """Returns where images begin in the file that holds them, in bytes."""
        spilled: Int64 = images["spilled"]
        in_place = self._start + self._at[images["position"]]
        return np.where(spilled == IN_PLACE, in_place, spilled)

    def _pixels(self, images: Written) -> Iterator[bytes]:
        """Yields the pixels of images that have been written, read back."""
        in_place = (images["spilled"] == IN_PLACE).tolist()
        starts, sizes = self._offsets(images).tolist(), _sizes(images).tolist()
        with self.part.open("rb") as part, self.spill.open("rb") as spill:
            for is_in_place, start, size in zip(in_place, starts, sizes, strict=True):
                file = part if is_in_place else spill
                file.seek(start)
                yield file.read(size)

    def _lay_out(self, columns: Columns) -> Path:
        """Copies the pixels to a new file, laid out by the images' true sizes."""
        start = create(self._laid, self.plan.header, columns)
        with self._laid.open("r+b") as out:
            out.seek(start)
            out.writelines(self._pixels(self._written))
        return self._laid


_sync = getattr(os, "fdatasync", os.fsync)
"""Writes a file's data to the disk; macOS has fsync alone, which writes its times as well."""


def _sizes(images: Written) -> Int64:
    """Returns the bytes of each image's pixels."""
    sizes: Int64 = 3 * images["height"].astype(np.int64) * images["width"]
    return sizes


_SHARD = r"(?:train|val|test)(?:-\d{5}-of-\d{5})?\.h5"
_SHARDS = re.compile(_SHARD, re.ASCII)
# What decathlon.common.files.replacing adds: host and process.
_REPLACING = r"\..+\.\d+"
_TEMPORARY = re.compile(
    rf"(?:{_SHARD}(?:\.spill|\.journal|\.laid|{_REPLACING})?|{re.escape(FILE)}{_REPLACING})\.part",
    re.ASCII,
)


def temporary_files(folder: Path) -> Iterator[Path]:
    """Yields this program's temporary files in a data folder or a domain's folder."""
    return _files(folder, _TEMPORARY)


def shard_files(folder: Path) -> Iterator[Path]:
    """Yields the shards in a domain's folder, whether or not the manifest lists them."""
    return _files(folder, _SHARDS)


def _files(folder: Path, names: re.Pattern[str]) -> Iterator[Path]:
    # Other files are the user's and stay.
    if folder.is_dir():
        for path in folder.iterdir():
            if names.fullmatch(path.name) and (path.is_file() or path.is_symlink()):
                yield path
