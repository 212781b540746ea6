"""Where the bytes of images come from: an archive that is streamed, or files of a folder."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Protocol

from decathlon.common.errors import DataError
from decathlon.common.text import printable_name
from decathlon.data.image import ARCHIVE_PIXELS, TOLERANCE, ImageError
from decathlon.data.manifest import SourceEntry
from decathlon.data.preparing.plan import NameIndex
from decathlon.data.sources.annotations import Annotations
from decathlon.data.sources.opening import reading, unreadable
from decathlon.data.sources.streams import Hashed, unpacked
from decathlon.data.sources.tar import Member, Tar, told
from decathlon.suites.visual_decathlon import SUITE

LARGEST_IMAGE = 32 << 20
"""Bytes of an image file; an official one takes under 100 kB."""
LARGEST_SKIPPED = 1 << 33
"""Bytes of a member that is passed over."""
_RULE = b"photographs: upright, modes as in decathlon.data.colour, version 1\0"
"""How photographs are decoded: data that was prepared by another rule is prepared again."""


@dataclass(slots=True)
class Supplied:
    """One image that is wanted.

    Attributes:
        image: Its position in the index.
        where: Where it was found, for messages.
        read: Returns its bytes; valid until the next image is asked for. Raises
            :class:`ImageError` where a file of a folder cannot be read.
    """

    image: int
    where: str
    read: Callable[[], bytes]


class Supply(Protocol):
    """Images from one place.

    Attributes:
        name: What the place is called in messages and in the manifest.
        mend: What to do about a damaged image.
        limit: Largest number of pixels of an image.
        tolerance: See :func:`decathlon.data.image.stored_size`.
        originals: Whether the annotated sizes are of these images made smaller.
        photographs: Whether these are photographs, see
            :class:`decathlon.data.image.ImageFile`.
        apart: Whether each image is a file of its own, which can be replaced alone.
    """

    name: str
    mend: str
    limit: int
    tolerance: int
    originals: bool
    photographs: bool
    apart: bool

    def identity(self, splits: Sequence[Annotations]) -> list[str | int]:
        """Returns what tells this place from another, without reading it.

        Args:
            splits: Name the images that are wanted.
        """

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images that are named, each once.

        Raises:
            DataError: The place is damaged, or an image is too large or no regular file.
        """

    def source(self) -> SourceEntry:
        """Returns what the place was, once all images have been read."""


def source_entry(name: str, size: int, sha256: str) -> SourceEntry:
    """Returns the record of a source file, compared with the official one of that name."""
    official = any(a.file == name and (a.size, a.sha256) == (size, sha256) for a in SUITE.official)
    return SourceEntry(file=name, size=size, sha256=sha256, official=official)


def last_part(name: str) -> str:
    """Returns a path's file name."""
    return name.rsplit("/", 1)[-1]


class ArchiveSupply:
    """A tar archive, which may hold further tars; see :class:`Supply`.

    Args:
        path: The archive.
        tars: Names of members that are tars and are read too; None for all that end in
            ``.tar``.
        limit: Largest number of pixels of an image.
        tolerance: See :func:`decathlon.data.image.stored_size`.
        originals: See :class:`Supply`.
        photographs: See :class:`Supply`.
        key: Turns a member's name into the one by which it is looked for.
    """

    mend = "fetch the archive again"
    apart = False

    def __init__(
        self,
        path: Path,
        tars: Iterable[str] | None,
        *,
        limit: int = ARCHIVE_PIXELS,
        tolerance: int = TOLERANCE,
        originals: bool = False,
        photographs: bool = False,
        key: Callable[[str], str] = str,
    ) -> None:
        self.path, self.name = path, path.name
        self.limit, self.tolerance, self.originals = limit, tolerance, originals
        self.photographs = photographs
        self._tars = None if tars is None else frozenset(tars)
        self._key = key
        self._entry: SourceEntry | None = None

    def identity(self, splits: Sequence[Annotations]) -> list[str | int]:
        """Returns name, size and time of the file."""
        try:
            state = self.path.stat()
        except OSError as error:
            raise unreadable(self.path, error) from None
        return [self.name, state.st_size, state.st_mtime_ns]

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images in the order of the archive, which is read to its end."""
        odd = ""
        for tar, member in self.members():
            odd = odd or told(tar.where, member)
            image = index.find(self._key(member.name))
            if image is not None:
                yield self._checked(tar, member, image, index)
            elif member.kind == "file" and member.size > LARGEST_SKIPPED:
                raise DataError(
                    f"{tar.where}: {member.name!r} declares {member.size} bytes;"
                    " this is no official archive, fetch it again"
                )
        # Whatever the official archives hold besides images was never looked at.
        if odd and not self.source().official:
            raise DataError(odd)

    def members(self) -> Iterator[tuple[Tar, Member]]:
        """Yields all members and the tar that each is in.

        Raises:
            DataError: The archive is damaged.
        """
        with reading(self.path) as file:
            source = Hashed(file)
            stream = unpacked(source, self.name)
            yield from self._tar(Tar(stream, self.name), nested=False)
            while stream.read(1 << 20):
                pass
            digest = source.finish()
        self._entry = source_entry(self.name, source.count, digest)

    def source(self) -> SourceEntry:
        """Returns name, size and digest of the archive."""
        assert self._entry is not None, "the archive has not been read to its end"
        return self._entry

    def _tar(self, tar: Tar, nested: bool) -> Iterator[tuple[Tar, Member]]:
        for member in tar.members():
            if member.kind == "file" and not nested and self._is_tar(member.name):
                yield from self._tar(Tar(tar.open(), f"{tar.where}: {member.name}"), nested=True)
            else:
                yield tar, member

    def _is_tar(self, name: str) -> bool:
        return name.endswith(".tar") if self._tars is None else name in self._tars

    def _checked(self, tar: Tar, member: Member, image: int, index: NameIndex) -> Supplied:
        where = f"{tar.where}: {member.name}"
        if member.kind != "file":
            raise DataError(f"{where}: is a {member.kind}, not an image; {self.mend}")
        if index.seen[image]:
            raise DataError(f"{where}: is there twice; {self.mend}")
        if member.size > LARGEST_IMAGE:
            raise DataError(f"{where}: declares {member.size} bytes (limit {LARGEST_IMAGE})")
        return Supplied(image, where, tar.read)


class FolderSupply:
    """Image files of a folder; see :class:`Supply`.

    Its digest covers names and contents of the images that are named, in their order.
    Links are followed: the folder is the user's own.

    Args:
        folder: The folder.
        name: What it is called in the manifest.
        limit: Largest number of pixels of an image.
        tolerance: See :func:`decathlon.data.image.stored_size`.
        originals: See :class:`Supply`.
        photographs: See :class:`Supply`.
        place: Turns an image's name into its path in the folder.
        skipped: Names of images that are left out because they are broken.
        mend: What to do about a broken image.
    """

    apart = True

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        limit: int = ARCHIVE_PIXELS,
        tolerance: int = TOLERANCE,
        originals: bool = False,
        photographs: bool = False,
        place: Callable[[bytes], bytes] = bytes,
        skipped: Sequence[bytes] = (),
        mend: str = "replace the file",
    ) -> None:
        self.folder, self.name, self.mend = folder, name, mend
        self.limit, self.tolerance, self.originals = limit, tolerance, originals
        self.photographs = photographs
        self._place, self._skipped = place, skipped
        # Equal files that are decoded by another rule are another source.
        self._rule = _RULE if photographs else b""
        self._digest, self._size = sha256(self._rule), 0
        self._state: str | None = None

    @property
    def path(self) -> str:
        """The folder's one path, without links; what is no UTF-8 in it is replaced."""
        return os.fsencode(self.folder.resolve()).decode(errors="replace")

    def is_at(self, path: str) -> bool:
        """Whether a path, however it is spelled, leads to this folder."""
        try:
            return bool(path) and (path == self.path or self.folder.samefile(path))
        except (OSError, ValueError):
            return False

    def state(self, splits: Sequence[Annotations]) -> str:
        """Returns a digest of names, sizes and times of the files that are there.

        The time is that of the last change of any kind, which a copy cannot take along.
        """
        digest, root = sha256(self._rule), os.fsencode(self.folder)
        for name in chain(*(notes.names for notes in splits), self._skipped):
            try:
                # No Path takes bytes.
                state = os.stat(b"%s/%s" % (root, self._place(name)))  # noqa: PTH116
            except OSError:
                continue  # it may be in another place, or else is told when it is read
            digest.update(b"%s\0%d %d\n" % (name, state.st_size, state.st_ctime_ns))
        self._state = digest.hexdigest()
        return self._state

    def identity(self, splits: Sequence[Annotations]) -> list[str | int]:
        """Returns the folder's path and its state."""
        return [self.name, self.path, self.state(splits)]

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images in the order of the index."""
        self._digest, self._size = sha256(self._rule), 0
        root = os.fsencode(self.folder)
        for image in range(len(index)):
            name = index.name(image)
            if index.seen[image]:
                continue
            path = b"%s/%s" % (root, self._place(name))
            try:
                data = read_regular(path)
            except ImageError as error:
                yield Supplied(image, printable_name(path), partial(_failing, error))
                continue
            if data is None:
                continue
            self._digest.update(b"%s\0%d\0" % (name, len(data)))
            self._digest.update(data)
            self._size += len(data)
            yield Supplied(image, printable_name(path), partial(bytes, data))

    def source(self) -> SourceEntry:
        """Returns the folder's name, the bytes of its images and their digest."""
        sha = self._digest.hexdigest()
        return SourceEntry(
            file=self.name,
            size=self._size,
            sha256=sha,
            official=False,
            folder=self.path,
            state=self._state,
        )


def _failing(error: ImageError) -> bytes:
    raise error


def read_regular(path: bytes, most: int | None = None) -> bytes | None:
    """Reads an image file, or its first ``most`` bytes; None where there is none.

    Raises:
        ImageError: It is no regular file (a pipe would be waited for), too large, or
            cannot be read.
    """
    try:
        with FileIO(path, opener=_at_once) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise ImageError(_NO_FILE)
            if state.st_size > LARGEST_IMAGE:
                raise ImageError(f"has {state.st_size} bytes (limit {LARGEST_IMAGE})")
            return file.read(LARGEST_IMAGE if most is None else most)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise ImageError(_NO_FILE) from None
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from None


_NO_FILE = "is no regular file"


def _at_once(path: str, flags: int) -> int:
    """Opens a file without waiting, as a pipe would want it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def digest_over(parts: Sequence[tuple[str, str]]) -> str:
    """Returns one SHA-256 for several named ones."""
    return sha256("".join(f"{name}\0{digest}\n" for name, digest in parts).encode()).hexdigest()
