"""Archives to shards: reads image archives as a stream, decodes in several processes."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from decathlon.data.build import Build, Written
from decathlon.data.decode import ARCHIVE_PIXELS, ImageError, declared_size, stored_size
from decathlon.data.manifest import SourceEntry
from decathlon.data.plan import NameIndex
from decathlon.data.pool import Pool
from decathlon.data.streams import Hashed, unpacked
from decathlon.data.tar import Member, Tar
from decathlon.data.work import Work
from decathlon.domains import ARCHIVES
from decathlon.errors import DataError
from decathlon.progress import Bar, progress

BATCH_IMAGES = 64
BATCH_BYTES = 1 << 19
LARGEST_IMAGE = 32 << 20
"""Bytes of an image file; an official one takes under 100 kB."""
LARGEST_SKIPPED = 1 << 33
"""Bytes of a member that is passed over."""

_Task = tuple[Build, Written, str]
"""A shard, an image on its way to it, and where that was read, for messages."""


class Converter:
    """Takes the images of some splits out of one archive and builds their shards.

    Args:
        archive: The archive.
        works: Domains whose images it holds, begun.
        pool: The decoding processes.
        bar: Told of every image.
    """

    def __init__(
        self,
        archive: Path,
        works: Sequence[Work],
        pool: Pool,
        bar: Bar,
    ) -> None:
        self.archive, self.pool, self.bar = archive, pool, bar
        self.tars = {f"{work.plan.name}.tar" for work in works}
        keys = [(work, split) for work in works for split in work.plan.splits]
        self.index = NameIndex([work.plan.splits[split] for work, split in keys])
        self.tolerance = works[0].plan.tolerance
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
        self._clear()

    def run(self) -> SourceEntry:
        """Reads the archive to its end; every image is written when this returns.

        Raises:
            DataError: The archive is damaged or lacks an image, an image cannot be
                decoded, or the disk is full.
        """
        with self.archive.open("rb") as file:
            source = Hashed(file)
            stream = unpacked(source, self.archive.name)
            self._tar(Tar(stream, self.archive.name), nested=False)
            self._submit()
            self.pool.drain()
            while stream.read(1 << 20):
                pass
            sha256 = source.finish()
        self._complete()
        return source_entry(self.archive.name, source.count, sha256)

    def _tar(self, tar: Tar, nested: bool) -> None:
        for member in tar.members():
            if member.kind == "file" and not nested and member.name in self.tars:
                self._tar(Tar(tar.open(), f"{tar.where}: {member.name}"), nested=True)
                continue
            image = self.index.find(member.name)
            if image is not None:
                self._image(tar, member, image)
            elif member.kind == "file" and member.size > LARGEST_SKIPPED:
                raise DataError(
                    f"{tar.where}: {member.name!r} declares {member.size} bytes;"
                    " this is no official archive, fetch it again"
                )

    def _image(self, tar: Tar, member: Member, image: int) -> None:
        where = f"{tar.where}: {member.name}"
        if member.kind != "file":
            raise DataError(f"{where}: is a {member.kind}, not an image; fetch the archive again")
        if self.index.seen[image]:
            raise DataError(f"{where}: is there twice; fetch the archive again")
        if member.size > LARGEST_IMAGE:
            raise DataError(f"{where}: declares {member.size} bytes (limit {LARGEST_IMAGE})")
        self.index.seen[image] = 1
        k = bisect_right(self.starts, image) - 1
        build, index = self.builds[k], image - self.starts[k]
        if build is None or build.done[index]:
            self.bar.advance()
            return
        self._add(build, index, where, tar.read())

    def _add(self, build: Build, index: int, where: str, data: bytes) -> None:
        try:
            height, width = declared_size(data, ARCHIVE_PIXELS)
        except ImageError as error:
            raise DataError(f"{where}: {error}; fetch the archive again") from None
        size = stored_size(height, width, self.tolerance)
        path, offset, spilled = build.place(index, *size)
        files = self._header["files"]
        if str(path) not in files:
            files.append(str(path))
        self._header["images"].append((files.index(str(path)), offset, *size, len(data)))
        resized = size != (height, width)
        self._batch.append((build, Written(index, 0, *size, spilled, resized), where))
        self._data.append(data)
        self._bytes += len(data)
        if len(self._batch) >= BATCH_IMAGES or self._bytes >= BATCH_BYTES:
            self._submit()

    def _clear(self) -> None:
        self._batch, self._data, self._bytes = [], [], 0
        self._header = {"limit": ARCHIVE_PIXELS, "files": [], "images": []}

    def _submit(self) -> None:
        if not self._batch:
            return
        batch = self._batch

        def reply(answer: dict[str, Any]) -> None:
            if "image" in answer:
                where = batch[answer["image"]][2]
                raise DataError(f"{where}: {answer['error']}; fetch the archive again")
            if "errno" in answer:
                raise OSError(answer["errno"], answer["error"])
            _record(batch, answer["crc32"])
            self.bar.advance(len(batch))

        self.pool.submit(self._header, b"".join(self._data), reply)
        self._clear()

    def _complete(self) -> None:
        missing = self.index.seen.count(0)
        if missing:
            image = self.index.seen.index(0)
            more = f" (and {missing - 1} more)" if missing > 1 else ""
            raise DataError(
                f"{self.archive.name}: lacks the image {self.index.name(image).decode()!r}{more},"
                f" which {self.index.where(image)} names; the archive and the devkit do not"
                " belong together or one is damaged: fetch both again"
            )


def _record(batch: list[_Task], crc32: list[int]) -> None:
    by_build: dict[Build, list[Written]] = {}
    for (build, image, _), value in zip(batch, crc32, strict=True):
        by_build.setdefault(build, []).append(replace(image, crc32=value))
    for build, images in by_build.items():
        build.record(images)


def source_entry(name: str, size: int, sha256: str) -> SourceEntry:
    """Returns the record of a source file, compared with the official one of that name."""
    official = any(a.file == name and (a.size, a.sha256) == (size, sha256) for a in ARCHIVES)
    return SourceEntry(file=name, size=size, sha256=sha256, official=official)


def convert(
    archive: Path,
    works: Sequence[Work],
    jobs: int,
) -> SourceEntry:
    """Builds the shards of some domains from one archive.

    Args:
        archive: The archive.
        works: Domains whose images it holds, begun.
        jobs: Decoding processes, 0 to decode in this one.

    Returns:
        What the archive was.

    Raises:
        DataError: See :meth:`Converter.run`.
    """
    total = sum(len(notes) for work in works for notes in work.plan.splits.values())
    with Pool(jobs) as pool, progress(f"decoding {archive.name}", total, "images") as bar:
        return Converter(archive, works, pool, bar).run()
