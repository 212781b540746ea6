"""Source files that are read once, from start to end: hashed and unpacked on the way."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from zlib_ng import gzip_ng, zlib_ng

from decathlon.common.errors import DataError
from decathlon.common.oserrors import explained

_CHUNK = 1 << 20
# Its stubs take the class for an instance.
_DAMAGED = (gzip_ng.BadGzipFile, OverflowError, cast(type[Exception], zlib_ng.error))
_MAGIC = b"\x1f\x8b"
"""Begins a gzip file."""
LARGEST_RATIO = 200
"""Unpacked bytes for each packed one; annotations reach 20, photographs 1."""
FREE = 64 << 20
"""Unpacked bytes before :data:`LARGEST_RATIO` is looked at."""


class Readable(Protocol):
    """Anything that bytes can be read from, in order."""

    def read(self, size: int, /) -> bytes:
        """Returns ``size`` bytes, fewer only at the end."""


def unreadable(path: Path | str, error: OSError) -> DataError:
    """Returns the error for a source file that cannot be read."""
    return DataError(explained(error, path, "fetch it again", "cannot be read"))


class _SourceFile(io.FileIO):
    """A file whose errors name it: they are not the data folder's."""

    def readinto(self, buffer: Any, /) -> int:
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            raise unreadable(os.fsdecode(self.name), error) from None


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Opens a source file.

    Raises:
        DataError: It cannot be opened, or later not be read.
    """
    try:
        file = _SourceFile(path)
    except OSError as error:
        raise unreadable(path, error) from None
    with file:
        yield io.BufferedReader(file, _CHUNK)


class Hashed(io.RawIOBase):
    """A file that computes the SHA-256 of all that is read from it.

    Attributes:
        count: Bytes read so far.
        head: The first two bytes, once they are read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.count, self.head = file, 0, b""
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Returns True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fills ``buffer`` with the next bytes; returns how many, 0 at the end."""
        size = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._digest.update(memoryview(buffer)[:size])
        if len(self.head) < len(_MAGIC):
            self.head += bytes(memoryview(buffer)[: len(_MAGIC) - len(self.head)])[:size]
        self.count += size
        return int(size)

    def finish(self) -> str:
        """Reads the rest and returns the SHA-256 of the whole file, in hex."""
        rest = bytearray(_CHUNK)
        while self.readinto(rest):
            pass
        return self._digest.hexdigest()


class _Unzipped(io.RawIOBase):
    """The unpacked bytes of a gzip file of one or more parts, whose checksums are checked."""

    def __init__(self, source: Hashed, where: str) -> None:
        self._source, self._where, self._count = source, where, 0
        self._gzip: Any = gzip_ng.GzipNGFile(fileobj=source, mode="rb")  # type: ignore[no-untyped-call]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            size = int(self._gzip.readinto(buffer))
        except EOFError:
            raise self._truncated() from None
        except _DAMAGED as error:
            what = str(error)
            if "not a gzip" in what.lower() and self._source.head == _MAGIC:
                what = "bytes after its end"
            raise DataError(f"{self._where}: damaged ({what}); fetch it again") from None
        if not self._source.count:
            raise self._truncated()
        self._count += size
        if self._count > FREE + LARGEST_RATIO * self._source.count:
            raise DataError(
                f"{self._where}: unpacks to over {LARGEST_RATIO} times its size; this is no"
                " archive of images, fetch the official one"
            )
        return size

    def _truncated(self) -> DataError:
        return DataError(f"{self._where}: ends in the middle (truncated); fetch it again")


def unpacked(source: Hashed, where: str) -> io.BufferedReader:
    """Returns the bytes of a file, unpacked if its name ends in ``gz``.

    Raises:
        DataError: While it is read: the file is truncated, damaged or a bomb.
    """
    raw = _Unzipped(source, where) if where.endswith("gz") else source
    return io.BufferedReader(raw, _CHUNK)
