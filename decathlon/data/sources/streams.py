"""Files read once, from start to end: hashed and unpacked on the way."""

import hashlib
import re
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from zlib_ng import zlib_ng

from decathlon.common.errors import DataError

_CHUNK = 1 << 20
# Its stubs take the class for an instance.
_BROKEN = cast(type[Exception], zlib_ng.error)
_FIRST = 1 << 9
"""Packed bytes that a part is given first."""
_GZIP = 0x1F
"""First byte of a part; the others are looked at when it is unpacked."""
_ZEROS = re.compile(rb"\0*")
LARGEST_RATIO = 200
"""Unpacked bytes for each packed one; annotations reach 20, photographs 1."""
_FREE = 64 << 20
"""Unpacked bytes before :data:`LARGEST_RATIO` is looked at."""


class Source(Protocol):
    """Anything bytes can be read from, in order."""

    def read(self, size: int, /) -> bytes:
        """Returns ``size`` bytes, fewer only at the end."""


class Hashed:
    """A file that computes the SHA-256 of all that is read from it.

    Attributes:
        count: Bytes read so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.count = file, 0
        self._digest = hashlib.sha256()

    def chunk(self) -> bytes:
        """Returns the next bytes, none at the end."""
        data = self._file.read(_CHUNK)
        self._digest.update(data)
        self.count += len(data)
        return data

    def finish(self) -> str:
        """Reads what is left and returns the SHA-256 of the whole file, in hex."""
        while self.chunk():
            pass
        return self._digest.hexdigest()


class Buffered:
    """Reads of any size from a function that returns chunks and, at the end, nothing."""

    def __init__(self, chunk: Callable[[], bytes]) -> None:
        self._chunk = chunk
        self._buffer, self._at = b"", 0

    def read(self, size: int, /) -> bytes:
        """Returns ``size`` bytes, fewer only at the end."""
        at = self._at
        data = self._buffer[at : at + size]
        self._at = at + len(data)
        if len(data) == size:
            return data
        parts, left = [data], size - len(data)
        while left:
            self._buffer = self._chunk()
            if not self._buffer:
                break
            self._at = min(left, len(self._buffer))
            parts.append(self._buffer[: self._at])
            left -= self._at
        return b"".join(parts)


class Unzipped:
    """The unpacked bytes of a gzip file, whose checksums are checked.

    The file may have several parts, each a gzip file of its own. Whoever unpacks one gives
    back a copy of what follows it: a part is given few bytes at first and then ever more, so
    that many small ones take no longer than a large one.
    """

    def __init__(self, source: Hashed, where: str) -> None:
        self._source, self._where = source, where
        self._packed, self._at = b"", 0
        self._count, self._most = 0, _FIRST
        self._inflate = zlib_ng.decompressobj(31)

    def chunk(self) -> bytes:
        """Returns the next unpacked bytes, none at the end.

        Raises:
            DataError: The file is truncated, damaged or a bomb.
        """
        while True:
            if self._inflate.eof and not self._next_part():
                return b""
            if self._at == len(self._packed) and not self._fill():
                raise DataError(f"{self._where}: ends in the middle (truncated); fetch it again")
            packed = self._packed[self._at : self._at + self._most]
            try:
                data = self._inflate.decompress(packed, _CHUNK)
            except _BROKEN as error:
                raise DataError(f"{self._where}: damaged ({error}); fetch it again") from None
            # At the end of a part the tail may say the same once more.
            inflate = self._inflate
            left = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            self._at += len(packed) - len(left)
            self._most = min(2 * self._most, _CHUNK)
            self._count += len(data)
            if self._count > _FREE + LARGEST_RATIO * self._source.count:
                raise DataError(
                    f"{self._where}: unpacks to over {LARGEST_RATIO} times its size;"
                    " this is no archive of images, fetch the official one"
                )
            if data:
                return data

    def _begin(self) -> None:
        """Begins a part."""
        self._inflate, self._most = zlib_ng.decompressobj(31), _FIRST

    def _fill(self) -> bool:
        """Takes the next packed bytes; returns whether there are any."""
        self._packed, self._at = self._source.chunk(), 0
        return bool(self._packed)

    def _next_part(self) -> bool:
        """Goes on to a further part; zeros after the last one are padding."""
        while True:
            padding = _ZEROS.match(self._packed, self._at)
            self._at = padding.end() if padding else self._at
            if self._at < len(self._packed):
                break
            if not self._fill():
                return False
        if self._packed[self._at] != _GZIP:
            raise DataError(f"{self._where}: damaged (bytes after its end); fetch it again")
        self._begin()
        return True


def unpacked(source: Hashed, where: str) -> Buffered:
    """Returns the bytes of a file, unpacked when its name ends in ``gz``."""
    return Buffered(Unzipped(source, where).chunk if where.endswith("gz") else source.chunk)
