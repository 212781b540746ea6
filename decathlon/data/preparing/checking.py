"""Reads a whole shard: computes its digest and finds damaged images."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

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
"""Ranges of images in memory at a time, at most."""
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


def _changed(shard: Shard, data: memoryview, first: int, last: int) -> Iterator[int]:
    """Yields which of some images' pixels have another checksum."""
    columns, part = shard.columns, slice(first, last)
    starts = shard.offset[part] - shard.offset[first]
    sizes = 3 * columns.height[part] * columns.width[part]
    rows = zip(starts.tolist(), sizes.tolist(), columns.crc32[part].tolist(), strict=True)
    for k, (start, size, expected) in enumerate(rows, first):
        if zlib_ng.crc32(data[start : start + size]) != expected:
            yield k


def check(shard: Shard, also: Callable[[memoryview], None] | None = None) -> Check:
    """Reads a shard from end to end, once, in little memory.

    Args:
        shard: The shard.
        also: Called with all pixels on the way, some images at a time.
    """
    digest = sha256()
    damaged: list[int] = []

    def compare(data: memoryview, first: int, last: int) -> None:
        damaged.extend(_changed(shard, data, first, last))
        if also is not None:
            also(data)

    # Digest and checksums are computed in a thread each, outside the interpreter's lock, while
    # the next images are read. Memory is reused: new memory costs as much as the reading.
    rooms = [bytearray() for _ in range(_ROOMS)]
    users: list[list[Future[None]]] = [[] for _ in rooms]
    with (
        shard.path.open("rb") as file,
        ThreadPoolExecutor(1) as digesting,
        ThreadPoolExecutor(1) as comparing,
    ):
        digest.update(file.read(shard.start))
        for number, (first, last, length) in enumerate(_spans(shard)):
            k = number % _ROOMS
            for user in users[k]:
                user.result()
            if len(rooms[k]) < length:
                rooms[k] = bytearray(length)
            data = memoryview(rooms[k])[:length]
            if file.readinto(data) < length:
                raise DataError(f"{shard.path}: has become shorter while it was read; {MEND}")
            users[k] = [
                digesting.submit(digest.update, data),
                comparing.submit(compare, data, first, last),
            ]
        for user in chain(*users):
            user.result()
        while rest := file.read(1 << 20):
            digest.update(rest)
    return Check(digest.hexdigest(), damaged)
