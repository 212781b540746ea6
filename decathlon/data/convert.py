"""Images to shards: reads where they are, in order, and decodes in several processes."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from decathlon.data.build import Build, Written
from decathlon.data.decode import ImageError, declared_size, stored_size
from decathlon.data.manifest import SourceEntry
from decathlon.data.plan import NameIndex
from decathlon.data.pool import Pool
from decathlon.data.supply import Supplied, Supply
from decathlon.data.work import Work
from decathlon.errors import DataError
from decathlon.progress import Bar, progress

BATCH_IMAGES = 64
BATCH_BYTES = 1 << 19

_Task = tuple[Build, Written, str]
"""A shard, an image on its way to it, and where that was read, for messages."""


class Converter:
    """Takes the images of some splits from where they are and builds their shards.

    Args:
        works: Domains whose images these are, begun.
        pool: The decoding processes.
        bar: Told of every image.
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
        self._batch: list[_Task] = []
        self._header: dict[str, Any] = {}
        self._data: list[bytes] = []
        self._bytes = 0

    def run(self, supplies: Sequence[Supply]) -> list[SourceEntry]:
        """Reads all there is; every image is written when this returns.

        Raises:
            DataError: A supply is damaged or an image is lacking or cannot be decoded.
            OSError: Pixels cannot be written.
        """
        for supply in supplies:
            self._clear(supply)
            for found in supply.images(self.index):
                self._image(supply, found)
            self._submit(supply)
        self.pool.drain()
        self._complete(supplies)
        return [supply.source() for supply in supplies]

    def _image(self, supply: Supply, found: Supplied) -> None:
        self.index.seen[found.image] = 1
        k = bisect_right(self.starts, found.image) - 1
        build, index = self.builds[k], found.image - self.starts[k]
        if build is None or build.done[index]:
            self.bar.advance()
            return
        self._add(build, index, supply, found)

    def _add(self, build: Build, index: int, supply: Supply, found: Supplied) -> None:
        data = found.read()
        try:
            height, width = declared_size(data, supply.limit)
        except ImageError as error:
            raise DataError(f"{found.where}: {error}; {supply.mend}") from None
        size = stored_size(height, width, supply.tolerance)
        if supply.originals:
            size = build.annotated(index, size)
        path, offset, spilled = build.place(index, *size)
        files = self._header["files"]
        if str(path) not in files:
            files.append(str(path))
        self._header["images"].append((files.index(str(path)), offset, *size, len(data)))
        resized = size != (height, width)
        self._batch.append((build, Written(index, 0, *size, spilled, resized), found.where))
        self._data.append(data)
        self._bytes += len(data)
        if len(self._batch) >= BATCH_IMAGES or self._bytes >= BATCH_BYTES:
            self._submit(supply)

    def _clear(self, supply: Supply) -> None:
        self._batch, self._data, self._bytes = [], [], 0
        self._header = {"limit": supply.limit, "files": [], "images": []}

    def _submit(self, supply: Supply) -> None:
        if not self._batch:
            return
        batch = self._batch

        def reply(answer: dict[str, Any]) -> None:
            if "image" in answer:
                where = batch[answer["image"]][2]
                raise DataError(f"{where}: {answer['error']}; {supply.mend}")
            if "errno" in answer:
                raise OSError(answer["errno"], answer["error"])
            _record(batch, answer["crc32"])
            self.bar.advance(len(batch))

        self.pool.submit(self._header, b"".join(self._data), reply)
        self._clear(supply)

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


def _record(batch: list[_Task], crc32: list[int]) -> None:
    by_build: dict[Build, list[Written]] = {}
    for (build, image, _), value in zip(batch, crc32, strict=True):
        by_build.setdefault(build, []).append(replace(image, crc32=value))
    for build, images in by_build.items():
        build.record(images)


def convert(supplies: Sequence[Supply], works: Sequence[Work], jobs: int) -> list[SourceEntry]:
    """Builds the shards of some domains.

    Args:
        supplies: Where their images are.
        works: The domains, begun.
        jobs: Decoding processes, 0 to decode in this one.

    Returns:
        What each supply was.

    Raises:
        DataError: See :meth:`Converter.run`.
    """
    total = sum(len(notes) for work in works for notes in work.plan.splits.values())
    title = f"decoding {supplies[0].name}"
    with Pool(jobs) as pool, progress(title, total, "images") as bar:
        return Converter(works, pool, bar).run(supplies)
