"""Files read once, from start to end: hashed and unpacked on the way."""

import hashlib
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

from zlib_ng import zlib_ng

from decathlon.errors import DataError

_CHUNK = 1 << 20
# Its stubs take the class for an instance.
_BROKEN = cast(type[Exception], zlib_ng.error)
_GZIP = b"\x1f\x8b"
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
    """The unpacked bytes of a gzip file, whose checksum is checked at its end."""

    def __init__(self, source: Hashed, where: str) -> None:
        self._source, self._where = source, where
        self._inflate = zlib_ng.decompressobj(31)
        self._packed, self._count = b"", 0

    def chunk(self) -> bytes:
        """Returns the next unpacked bytes, none at the end.

        Raises:
            DataError: The file is truncated, damaged or a bomb.
        """
        while True:
            if self._inflate.eof and not self._next_part():
                return b""
            packed = self._packed or self._source.chunk()
            if not packed:
                raise DataError(f"{self._where}: ends in the middle (truncated); fetch it again")
            try:
                data = self._inflate.decompress(packed, _CHUNK)
            except _BROKEN as error:
                raise DataError(f"{self._where}: damaged ({error}); fetch it again") from None
            self._packed = self._inflate.unconsumed_tail
            self._count += len(data)
            if self._count > _FREE + LARGEST_RATIO * self._source.count:
                raise DataError(
                    f"{self._where}: unpacks to over {LARGEST_RATIO} times its size;"
                    " this is no archive of images, fetch the official one"
                )
            if data:
                return data

    def _next_part(self) -> bool:
        """Goes on to a further gzip part; zeros after the last one are padding."""
        rest = self._inflate.unused_data
        while not rest.strip(b"\0") or len(rest) < len(_GZIP):
            more = self._source.chunk()
            if not more:
                return False
            rest = rest.lstrip(b"\0") + more
        if not rest.startswith(_GZIP):
            raise DataError(f"{self._where}: damaged (bytes after its end); fetch it again")
        self._inflate, self._packed = zlib_ng.decompressobj(31), rest
        return True


def unpacked(source: Hashed, where: str) -> Buffered:
    """Returns the bytes of a file, unpacked when its name ends in ``gz``."""
    return Buffered(Unzipped(source, where).chunk if where.endswith("gz") else source.chunk)
