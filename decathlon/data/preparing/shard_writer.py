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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.data.manifest import FILE, ShardEntry
from decathlon.data.preparing.checking import check
from decathlon.data.preparing.statistics import Sums
from decathlon.data.shard import Columns, Int64, create, hdf5, open_shard
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
"""Images whose pixels have been written, in memory and in the journal."""
Written = npt.NDArray[np.void]


@dataclass(frozen=True)
class Slots:
    """Room in a file for the pixels of n images.

    Attributes:
        file: The file.
        positions: int64 (n,), of the images in the shard.
        offsets: int64 (n,), where their pixels go in the file, in bytes.
        heights: int64 (n,) in pixels.
        widths: int64 (n,) in pixels.
        spilled: True if the file is the spill file.
    """

    file: Path
    positions: Int64
    offsets: Int64
    heights: Int64
    widths: Int64
    spilled: bool


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
        self._height, self._width = plan.columns.height.copy(), plan.columns.width.copy()
        self._crc32 = np.zeros(self._count, np.int64)
        self._spilled = np.full(self._count, IN_PLACE, np.int64)
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
    ) -> Slots:
        """Returns where the pixels of some images go.

        Args:
            positions: Of the images in the shard.
            sizes: (height, width) of each if they differ from the annotated sizes: these
                images go to the spill file.
        """
        index = np.array(positions, np.int64)
        if sizes is None:
            columns, offsets = self.plan.columns, self._start + self._at[index]
            heights, widths = columns.height[index], columns.width[index]
            return Slots(self.part, index, offsets, heights, widths, spilled=False)
        heights, widths = np.array(sizes, np.int64).T
        ends = self._spill_end + np.cumsum(3 * heights * widths)
        offsets = np.array([self._spill_end, *ends[:-1]], np.int64)
        self._spill_end = int(ends[-1])
        return Slots(self.spill, index, offsets, heights, widths, spilled=True)

    def flush(self) -> None:
        """Brings the pixels written so far to the disk."""
        if self._published is None:
            with self.part.open("rb") as written:
                _sync(written.fileno())

    def record(self, slots: Slots, crc32: Sequence[int | None], resized: Sequence[int]) -> None:
        """Records which pixels have been written, in memory and in the journal.

        Args:
            slots: Where the pixels of n images were to go.
            crc32: The checksum of each image's pixels, None if they were not written.
            resized: Which of the n images were resized.
        """
        images = np.zeros(len(crc32), WRITTEN)
        images["position"], images["height"] = slots.positions, slots.heights
        images["width"], images["spilled"] = slots.widths, slots.offsets
        if not slots.spilled:
            images["spilled"] = IN_PLACE
        images["resized"][list(resized)] = 1
        images = images[[value is not None for value in crc32]]
        images["crc32"] = [value for value in crc32 if value is not None]
        self._add(images)
        with self.journal.open("ab", buffering=0) as file:
            file.write(images.tobytes())

    def finish(self, resize: str) -> ShardEntry:
        """Completes the file beside its final name, reads it back and checks it.

        Args:
            resize: Library and version to record if an image was resized.

        Raises:
            DataError: The file reads back differently from what was written (a failing disk).
        """
        if self._published is not None:
            return self._published
        columns = Columns(
            self._height,
            self._width,
            self.plan.columns.label,
            self.plan.columns.image_id,
            self._crc32,
        )
        file = self._lay_out(columns) if self._odd else self.part
        with hdf5(file, "r+") as shard:
            shard["crc32"][...] = columns.crc32.astype(np.uint32)
            if self.resized:
                shard.attrs.modify("resize", np.bytes_(resize))
        # The disk writes what is left while it is read back, from memory.
        with file.open("rb") as written, ThreadPoolExecutor(1) as other:
            synced = other.submit(os.fsync, written.fileno())
            entry = self._entry(file)
            synced.result()
        if entry is None:
            raise DataError(
                f"{file}: what was read back differs from what was written;"
                " check the disk and run 'decathlon prepare' again"
            )
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
        index = images["position"]
        self.done[index] = 1
        self.resized = self.resized or bool(images["resized"].any())
        self._crc32[index], self._spilled[index] = images["crc32"], images["spilled"]
        self._height[index], self._width[index] = images["height"], images["width"]
        ends = images["spilled"] + _sizes(images)
        self._spill_end = max(self._spill_end, *ends[images["spilled"] != IN_PLACE].tolist(), 0)

    def _entry(self, path: Path) -> ShardEntry | None:
        """Reads a finished shard back; None if it is damaged."""
        self.sums = Sums() if self._summed else None
        found = check(open_shard(path), self.sums.add if self.sums else None)
        if found.damaged:
            return None
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
        count = (len(raw) - known) // WRITTEN.itemsize
        images = np.frombuffer(raw, WRITTEN, count, offset=known)
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
        if entry is not None:
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
        kept = images[self._whole(images)]
        self._add(kept)
        self.journal.write_bytes(self._identity + kept.tobytes())
        return True

    def _whole(self, images: Written) -> npt.NDArray[np.bool_]:
        """Reads pixels back; returns which images are undamaged."""
        found = np.zeros(len(images), np.bool_)
        in_place = images["spilled"] == IN_PLACE
        starts = np.where(in_place, self._start + self._at[images["position"]], images["spilled"])
        rows = zip(
            in_place.tolist(),
            starts.tolist(),
            _sizes(images).tolist(),
            images["crc32"].tolist(),
            strict=True,
        )
        with self.part.open("rb") as part, self.spill.open("rb") as spill:
            for k, (is_in_place, start, size, crc32) in enumerate(rows):
                file = part if is_in_place else spill
                file.seek(start)
                found[k] = zlib_ng.crc32(file.read(size)) == crc32
        return found

    def _lay_out(self, columns: Columns) -> Path:
        """Copies the pixels to a new file, laid out by the images' true sizes."""
        start = create(self._laid, self.plan.header, columns)
        sizes = columns.size.tolist()
        spills = self._spilled.tolist()
        with (
            self.part.open("rb") as part,
            self.spill.open("rb") as spill,
            self._laid.open("r+b") as out,
        ):
            out.seek(start)
            for index, (size, spilled) in enumerate(zip(sizes, spills, strict=True)):
                in_place = spilled == IN_PLACE
                file = part if in_place else spill
                file.seek(self._start + self._at.item(index) if in_place else spilled)
                out.write(file.read(size))
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
