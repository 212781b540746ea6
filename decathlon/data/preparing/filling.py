"""Fills shards: reads images in the order of their source, has them decoded, records the result."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from decathlon.common.errors import DataError, listed
from decathlon.common.progress import progress
from decathlon.data.image import ImageError
from decathlon.data.manifest import SourceEntry
from decathlon.data.preparing.decoding import Pool
from decathlon.data.preparing.domain_job import DomainJob
from decathlon.data.preparing.shard_writer import ShardWriter
from decathlon.data.sources.name_index import NameIndex
from decathlon.data.sources.supply import Supplied, Supply

BATCH_IMAGES = 64
BATCH_BYTES = 1 << 19
FLUSH_SECONDS = 0.3
"""Seconds between two times that written pixels are brought to the disk."""


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


class BrokenError(DataError):
    """Image files that cannot be used.

    Attributes:
        images: Why, by name.
    """

    def __init__(self, problems: Sequence[Broken]) -> None:
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


@dataclass
class _Batch:
    """Images of one shard on their way to a decoding process.

    Attributes:
        writer: The shard.
        supply: Where the images come from.
        sizes: (height, width) of each if they differ from the annotated sizes.
        images: Of each: its number in the index, its position in the shard, where it was read
            (for messages), the image file.
        num_bytes: Of all image files.
    """

    writer: ShardWriter
    supply: Supply
    sizes: list[tuple[int, int]] | None = None
    images: list[tuple[int, int, str, bytes]] = field(default_factory=list)
    num_bytes: int = 0

    @property
    def full(self) -> bool:
        return len(self.images) >= BATCH_IMAGES or self.num_bytes >= BATCH_BYTES


class Filling:
    """Writes the pixels of all images of some domains.

    Args:
        jobs: The domains, begun.
        side: Short side of stored images in pixels.
        pool: The decoding processes.

    Attributes:
        remarks: Number of images by domain and by remark on their decoding.
    """

    def __init__(self, jobs: Sequence[DomainJob], side: int, pool: Pool) -> None:
        self._side, self._pool = side, pool
        splits = [(job, split) for job in jobs for split in job.plan.splits]
        self._index = NameIndex([job.plan.splits[split] for job, split in splits])
        # The index goes through the shards one after the other.
        self._starts: list[int] = []
        self._writers: list[ShardWriter | None] = []
        first = 0
        for job, split in splits:
            for writer, shard in zip(job.writers[split], job.shards[split], strict=True):
                self._starts.append(first)
                self._writers.append(writer)
                first += len(shard.columns.height)
        self.remarks: Counter[tuple[str, str]] = Counter()
        self._broken: list[Broken] = []
        self._open: dict[ShardWriter, _Batch] = {}
        self._other_sizes: list[_Batch] = []

    def run(self, supplies: Sequence[Supply]) -> list[SourceEntry]:
        """Reads all supplies; every image is written when this returns.

        Args:
            supplies: Where the images are.

        Returns:
            What each supply was.

        Raises:
            BrokenError: Images cannot be decoded: all of a folder's, the first of an archive's.
            DataError: A supply is damaged or an image is missing.
            OSError: Pixels cannot be written.
        """
        title, total = f"decoding {supplies[0].name}", len(self._index)
        writers = [writer for writer in self._writers if writer is not None]
        with _flushing(writers), progress(title, total, "images") as self._bar:
            for supply in supplies:
                for found in supply.images(self._index):
                    self._take(supply, found)
                for writer in list(self._open):
                    self._send(self._open.pop(writer))
            self._pool.drain()
            self._send_other_sizes()
            self._pool.drain()
            if self._broken:
                raise BrokenError(sorted(self._broken, key=lambda problem: problem.name))
            self._check_complete(supplies)
            return [supply.source() for supply in supplies]

    def _take(self, supply: Supply, found: Supplied) -> None:
        """Adds an image to the batch of its shard, unless it is written already."""
        self._index.seen[found.image] = 1
        k = bisect_right(self._starts, found.image) - 1
        writer, position = self._writers[k], found.image - self._starts[k]
        if writer is None or writer.done.item(position):
            self._bar.advance()
            return
        try:
            data = found.read()
        except ImageError as error:
            self._refuse(supply, found.image, found.where, str(error))
            return
        batch = self._open.get(writer)
        if batch is None:
            batch = self._open[writer] = _Batch(writer, supply)
        batch.images.append((found.image, position, found.where, data))
        batch.num_bytes += len(data)
        if batch.full:
            self._send(self._open.pop(writer))
            self._send_other_sizes()

    def _send_other_sizes(self) -> None:
        while self._other_sizes:
            self._send(self._other_sizes.pop())

    def _send(self, batch: _Batch) -> None:
        """Has a batch decoded; its answer is recorded when it comes."""
        numbers, positions, where, files = zip(*batch.images, strict=True)
        file, offsets, images = batch.writer.reserve(positions, batch.sizes)
        columns = (offsets.tolist(), images["height"].tolist(), images["width"].tolist())
        supply = batch.supply
        header = {
            "side": self._side,
            **supply.rule._asdict(),
            "file": str(file),
            "images": list(zip(*columns, map(len, files), strict=True)),
        }
        boxes = batch.writer.plan.boxes
        if boxes is not None:
            header["boxes"] = boxes[list(positions)].tolist()

        def reply(answer: dict[str, Any]) -> None:
            if "errno" in answer:
                raise OSError(answer["errno"], answer["error"])
            batch.writer.record(images, answer["crc32"], answer["resized"], answer["boxes"])
            for k, reason in answer["broken"]:
                self._refuse(supply, numbers[k], where[k], reason)
            for remark, count in answer["remarks"].items():
                self.remarks[batch.writer.plan.header.domain, remark] += count
            others = answer["others"]
            self._bar.advance(len(files) - len(others))
            if others:
                sizes = [(height, width) for _, height, width in others]
                left = [batch.images[k] for k, _, _ in others]
                self._other_sizes.append(_Batch(batch.writer, supply, sizes, left))

        self._pool.submit(header, files, reply)

    def _refuse(self, supply: Supply, image: int, where: str, reason: str) -> None:
        """Notes an image that cannot be used; a damaged archive is read no further."""
        problem = Broken(self._index.name(image), where, reason, supply.mend)
        if not supply.apart:
            raise BrokenError([problem])
        self._broken.append(problem)

    def _check_complete(self, supplies: Sequence[Supply]) -> None:
        missing = self._index.seen.count(0)
        if missing:
            image = self._index.seen.index(0)
            more = f" (and {missing - 1} more)" if missing > 1 else ""
            names = " and ".join(supply.name for supply in supplies)
            raise DataError(
                f"{names}: lacks the image {self._index.name(image).decode()!r}{more},"
                f" which {self._index.where(image)} names; images and annotations do not"
                " belong together or one is damaged: fetch both again"
            )


@contextmanager
def _flushing(writers: Sequence[ShardWriter]) -> Iterator[None]:
    """Keeps the disk writing while images are decoded, so that little is left at the end.

    Raises:
        OSError: Written pixels could not be brought to the disk.
    """
    stop = Event()
    failed: list[OSError] = []

    def flush() -> None:
        while not failed and not stop.wait(FLUSH_SECONDS):
            try:
                for writer in writers:
                    writer.flush()
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
