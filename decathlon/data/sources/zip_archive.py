"""Images in a zip archive, which is read in the order of its bytes and never unpacked."""

import stat
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.common.files import sha256
from decathlon.common.text import printable
from decathlon.common.zipped import member, opened
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import MOST_IMAGES
from decathlon.data.sources.image_archive import ArchiveFile, archive_entry
from decathlon.data.sources.name_index import NameIndex
from decathlon.data.sources.streaming import FREE, LARGEST_RATIO, unreadable
from decathlon.data.sources.supply import LARGEST_IMAGE, Supplied

MEND = ArchiveFile.mend
_UTF8 = 0x800
"""Flag of a member whose name is UTF-8."""
_UNIX = 3
_REGULAR = (0, stat.S_IFREG, stat.S_IFDIR)


def zip_names(path: Path) -> list[str]:
    """Returns the names of the files in a zip archive, in the order of their bytes.

    Raises:
        DataError: See :func:`_members`.
    """
    with opened(path, DataError, MOST_IMAGES) as archive:
        return list(_members(archive, path))


def zip_text(path: Path, name: str, limit: int) -> bytes:
    """Returns the bytes of one member, at most ``limit``.

    Raises:
        DataError: See :func:`_members`; or the member is larger.
    """
    with opened(path, DataError, MOST_IMAGES) as archive:
        return member(archive, _members(archive, path)[name].filename, limit, path, DataError)


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the files of an archive by name, in the order of their bytes.

    Raises:
        DataError: A member is a link or a device, is there twice or has no printable name, or
            the archive unpacks to many times its size.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    unpacked = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        name = _name(info)
        if not printable(name):
            raise DataError(f"{path}: {name!r} is no printable name; {MEND}")
        if info.create_system == _UNIX and stat.S_IFMT(info.external_attr >> 16) not in _REGULAR:
            raise DataError(f"{path}: {name!r} is a link or a device, not a file; {MEND}")
        if info.is_dir():
            continue
        if name in found:
            raise DataError(f"{path}: {name!r} is there twice; {MEND}")
        found[name] = info
        unpacked += info.file_size
    if unpacked > FREE + LARGEST_RATIO * path.stat().st_size:
        raise DataError(
            f"{path}: unpacks to over {LARGEST_RATIO} times its size; this is no archive of"
            " images, fetch the official one"
        )
    return found


def _name(info: zipfile.ZipInfo) -> str:
    """Returns a member's name; programs write UTF-8 without saying so, backslashes, or ``./``."""
    name = info.filename
    if not info.flag_bits & _UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/").removeprefix("./")


class ZipSupply(ArchiveFile):
    """A zip archive: a supply of images."""

    apart = True  # each member has a checksum of its own

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images in the order of the archive."""
        with opened(self.path, DataError, MOST_IMAGES) as archive:
            for name, info in _members(archive, self.path).items():
                image = index.find(self._key(name))
                if image is None:
                    continue
                where = f"{self.name}: {name}"
                if index.seen[image]:
                    raise DataError(f"{where}: is there twice; {self.mend}")
                data = member(archive, info.filename, LARGEST_IMAGE, self.path, DataError)
                yield Supplied(image, where, partial(bytes, data))

    def source(self) -> SourceEntry:
        """Reads the archive to its end; returns its name, size and digest."""
        try:
            size, digest = self.path.stat().st_size, sha256(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from None
        return archive_entry(self.name, size, digest, self._official)
