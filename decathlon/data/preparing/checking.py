"""Reads a whole shard: computes its digest and finds damaged images."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path

import numpy as np
from zlib_ng import zlib_ng

from decathlon.common.errors import DataError
from decathlon.data.shard import MEND, Shard


@dataclass(frozen=True)
class Check:
    """Result of reading a whole shard.

    Attributes:
        sha256: Digest of the file.
        damaged: Positions of the images whose pixels have changed since they were written.
    """

    sha256: str
    damaged: list[int]


_ROOMS = 4
_SPAN = 1 << 21
"""Bytes of pixels that are read at once, at most, unless an image is larger."""


def _spans(shard: Shard) -> Iterator[tuple[int, int, int]]:
    """Yields ranges of consecutive images: (first, last + 1, bytes)."""
    first, ends = 0, shard.offset + shard.columns.size
    while first < len(shard):
        last = int(np.searchsorted(ends, shard.offset[first] + _SPAN, side="right"))
        last = max(last, first + 1)
        yield first, last, int(ends[last - 1] - shard.offset[first])
        first = last


def check(shard: Shard, also: Callable[[memoryview], None] | None = None) -> Check:
    """Reads a shard from end to end, once, in little memory.

    Args:
        shard: The shard.
        also: Called with all pixels on the way, some images at a time.
    """
    digest = sha256()
    damaged: list[int] = []
    size = shard.columns.size

    def compare(data: memoryview, first: int, last: int) -> None:
        offset = shard.offset[first:last]
        starts = (offset - offset[0]).tolist()
        sizes = size[first:last].tolist()
        crc = shard.columns.crc32[first:last].tolist()
        for k, (start, length) in enumerate(zip(starts, sizes, strict=True)):
            if zlib_ng.crc32(data[start : start + length]) != crc[k]:
                damaged.append(first + k)
        if also is not None:
            also(data)

    # Digest and checksums are computed in a thread each, outside the interpreter's lock, while
    # the next images are read. Memory is reused: new memory costs as much as the reading.
    with (
        shard.path.open("rb", buffering=0) as file,
        ThreadPoolExecutor(1) as digesting,
        ThreadPoolExecutor(1) as comparing,
    ):
        head = memoryview(bytearray(shard.start))
        _fill(file, head, shard.path)
        digest.update(head)
        rooms = [_Room() for _ in range(_ROOMS)]
        for number, (first, last, length) in enumerate(_spans(shard)):
            room = rooms[number % _ROOMS]
            data = room.cleared(length)
            _fill(file, data, shard.path)
            room.users.append(digesting.submit(digest.update, data))
            room.users.append(comparing.submit(compare, data, first, last))
        for room in rooms:
            room.cleared(0)
        while rest := file.read(1 << 20):
            digest.update(rest)
    return Check(digest.hexdigest(), damaged)


class _Room:
    """Memory that images are read into; threads use it until it is cleared."""

    def __init__(self) -> None:
        self._memory = bytearray()
        self.users: list[Future[None]] = []

    def cleared(self, size: int) -> memoryview:
        """Waits for the users; returns memory of a size."""
        for user in self.users:
            user.result()
        self.users.clear()
        if len(self._memory) < size:
            self._memory = bytearray(size)
        return memoryview(self._memory)[:size]


def _fill(file: FileIO, data: memoryview, path: Path) -> None:
    """Reads until ``data`` is full."""
    while data:
        count = file.readinto(data)
        if not count:
            raise DataError(f"{path}: has become shorter while it was read; {MEND}")
        data = data[count:]
