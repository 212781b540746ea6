"""Images in a tar archive, which is streamed and never unpacked."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import Annotations
from decathlon.data.sources.file_names import archive_stem, last_part
from decathlon.data.sources.name_index import NameIndex
from decathlon.data.sources.streaming import Hashed, reading, unpacked, unreadable
from decathlon.data.sources.supply import LARGEST_IMAGE, SMALL, Rule, Supplied
from decathlon.data.sources.tar import Member, Tar, objection
from decathlon.suites.base import Archive

LARGEST_SKIPPED = 1 << 33
"""Bytes of a member that is skipped."""


def archive_entry(
    name: str, size: int, sha256: str, official: Sequence[Archive] = ()
) -> SourceEntry:
    """Returns the record of an archive, compared with the official one of that name."""
    stem, digest = archive_stem(name), (size, sha256)
    same = any(archive_stem(a.file) == stem and (a.size, a.sha256) == digest for a in official)
    return SourceEntry(file=name, size=size, sha256=sha256, official=same)


class ArchiveFile:
    """One archive of images, whatever its format.

    Args:
        path: The archive.
        rule: How its images are decoded.
        official: Official archives; this one is compared with that of its name.
        key: Turns a member's name into the one by which it is looked for.
        name: What it is called in the manifest, by default its file name.
    """

    mend = "fetch the archive again"

    def __init__(
        self,
        path: Path,
        rule: Rule,
        *,
        official: Sequence[Archive] = (),
        key: Callable[[str], str] = str,
        name: str = "",
    ) -> None:
        self.path, self.name, self.rule = path, name or path.name, rule
        self._key, self._official = key, official

    def identity(self, splits: Sequence[Annotations]) -> list[str | int]:
        """Returns name, size and time of the file."""
        try:
            state = self.path.stat()
        except OSError as error:
            raise unreadable(self.path, error) from None
        return [self.name, state.st_size, state.st_mtime_ns]

    def unchanged(self, source: SourceEntry, splits: Sequence[Annotations]) -> bool:
        """Returns True if the archive can be the one that data was made of."""
        return (source.file, source.size) == (self.name, self.path.stat().st_size)


class ArchiveSupply(ArchiveFile):
    """A tar archive, which may hold further tars: a supply of images.

    Args:
        path: The archive.
        tars: Names of members that are tars and are read too; None for all that end in
            ``.tar``.
        rule: As for :class:`ArchiveFile`, like the rest.
        official: See there.
        key: See there.
        name: See there.
    """

    apart = False

    def __init__(
        self,
        path: Path,
        tars: Iterable[str] | None,
        rule: Rule = SMALL,
        *,
        official: Sequence[Archive] = (),
        key: Callable[[str], str] = str,
        name: str = "",
    ) -> None:
        super().__init__(path, rule, official=official, key=key, name=name)
        self._tars = None if tars is None else frozenset(tars)
        self._entry: SourceEntry | None = None

    def images(self, index: NameIndex) -> Iterator[Supplied]:
        """Yields the images in the order of the archive, which is read to its end."""
        problem = ""
        for tar, member in self.members():
            problem = problem or objection(tar.where, member)
            image = index.find(self._key(member.name))
            if image is not None:
                yield self._checked(tar, member, image, index)
            elif member.kind == "file" and member.size > LARGEST_SKIPPED:
                raise DataError(
                    f"{tar.where}: {member.name!r} declares {member.size} bytes;"
                    " this is no official archive, fetch it again"
                )
        # An official archive may hold anything: its digest vouches for it.
        if problem and not self.source().official:
            raise DataError(problem)

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
        self._entry = archive_entry(self.name, source.count, digest, self._official)

    def contents(self, names: Collection[str], most: int, early: bool) -> dict[str, bytes]:
        """Reads some files of the archive; of those with one name, the one in fewest folders.

        Args:
            names: Their file names.
            most: Bytes that each may have.
            early: True to stop when all are found at the top or one folder below; the archive's
                digest is then not known.

        Raises:
            DataError: The archive is damaged, or a file is too large or there twice.
        """
        found: dict[str, tuple[int, bytes]] = {}
        twice: dict[str, tuple[int, str]] = {}
        for tar, member in self.members():
            name, depth = last_part(member.name), member.name.count("/")
            if name not in names or member.kind != "file":
                continue
            where = f"{tar.where}: {member.name}"
            if name in found and depth >= found[name][0]:
                if depth == found[name][0]:
                    twice[name] = depth, where
                continue
            if member.size > most:
                raise DataError(f"{where}: has {member.size} bytes (limit {most}); {self.mend}")
            found[name] = depth, tar.read()
            if early and len(found) == len(names) and all(d <= 1 for d, _ in found.values()):
                break
        for name, (depth, where) in twice.items():
            if depth == found[name][0]:
                raise DataError(f"{where}: is there twice; {self.mend}")
        return {name: data for name, (_, data) in found.items()}

    def source(self) -> SourceEntry:
        """Returns name, size and digest of the archive."""
        assert self._entry is not None, "the archive has not been read to its end"
        return self._entry

    def _tar(self, tar: Tar, nested: bool) -> Iterator[tuple[Tar, Member]]:
        for member in tar.members():
            if member.kind == "file" and not nested and self._is_tar(member.name):
                yield from self._tar(Tar(tar, f"{tar.where}: {member.name}"), nested=True)
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
