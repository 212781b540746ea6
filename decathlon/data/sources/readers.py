"""Readers: functions that find a domain's images among a user's archives and folders.

A suite names one for each domain whose images do not come with annotations in the decathlon's
layout (:attr:`decathlon.suites.base.Domain.reader`). Each is a short module of this package: it
lists the images (:class:`Sample`), and :func:`offer` makes the plan of them.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import sha256 as sha256_of_file
from decathlon.common.text import megabytes, printable
from decathlon.data.boxes import Box
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import LONGEST_NAME, UNSAFE, Annotations, Names
from decathlon.data.sources.image_archive import ArchiveSupply, archive_entry
from decathlon.data.sources.plan import DomainPlan, domain_plan
from decathlon.data.sources.stratified import drawn, part_of
from decathlon.data.sources.streaming import unreadable
from decathlon.data.sources.supply import PHOTOGRAPHS, Supply
from decathlon.suites.base import SPLITS, Archive, Domain, Suite


@dataclass(frozen=True)
class Offer:
    """A domain that can be prepared.

    Attributes:
        plan: What is to be prepared.
        supplies: Where its images are.
        annotations: What the plan was read from, apart from the supplies.
        messages: What the user should be told if it is prepared.
    """

    plan: DomainPlan
    supplies: Sequence[Supply]
    annotations: list[SourceEntry] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


class MissingError(DataError):
    """Files of a domain are missing.

    Attributes:
        archives: Which.
    """

    def __init__(self, archives: Sequence[Archive]) -> None:
        """Names the files; :func:`missing_files` says where to get them."""
        super().__init__(f"missing files: {', '.join(archive.file for archive in archives)}")
        self.archives = archives


@dataclass(frozen=True)
class Place:
    """A folder in which a reader looks for a domain's files.

    Attributes:
        folder: The user's folder of archives.
        domain: The domain.
        suite: The suite that data is prepared for.
    """

    folder: Path
    domain: str
    suite: Suite

    def find(self, name: str, *inside: str) -> Path | None:
        """Returns a file or folder, None without one.

        Args:
            name: Its name; instead of ``.tgz`` it may have ``.tar.gz``, or ``.tar`` if unzipped.
            inside: Folders to look in, besides the folder itself. All are looked for in the
                folder, and in one of the domain's name.
        """
        places = (self.folder / top / part for top in ("", self.domain) for part in ("", *inside))
        stem = name.removesuffix(".tgz")
        names = (name, f"{stem}.tar.gz", f"{stem}.tar") if stem != name else (name,)
        paths = (place / form for place in places for form in names)
        return next((path for path in paths if path.exists()), None)

    def name_of(self, path: Path) -> str:
        """Returns what a file is called in the manifest: its path in the folder."""
        return path.relative_to(self.folder).as_posix()

    def tar(self, path: Path, key: Callable[[str], str]) -> ArchiveSupply:
        """Returns a tar archive of photographs; see :class:`ArchiveSupply`."""
        official = self.suite.official
        return ArchiveSupply(
            path, (), PHOTOGRAPHS, official=official, key=key, name=self.name_of(path)
        )

    def missing(self, *names: str) -> MissingError:
        """Returns the error for files that are missing beside others that are there."""
        known = {archive.file: archive for archive in self.suite.archives}
        return MissingError([known.get(name, Archive(name, "", 0, "", "")) for name in names])

    def entry(self, path: Path) -> SourceEntry:
        """Returns the record of a small file, compared with the official one of its name.

        Raises:
            DataError: It cannot be read.
        """
        try:
            size, digest = path.stat().st_size, sha256_of_file(path)
        except OSError as error:
            raise unreadable(path, error) from None
        return archive_entry(self.name_of(path), size, digest, self.suite.official)


class Reader(Protocol):
    """Finds the images of one domain."""

    def __call__(self, place: Place) -> Offer | None:
        """Returns what can be prepared, None if nothing of the domain is there.

        Raises:
            MissingError: A part of the files is there.
            DataError: A file is damaged, or files contradict each other.
        """


def reader_of(domain: Domain, suite: Suite) -> Reader:
    """Returns a domain's reader.

    Raises:
        UsageError: It cannot be imported.
    """
    try:
        return cast(Reader, pkgutil.resolve_name(domain.reader))
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"suite '{suite.name}': the reader '{domain.reader}' of {domain.name} cannot be"
            f" imported ({error}); update the package that provides the suite"
        ) from None


def archive_lines(archive: Archive) -> list[str]:
    """Returns what an archive is, and where to get it, for a list of missing ones."""
    size = megabytes(archive.size) if archive.size >= 1e6 else f"{archive.size:,} bytes"
    facts = [fact for fact in (archive.text, archive.size and size) if fact]
    note = f"({archive.note})" if archive.url and archive.note else archive.note
    where = " ".join(part for part in (archive.url and f"from {archive.url}", note) if part)
    return [
        f"  {archive.file}" + f": {', '.join(facts)}" * bool(facts),
        *([f"    {where}"] if where else []),
    ]


def missing_files(folder: Path, domains: Sequence[str], archives: Sequence[Archive]) -> str:
    """Returns a message on missing files: what each is, and where to get it."""
    start = "missing files," if folder.is_dir() else "no such folder. It should hold these files,"
    return "\n".join(
        [
            f"{folder}: {start} needed for {', '.join(domains)}:",
            *(line for archive in archives for line in archive_lines(archive)),
            "Put them there, or what they unpack to, or name their folder with --archives.",
            "'decathlon prepare --download' downloads those with an address and a known digest.",
            "Folders of images work too: --folder NAME=DIR with DIR/train|test/CLASS/IMAGE.",
        ]
    )


class Sample(NamedTuple):
    """One image of a domain.

    Attributes:
        name: What the supply knows it by.
        category: Its category id, -1 where not known.
        image_id: No other image of the domain has it.
        box: Its bounding box in pixels of the file; all images of a domain have one, or none.
    """

    name: str
    category: int
    image_id: int
    box: Box | None = None


def plan_of(
    place: Place, where: str, samples: Mapping[str, Sequence[Sample]], class_names: dict[int, str]
) -> DomainPlan:
    """Plans a domain.

    If the suite holds out a share of train, val is made of it.

    Args:
        place: Where its files are.
        where: What lists the images, for messages.
        samples: The images by split, without val.
        class_names: Name by category id.

    Raises:
        DataError: A name is unsafe, a category unknown, or an image is there twice.
    """
    for category, text in class_names.items():
        if not 0 < len(text) <= LONGEST_NAME or not printable(text):
            raise DataError(f"{where}: class {category} has no printable name; fetch it again")
    splits = {split: list(part) for split, part in samples.items()}
    share, train = place.suite.held_out, splits.get("train", [])
    if share:
        held = drawn([s.category for s in train], [s.name for s in train], partial(part_of, share))
        splits["train"] = [s for s, out in zip(train, held, strict=True) if not out]
        splits["val"] = [s for s, out in zip(train, held, strict=True) if out]
    boxed = all(s.box is not None for part in splits.values() for s in part)
    annotations = {
        split: _annotations(where, splits[split], class_names, boxed)
        for split in SPLITS
        if splits.get(split)
    }
    if not annotations:
        raise DataError(f"{where}: lists no images; fetch it again")
    return replace(domain_plan(place.domain, annotations), held_out=share)


def _annotations(
    where: str, samples: Sequence[Sample], class_names: dict[int, str], boxed: bool
) -> Annotations:
    digest = sha256()
    for sample in samples:
        if UNSAFE.search(sample.name) or len(sample.name) > LONGEST_NAME:
            raise DataError(f"{where}: image {sample.image_id} has the unsafe name {sample.name!r}")
        if sample.category not in class_names and sample.category >= 0:
            raise DataError(
                f"{where}: image {sample.image_id} is of class {sample.category}, which is not"
                " listed; fetch it again"
            )
        digest.update(repr(tuple(sample)).encode(errors="surrogateescape"))
    digest.update(repr(sorted(class_names.items())).encode())
    unsaid = np.zeros(len(samples), np.int64)
    ids = np.array([sample.image_id for sample in samples], np.int64)
    if len(np.unique(ids)) < len(ids):
        raise DataError(f"{where}: an image is there twice; fetch it again")
    boxes = np.array([sample.box for sample in samples], np.float64) if boxed else None
    if boxes is not None and not (finite := np.isfinite(boxes).all(1)).all():
        image = ids[finite.argmin()]
        raise DataError(
            f"{where}: the bounding box of image {image} is not a number; fetch it again"
        )
    return Annotations(
        where=where,
        names=Names.of([s.name.encode(errors="surrogateescape") for s in samples]),
        image_ids=ids,
        categories=np.array([sample.category for sample in samples], np.int64),
        heights=unsaid,
        widths=unsaid,
        class_names=class_names,
        sha256=digest.hexdigest(),
        boxes=boxes,
    )
