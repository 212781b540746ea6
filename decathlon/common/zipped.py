"""Reading from zip archives that anyone may have made, within limits.

Declared sizes are not trusted: no more than the limit is ever unpacked. Nothing is written to
disk. An archive with a name that leads outside a folder was made to do harm and is refused.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decathlon.common.errors import DecathlonError
from decathlon.common.oserrors import explained
from decathlon.common.text import megabytes

MAX_MEMBERS = 10_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Other methods take as much memory as the archive asks for."""


@contextmanager
def opened(
    path: Path, error: type[DecathlonError], most: int = MAX_MEMBERS
) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive.

    Args:
        path: The archive.
        error: What to raise if it is no archive, damaged (also when found while reading),
            encrypted, packed by an unusual method, or has too many members or one whose
            name leads outside.
        most: Members that it may have.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise error(f"{path}: is not a regular file")
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > most:
                raise error(f"{path}: holds more than {most} files; it is refused")
            for info in archive.infolist():
                _check(info, path, error)
            yield archive
    except OSError as problem:
        raise error(explained(problem, path, "name another file", "cannot be read")) from None
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError) as problem:
        raise error(f"{path}: not a zip archive, or a damaged one ({problem})") from None
    except RuntimeError as problem:  # encrypted, or compressed in an unknown way
        raise error(f"{path}: cannot be unpacked ({problem})") from None


def _check(info: zipfile.ZipInfo, path: Path, error: type[DecathlonError]) -> None:
    """Checks one member's name and method."""
    if info.filename.startswith("/") or ".." in info.filename.split("/"):
        raise error(f"{path}: {info.filename!r} is a name that leads outside; it is refused")
    if info.compress_type not in _METHODS:
        raise error(
            f"{path}: {info.filename!r} is packed by method {info.compress_type}; pack the files"
            " again, stored or deflated"
        )


def member(
    archive: zipfile.ZipFile, name: str, limit: int, path: Path, error: type[DecathlonError]
) -> bytes:
    """Returns one member's bytes.

    Args:
        archive: The open archive.
        name: The member.
        limit: Most bytes that are unpacked.
        path: The archive, for the message.
        error: What to raise if the member is larger.
    """
    with archive.open(name) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"{path}: {name} unpacks to more than {megabytes(limit)}; it is refused")
    return content
