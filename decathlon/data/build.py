"""One shard under construction: images arrive in any order, the file appears whole.

Beside the shard's final name there are, until it is done,

* ``<name>.part``: the shard itself, pixels in place;
* ``<name>.spill.part``: pixels of images whose size is not the annotated one;
* ``<name>.journal.part``: which images have been written, with their checksums, so
  that an interrupted call is continued.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import h5py
import numpy as np

from decathlon.data.manifest import ShardEntry
from decathlon.data.plan import ShardPlan
from decathlon.data.shard import Columns, check, create, open_shard
from decathlon.data.statistics import Sums
from decathlon.errors import DataError
from decathlon.files import digest_of

_RECORD = struct.Struct("<IIHHqI")
IN_PLACE = -1
"""Where an image is that is not in the spill file."""


class Written(NamedTuple):
    """An image whose pixels have been written.

    Attributes:
        position: In the shard.
        crc32: Checksum of its pixels.
        height: In pixels.
        width: In pixels.
        spilled: Where it begins in the spill file, -1 where it is in its place.
        resized: Whether it was resized.
    """

    position: int
    crc32: int
    height: int
    width: int
    spilled: int = IN_PLACE
    resized: bool = False

    def pack(self) -> bytes:
        """Returns the record that the journal keeps."""
        return _RECORD.pack(*self)

    @classmethod
    def unpack(cls, record: bytes) -> Self:
        """Returns what a record of the journal says."""
        position, crc32, height, width, spilled, resized = _RECORD.unpack(record)
        return cls(position, crc32, height, width, spilled, bool(resized))


class Build:
    """A shard that is being written beside its final name.

    Pixels go straight to their final place as long as images have the size that the
    annotations say. An image of another size goes to the spill file, and the shard is
    laid out anew from the true sizes when all have come.

    Args:
        folder: The domain's folder.
        plan: The shard.
        source: What the pixels depend on besides the plan: archive, library versions.
            What an earlier call left is continued if it was made from the same.
        summed: Whether the pixels are added up when the finished file is read back.

    Attributes:
        done: One byte an image, 1 where its pixels have been written.
        resized: Whether any image was resized.
        sums: The sums of the finished file's pixels, None where they are not wanted.
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
        self.done = bytearray(self._count)
        self.resized = False
        self._height, self._width = plan.columns.height.copy(), plan.columns.width.copy()
        self._crc32 = np.zeros(self._count, np.int64)
        self._spilled: dict[int, int] = {}
        self._spill_end = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._published = self._adopt()
        if self._published is None and not self._resume():
            self._begin()

    def places(self, positions: list[int]) -> list[tuple[int, int, int]]:
        """Returns where images go whose sizes are the annotated ones.

        Args:
            positions: Of the images in the shard.

        Returns:
            For each (offset of its pixels in the file :attr:`part`, height, width).
        """
        columns = self.plan.columns
        offsets = (self._start + self._at[positions]).tolist()
        sizes = columns.height[positions].tolist(), columns.width[positions].tolist()
        return list(zip(offsets, *sizes, strict=True))

    def spilled(self, height: int, width: int) -> int:
        """Makes room for an image of another size; returns its offset in :attr:`spill`."""
        place = self._spill_end
        self._spill_end += 3 * height * width
        return place

    def flush(self) -> None:
        """Sees to it that pixels that have been written so far are on the disk."""
        if self._published is None:
            with self.part.open("rb") as written:
                os.fdatasync(written.fileno())

    def record(self, images: Iterable[Written]) -> None:
        """Notes that pixels have been written, in memory and in the journal."""
        images = list(images)
        for image in images:
            self._note(image)
        with self.journal.open("ab", buffering=0) as file:
            file.write(b"".join(image.pack() for image in images))

    def finish(self, resize: str) -> ShardEntry:
        """Completes the file beside its final name, reads it back and checks it.

        Args:
            resize: Library and version to be recorded if an image was resized.

        Raises:
            DataError: What was read is not what was written (a failing disk).
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
        file = self._lay_out(columns) if self._spilled else self.part
        with h5py.File(file, "r+") as shard:
            shard["crc32"][...] = columns.crc32.astype(np.uint32)
            if self.resized:
                shard.attrs.modify("resize", np.bytes_(resize))
        entry = self._entry(file)
        if entry is None:
            raise DataError(
                f"{file}: what was read back differs from what was written;"
                " check the disk and run 'decathlon prepare' again"
            )
        with file.open("rb") as written:
            os.fsync(written.fileno())
        return entry

    def publish(self) -> None:
        """Gives the finished file its final name; the journal stays until the end."""
        if self._published is None:
            (self._laid if self._spilled else self.part).replace(self.path)

    def clean(self) -> None:
        """Removes what is temporary."""
        for path in (self.part, self.spill, self._laid, self.journal):
            path.unlink(missing_ok=True)

    def _begin(self) -> None:
        self.clean()
        self._start = create(self.part, self.plan.header, self.plan.columns)
        self.spill.touch()
        self.journal.write_bytes(self._identity)

    def _note(self, image: Written) -> None:
        k = image.position
        self.done[k] = 1
        self.resized = self.resized or image.resized
        self._crc32[k], self._height[k], self._width[k] = image.crc32, image.height, image.width
        if image.spilled != IN_PLACE:
            self._spilled[k] = image.spilled
            end = image.spilled + 3 * image.height * image.width
            self._spill_end = max(self._spill_end, end)

    def _entry(self, path: Path) -> ShardEntry | None:
        """Reads a finished shard back; None where it is not whole."""
        self.sums = Sums() if self._summed else None
        found = check(open_shard(path), self.sums.add if self.sums else None)
        if found.damaged:
            return None
        name = f"{self.path.parent.name}/{self.path.name}"
        size = path.stat().st_size
        return ShardEntry(file=name, num_images=self._count, size=size, sha256=found.sha256)

    def _journal(self) -> bytes | None:
        """Returns the records of an earlier call that made the same, None without one."""
        if not self.journal.is_file():
            return None
        text = self.journal.read_bytes()
        known = len(self._identity)
        return text[known:] if text[:known] == self._identity else None

    def _adopt(self) -> ShardEntry | None:
        """Takes over a shard that an earlier call published before it was killed."""
        if self._journal() is None or self.part.exists() or not self.path.is_file():
            return None
        try:
            entry = self._entry(self.path)
        except DataError:
            return None
        if entry is not None:
            self.done = bytearray(b"\1") * self._count
        return entry

    def _resume(self) -> bool:
        """Takes over the images that an earlier call has written; checks each."""
        records = self._journal()
        if records is None or not self.part.is_file() or not self.spill.is_file():
            return False
        try:
            self._start = open_shard(self.part).start
        except DataError:
            return False
        whole = len(records) - len(records) % _RECORD.size
        kept = []
        with self.part.open("rb") as part, self.spill.open("rb") as spill:
            for at in range(0, whole, _RECORD.size):
                image = Written.unpack(records[at : at + _RECORD.size])
                if image.position >= self._count:
                    continue
                in_place = image.spilled == IN_PLACE
                file = part if in_place else spill
                file.seek(
                    self._start + self._at.item(image.position) if in_place else image.spilled
                )
                if zlib.crc32(file.read(3 * image.height * image.width)) == image.crc32:
                    kept.append(image)
        for image in kept:
            self._note(image)
        # Without what was half written, so that the records stay aligned.
        self.journal.write_bytes(self._identity + b"".join(image.pack() for image in kept))
        return True

    def _lay_out(self, columns: Columns) -> Path:
        """Copies the pixels to a new file that is laid out by the images' true sizes."""
        start = create(self._laid, self.plan.header, columns)
        sizes = (3 * columns.height * columns.width).tolist()
        with (
            self.part.open("rb") as part,
            self.spill.open("rb") as spill,
            self._laid.open("r+b") as out,
        ):
            out.seek(start)
            for index, size in enumerate(sizes):
                spilled = self._spilled.get(index)
                file = part if spilled is None else spill
                file.seek(self._start + self._at.item(index) if spilled is None else spilled)
                out.write(file.read(size))
        return self._laid
