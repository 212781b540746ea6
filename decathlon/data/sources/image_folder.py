"""Images that are files of a folder."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from io import FileIO
from itertools import chain
from pathlib import Path

from decathlon.common.text import printable_name
from decathlon.data.image import ImageError
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import Annotations
from decathlon.data.sources.name_index import NameIndex
from decathlon.data.sources.supply import LARGEST_IMAGE, SMALL, Rule, Supplied

_RULE = b"photographs: upright, modes as in decathlon.data.preparing.colour, version 1\0"
"""How photographs are decoded: data that was prepared by another rule is prepared again.

It is part of digests, so its words stay, whatever the module is called.
"""


class FolderSupply:
    """Image files of a folder: a supply of images.

    Its digest covers names and contents of the images that are named, in their order.
    Links are followed: the folder is the user's own.

    Args:
        folder: The folder.
        name: What it is called in the manifest.
        rule: How its images are decoded.
        path_of: Turns an image's name into its path in the folder.
        skipped: Names of images that are left out because they are broken.
        mend: What to do about a broken image.
    """

    apart = True

    def __init__(
        self,
        folder: Path,
        name: str,
        rule: Rule = SMALL,
        *,
        path_of: Callable[[bytes], bytes] = bytes,
        skipped: Sequence[bytes] = (),
        mend: str = "replace the file",
    ) -> None:
        self.folder, self.name, self.rule, self.mend = folder, name, rule, mend
        self._path_of, self._skipped = path_of, skipped
        # Equal files that are decoded by another rule are another source.
        self._begun = sha256(_RULE if rule.photographs else b"")
        self._digest, self._size = self._begun, 0
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
        digest, root = self._begun.copy(), os.fsencode(self.folder)
        for name in chain(*(split.names for split in splits), self._skipped):
            try:
                # No Path takes bytes.
                state = os.stat(b"%s/%s" % (root, self._path_of(name)))  # noqa: PTH116
            except OSError:
                continue  # another supply may have it; otherwise preparing reports it
            digest.update(b"%s\0%d %d\n" % (name, state.st_size, state.st_ctime_ns))
        self._state = digest.hexdigest()
        return self._state

    def unchanged(self, source: SourceEntry, splits: Sequence[Annotations]) -> bool:
        """Returns True if this is the folder that data was made of, with the same files."""
        return self.is_at(source.folder) and source.state == self.state(splits)

    def identity(self, splits: Sequence[Annotations]) -> list[str | int]:
        """Returns the folder's path and its state."""
        return [self.name, self.path, self.state(splits)]

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images in the order of the index."""
        self._digest, self._size = self._begun.copy(), 0
        root = os.fsencode(self.folder)
        for image in range(len(index)):
            name = index.name(image)
            if index.seen[image]:
                continue
            path = b"%s/%s" % (root, self._path_of(name))
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
        return SourceEntry(
            file=self.name,
            size=self._size,
            sha256=self._digest.hexdigest(),
            official=False,
            folder=self.path,
            state=self._state,
        )


def in_lower_case(folder: Path, prefix: str = "") -> Callable[[bytes], bytes]:
    """Returns a ``path_of`` for images whose names are in lower case, whatever the files' case.

    Args:
        folder: Holds the images, at its top or one folder below.
        prefix: Begins the names and is no part of the paths.
    """
    paths = (path.relative_to(folder) for part in ("*", "*/*") for path in folder.glob(part))
    found = {os.fsencode(f"{prefix}{path}".lower()): os.fsencode(path) for path in sorted(paths)}
    return lambda name: found.get(name, name)


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
                raise IsADirectoryError
            if state.st_size > LARGEST_IMAGE:
                raise ImageError(f"has {state.st_size} bytes (limit {LARGEST_IMAGE})")
            return file.read(LARGEST_IMAGE if most is None else most)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise ImageError("is no regular file") from None
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from None


def _at_once(path: str, flags: int) -> int:
    """Opens a file without waiting, as a pipe would want it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def digest_over(parts: Sequence[tuple[str, str]]) -> str:
    """Returns one SHA-256 for several named ones."""
    return sha256("".join(f"{name}\0{digest}\n" for name, digest in parts).encode()).hexdigest()
