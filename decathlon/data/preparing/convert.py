"""Images to shards: reads where they are, in order, and decodes in several processes."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import numpy as np

from decathlon.common.errors import DataError, listed
from decathlon.common.progress import Bar, progress
from decathlon.data.image import ImageError
from decathlon.data.manifest import SourceEntry
from decathlon.data.preparing.build import IN_PLACE, WRITTEN, Build
from decathlon.data.preparing.plan import NameIndex
from decathlon.data.preparing.pool import Pool
from decathlon.data.preparing.work import Work
from decathlon.data.shard import Int64
from decathlon.data.sources.supply import Supplied, Supply

BATCH_IMAGES = 64
BATCH_BYTES = 1 << 19
FLUSH_SECONDS = 0.3
"""Seconds between two times that what has been written is brought to the disk."""


class _Batch:
    """Images of one shard on their way to a decoding process.

    Attributes:
        build: The shard.
        supply: Where they come from.
        images: Positions of the images in the index.
        positions: Of the images in the shard.
        where: Where each was read, for messages.
        data: The image files.
        sizes: (height, width) of each where they are not as annotated, else None.
    """

    def __init__(
        self, build: Build, supply: Supply, sizes: list[tuple[int, int]] | None = None
    ) -> None:
        self.build, self.supply, self.sizes = build, supply, sizes
        self.images: list[int] = []
        self.positions: list[int] = []
        self.where: list[str] = []
        self.data: list[bytes] = []
        self._bytes = 0
        self._places: tuple[Int64, Int64, Int64]

    @property
    def full(self) -> bool:
        """Whether it should be sent off."""
        return len(self.data) >= BATCH_IMAGES or self._bytes >= BATCH_BYTES

    def add(self, image: int, position: int, where: str, data: bytes) -> None:
        """Adds an image."""
        self.images.append(image)
        self.positions.append(position)
        self.where.append(where)
        self.data.append(data)
        self._bytes += len(data)

    def others(self, found: list[list[int]]) -> "_Batch":
        """Returns the batch of the images that have another size: (index, height, width)."""
        batch = _Batch(self.build, self.supply, [(height, width) for _, height, width in found])
        for k, _, _ in found:
            batch.add(self.images[k], self.positions[k], self.where[k], self.data[k])
        return batch

    def header(self) -> dict[str, Any]:
        """Gives each image its place; see :meth:`decathlon.data.preparing.worker.Writer.work`."""
        if self.sizes is None:
            file, self._places = self.build.part, self.build.places(self.positions)
        else:
            file = self.build.spill
            heights, widths = np.array(self.sizes).T
            offsets = np.array([self.build.spilled(*size) for size in self.sizes])
            self._places = offsets, heights, widths
        places = [values.tolist() for values in self._places]
        return {
            "limit": self.supply.limit,
            "side": 72,
            "tolerance": self.supply.tolerance,
            "originals": self.supply.originals,
            "photographs": self.supply.photographs,
            "file": str(file),
            "images": list(zip(*places, map(len, self.data), strict=True)),
        }

    def record(self, crc32: list[int | None], resized: list[int]) -> None:
        """Notes in the shard whose pixels have been written; others have no checksum."""
        images = np.zeros(len(crc32), WRITTEN)
        offsets, images["height"], images["width"] = self._places
        images["spilled"] = IN_PLACE if self.sizes is None else offsets
        images["position"] = self.positions
        images["resized"][resized] = 1
        if None in crc32:
            images = images[[value is not None for value in crc32]]
        images["crc32"] = [value for value in crc32 if value is not None]
        self.build.record(images)


class BrokenError(DataError):
    """Image files that cannot be used.

    Attributes:
        images: Why, by name.
    """

    def __init__(self, problems: Sequence["Broken"]) -> None:
        """Lists the first files."""
        self.images = {problem.name: problem.reason for problem in problems}
        text = listed([f"{p.where}: {p.reason}" for p in problems], "\n  ")
        mend = problems[0].mend
        if len(problems) == 1:
            super().__init__(f"{text}; {mend}")
        else:
            super().__init__(
                f"{len(problems):,} images cannot be used:\n  {text}\nFor each of them: {mend}"
            )


@dataclass(frozen=True)
class Broken:
    """One image file that cannot be used.

    Attributes:
        name: As annotated.
        where: Where it was found.
        reason: Why.
        mend: What to do about it.
    """

    name: bytes
    where: str
    reason: str
    mend: str


class Converter:
    """Takes the images of some splits from where they are and builds their shards.

    Args:
        works: Domains whose images these are, begun.
        pool: The decoding processes.
        bar: Told of every image.

    Attributes:
        remarks: Number of images by domain and by what was decided in decoding them.
    """

    def __init__(self, works: Sequence[Work], pool: Pool, bar: Bar) -> None:
        self.pool, self.bar = pool, bar
        keys = [(work, split) for work in works for split in work.plan.splits]
        self.index = NameIndex([work.plan.splits[split] for work, split in keys])
        self.starts: list[int] = []
        self.builds: list[Build | None] = []
        first = 0
        for work, split in keys:
            for build, count in zip(work.builds[split], work.counts(split), strict=True):
                self.starts.append(first)
                self.builds.append(build)
                first += count
        self.remarks: Counter[tuple[str, str]] = Counter()
        self._broken: list[Broken] = []
        self._open: dict[Build, _Batch] = {}
        self._others: list[_Batch] = []

    def run(self, supplies: Sequence[Supply]) -> list[SourceEntry]:
        """Reads all there is; every image is written when this returns.

        Raises:
            BrokenError: Images cannot be decoded: all of a folder's, the first of an archive's.
            DataError: A supply is damaged or an image is lacking.
            OSError: Pixels cannot be written.
        """
        for supply in supplies:
            for found in supply.images(self.index):
                self._image(supply, found)
            for build in list(self._open):
                self._submit(self._open.pop(build))
        self.pool.drain()
        self._submit_others()
        self.pool.drain()
        if self._broken:
            raise BrokenError(sorted(self._broken, key=lambda problem: problem.name))
        self._complete(supplies)
        return [supply.source() for supply in supplies]

    def _image(self, supply: Supply, found: Supplied) -> None:
        self.index.seen[found.image] = 1
        k = bisect_right(self.starts, found.image) - 1
        build, position = self.builds[k], found.image - self.starts[k]
        if build is None or build.done.item(position):
            self.bar.advance()
            return
        try:
            data = found.read()
        except ImageError as error:
            self._break(supply, found.image, found.where, str(error))
            return
        batch = self._open.get(build)
        if batch is None:
            batch = self._open[build] = _Batch(build, supply)
        batch.add(found.image, position, found.where, data)
        if batch.full:
            self._submit(self._open.pop(build))
            self._submit_others()

    def _submit_others(self) -> None:
        while self._others:
            self._submit(self._others.pop())

    def _submit(self, batch: _Batch) -> None:
        def reply(answer: dict[str, Any]) -> None:
            if "errno" in answer:
                raise OSError(answer["errno"], answer["error"])
            others = answer["others"]
            batch.record(answer["crc32"], answer["resized"])
            for k, reason in answer["broken"]:
                self._break(batch.supply, batch.images[k], batch.where[k], reason)
            for remark, count in answer["remarks"].items():
                self.remarks[batch.build.plan.header.domain, remark] += count
            self.bar.advance(len(batch.data) - len(others))
            if others:
                self._others.append(batch.others(others))

        self.pool.submit(batch.header(), batch.data, reply)

    def _break(self, supply: Supply, image: int, where: str, reason: str) -> None:
        """Notes an image that cannot be used; a damaged archive is read no further."""
        problem = Broken(self.index.name(image), where, reason, supply.mend)
        if not supply.apart:
            raise BrokenError([problem])
        self._broken.append(problem)

    def _complete(self, supplies: Sequence[Supply]) -> None:
        missing = self.index.seen.count(0)
        if missing:
            image = self.index.seen.index(0)
            more = f" (and {missing - 1} more)" if missing > 1 else ""
            names = " and ".join(supply.name for supply in supplies)
            raise DataError(
                f"{names}: lacks the image {self.index.name(image).decode()!r}{more},"
                f" which {self.index.where(image)} names; images and annotations do not"
                " belong together or one is damaged: fetch both again"
            )


def convert(
    supplies: Sequence[Supply], works: Sequence[Work], pool: Pool
) -> tuple[list[SourceEntry], Counter[tuple[str, str]]]:
    """Builds the shards of some domains.

    Args:
        supplies: Where their images are.
        works: The domains, begun.
        pool: The decoding processes.

    Returns:
        (what each supply was, the number of images by domain and by what was decided about
        them).

    Raises:
        DataError: See :meth:`Converter.run`.
    """
    total = sum(len(notes) for work in works for notes in work.plan.splits.values())
    title = f"decoding {supplies[0].name}"
    builds = [build for work in works for build in work.all_builds()]
    with flushing(builds), progress(title, total, "images") as bar:
        converter = Converter(works, pool, bar)
        return converter.run(supplies), converter.remarks


@contextmanager
def flushing(builds: Sequence[Build]) -> Iterator[None]:
    """Keeps the disk writing while images are decoded, so that little is left at the end.

    Raises:
        OSError: What has been written could not be brought to the disk.
    """
    stop = Event()
    failed: list[OSError] = []

    def flush() -> None:
        while not failed and not stop.wait(FLUSH_SECONDS):
            try:
                for build in builds:
                    build.flush()
            except OSError as error:
                failed.append(error)

    thread = Thread(target=flush, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
