"""One shard under construction: images arrive in any order, the file appears whole."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from decathlon.data.manifest import ShardEntry
from decathlon.data.plan import ShardPlan
from decathlon.data.shard import Columns, check, create, open_shard
from decathlon.errors import DataError


class Build:
    """A shard that is being written beside its final name.

    Pixels go straight to their final place as long as images have the size that the
    annotations say. An image of another size goes to a spill file, and the shard is
    laid out anew from the true sizes when all have come.

    Args:
        folder: The domain's folder.
        plan: The shard.
    """

    def __init__(self, folder: Path, plan: ShardPlan) -> None:
        self.plan = plan
        self.path = folder / plan.file
        self.part = folder / f"{plan.file}.part"
        self.spill = folder / f"{plan.file}.spill.part"
        count = len(plan.columns.height)
        self.done = bytearray(count)
        self.height = plan.columns.height.tolist()
        self.width = plan.columns.width.tolist()
        self.crc32 = [0] * count
        self.at = plan.columns.offset.tolist()
        self.spilled: dict[int, int] = {}
        self._spill_end = 0
        self.resize = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.start = create(self.part, plan.header, plan.columns)

    def place(self, index: int, height: int, width: int) -> tuple[Path, int]:
        """Returns the file and the offset in it where an image's pixels belong."""
        if (height, width) == (self.height[index], self.width[index]):
            return self.part, self.start + self.at[index]
        if not self._spill_end:
            self.spill.touch()
        self.height[index], self.width[index] = height, width
        self.spilled[index] = self._spill_end
        self._spill_end += 3 * height * width
        return self.spill, self.spilled[index]

    def record(self, index: int, crc32: int) -> None:
        """Notes that an image's pixels have been written."""
        self.crc32[index] = crc32
        self.done[index] = 1

    def finish(self) -> ShardEntry:
        """Completes the file beside its final name, reads it back and checks it.

        Raises:
            DataError: What was read is not what was written (a failing disk).
        """
        columns = Columns(
            height=np.array(self.height, np.int64),
            width=np.array(self.width, np.int64),
            label=self.plan.columns.label,
            image_id=self.plan.columns.image_id,
            crc32=np.array(self.crc32, np.int64),
        )
        if self.spilled or self.resize:
            self._lay_out(columns)
        else:
            shard = open_shard(self.part)
            with self.part.open("r+b") as file:
                file.seek(shard.columns_at["crc32"])
                file.write(columns.crc32.astype(np.uint32).tobytes())
        shard = open_shard(self.part)
        found = check(shard)
        if found.damaged:
            raise DataError(
                f"{self.part}: image {found.damaged[0]} read back differs from what was written;"
                " check the disk and run 'decathlon prepare' again"
            )
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
        name = f"{self.path.parent.name}/{self.path.name}"
        size = self.part.stat().st_size
        return ShardEntry(file=name, num_images=len(shard), size=size, sha256=found.sha256)

    def publish(self) -> None:
        """Gives the finished file its final name."""
        self.part.replace(self.path)
        self.discard()

    def discard(self) -> None:
        """Removes what is temporary."""
        self.part.unlink(missing_ok=True)
        self.spill.unlink(missing_ok=True)

    def _lay_out(self, columns: Columns) -> None:
        """Copies the pixels to a new file that is laid out by the images' true sizes."""
        laid = self.part.with_name(f"{self.path.name}.laid.part")
        header = replace(self.plan.header, resize=self.resize)
        start = create(laid, header, columns)
        sizes = (3 * columns.height * columns.width).tolist()
        if not self._spill_end:
            self.spill.touch()
        with self.part.open("rb") as part, self.spill.open("rb") as spill, laid.open("r+b") as out:
            out.seek(start)
            for index, size in enumerate(sizes):
                spilled = index in self.spilled
                file = spill if spilled else part
                file.seek(self.spilled[index] if spilled else self.start + self.at[index])
                out.write(file.read(size))
        laid.replace(self.part)
        self.spill.unlink()
