"""What a user's folder of photographs holds: splits, classes and images, as they are found.

A folder is ``train|val|test/CLASS/IMAGE``, or plain ``CLASS/IMAGE``. ``val`` may be called
``validation`` or ``valid``. In place of classes, a table of labels may name the class of each
image (:mod:`decathlon.data.sources.folder_tables`). Whatever else it holds is reported:

* An image is a file with the suffix of an image, or any other file that Pillow recognises.
  Other files are skipped and listed.
* Hidden files and folders (``.DS_Store``, ``.ipynb_checkpoints``) are ignored. ``@eaDir``,
  ``__MACOSX`` and the like are skipped and listed, and so are class folders without images.
* Names in two Unicode forms (NFC and NFD) are one class. Names that differ by case or by
  spaces and dots at their ends are two, and listed.
* Links are followed. A link that leads nowhere or to itself, a folder that cannot be read, a
  folder within a class, an image outside of classes and a class name that is not UTF-8 or not
  printable are refused, all in one message.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from decathlon.common.errors import DataError, listed
from decathlon.common.text import printable, printable_name
from decathlon.data.image import recognised
from decathlon.data.sources.folder_tables import TABLES, read_table
from decathlon.suites.base import SPLITS

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"),
)
"""Files that are taken for images by their names: one that cannot be read is an error."""
LITTER = ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that systems leave behind, with files that look like images."""
LAYOUT = "give a folder train|val|test/CLASS/IMAGE or CLASS/IMAGE"
_NAMES = {"train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
"""The split that a folder's name stands for."""
_LOOKS = (*_NAMES, "training", "testing", "dev", "eval")


def is_litter(name: str) -> bool:
    """Returns whether a path, with ``/`` between its parts, is hidden or what systems leave."""
    return any(part.startswith(".") or part in LITTER for part in name.split("/"))


@dataclass(frozen=True)
class FoundImage:
    """An image file.

    Attributes:
        name: Its path in the folder.
        size: In bytes.
    """

    name: bytes
    size: int


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        images: By split, ``""`` where the folder has none, and class, in the order of the
            names; no class is empty.
        passed: Paths of what was skipped.
        alike: Names of classes that differ by very little.
        by_table: True if a table of labels names classes.
    """

    images: dict[str, dict[str, list[FoundImage]]] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    by_table: bool = False

    @property
    def plain(self) -> bool:
        """Whether the folder has no splits."""
        return "" in self.images


class _Scan:
    """Goes through a folder and collects what is wrong with it."""

    def __init__(self, root: Path) -> None:
        self.root, self.found = root, Found()
        self.problems: list[str] = []

    def run(self) -> Found:
        folders, loose = self.inside("")
        splits = [name for name in folders if name in _NAMES]
        others = [name for name in folders if name not in _NAMES]
        if splits and others and not any(self.is_split(name) for name in splits):
            splits = []  # they are classes that have such names
        if splits:
            for name in others:
                self.problem(name, "is none of train, val and test; rename or move it")
            self.unclassed(loose)
            self.splits(splits)
        else:
            for name in folders:
                if name.casefold() in _LOOKS and self.is_split(name):
                    self.problem(name, "looks like a split; call it train, val or test")
            self.part("", "", folders, loose)
        if self.problems:
            text = listed(self.problems, "\n  ")
            head = "" if len(self.problems) == 1 else f"{len(self.problems):,} problems:\n  "
            raise DataError(f"{head}{text}\n{LAYOUT}" if head else f"{text}; {LAYOUT}")
        self.found.alike = _alike({c for part in self.found.images.values() for c in part})
        return self.found

    def splits(self, names: list[str]) -> None:
        """Collects what is in the folders of splits, in the order of the splits."""
        for name in sorted(names, key=lambda name: SPLITS.index(_NAMES[name])):
            if (split := _NAMES[name]) in self.found.images:
                self.problem(name, f"is a second {split}; make them one folder")
            else:
                self.part(split, name, *self.inside(name))

    def part(self, split: str, where: str, folders: list[str], images: list[FoundImage]) -> None:
        """Collects the images of one split, whose classes are folders or in a table."""
        tables, before = {}, len(self.problems)
        for name in TABLES:
            if (path := self.root / where / name).is_file():
                try:
                    tables[name] = read_table(path)
                except DataError as error:
                    self.problems.append(str(error))
        found = {name: labels for name, labels in tables.items() if labels is not None}
        if len(found) > 1:
            self.problem(where, f"has two tables of labels, {' and '.join(found)}; remove one")
        elif found:
            ((name, labels),) = found.items()
            self.by_table(split, f"{where}/" if where else "", name, labels, folders, images)
        elif len(self.problems) == before:
            self.by_folder(split, where, list(tables), folders, images)

    def by_folder(
        self,
        split: str,
        where: str,
        tables: list[str],
        folders: list[str],
        images: list[FoundImage],
    ) -> None:
        """Collects the images of one split whose folders are its classes.

        Args:
            split: The split.
            where: Its folder.
            tables: Tables there that name no classes.
            folders: Folders in it.
            images: Images in it, which are in no folder of a class.
        """
        if tables and images:
            self.problem(
                f"{where}/{tables[0]}" if where else tables[0],
                "has no rows with the columns file_name and label, and the images beside it are in"
                " no folder of a class; mend the table, or move the images",
            )
        else:
            self.unclassed(images)
        self.classes(split, where, folders)

    def by_table(
        self,
        split: str,
        at: str,
        table: str,
        labels: dict[str, str],
        folders: list[str],
        images: list[FoundImage],
    ) -> None:
        """Collects the images that a table lists; there may be no others."""
        named = {str(parent) for name in labels for parent in PurePosixPath(name).parents}
        waiting = list(folders)
        while waiting:
            folder = waiting.pop()
            if folder in named:
                deeper, inside = self.inside(f"{at}{folder}")
                waiting += [f"{folder}/{name}" for name in deeper]
                images = images + inside
            else:
                self.problem(f"{at}{folder}", f"is a folder that {table} does not list; move it")
        classes: dict[str, list[FoundImage]] = defaultdict(list)
        left = dict(labels)
        for image in sorted(images, key=lambda image: image.name):
            path = os.fsdecode(image.name)
            label = left.pop(path.removeprefix(at), None)
            if label is None:
                self.problem(path, f"is not in {table}; list it there, or move it away")
            else:
                classes[label].append(image)
        for name in left:
            self.problem(f"{at}{name}", f"is in {table}, and missing or no image; mend the table")
        self.found.passed = [path for path in self.found.passed if path != f"{at}{table}"]
        self.found.images[split] = {name: classes[name] for name in sorted(classes, key=str.encode)}
        self.found.by_table = True

    def classes(self, split: str, place: str, folders: list[str]) -> None:
        """Collects the images of the classes of one split."""
        images: dict[str, list[FoundImage]] = defaultdict(list)
        for name in folders:
            where = f"{place}/{name}" if place else name
            if not printable(name):
                self.problem(where, "has no printable name in UTF-8; rename it")
                continue
            deeper, inside = self.inside(where)
            for folder in deeper:
                self.problem(f"{where}/{folder}", "is a folder within a class; move its images up")
            if inside:
                images[unicodedata.normalize("NFC", name)] += inside
            elif not deeper:
                self.found.passed.append(f"{printable_name(os.fsencode(where))} (no images)")
        self.found.images[split] = dict(images)

    def inside(self, where: str) -> tuple[list[str], list[FoundImage]]:
        """Returns names of the folders and the images in a folder that are not hidden, by name."""
        folders, images = [], []
        try:
            with os.scandir(self.root / where) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            self.problem(where, f"cannot be read ({error.strerror}); make it readable")
            return [], []
        for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
            path = f"{where}/{entry.name}" if where else entry.name
            try:
                if entry.name in LITTER:
                    self.found.passed.append(printable_name(os.fsencode(path)))
                elif entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES) or (
                    entry.is_file() and recognised(Path(entry.path))
                ):
                    images.append(FoundImage(os.fsencode(path), entry.stat().st_size))
                else:
                    self.found.passed.append(printable_name(os.fsencode(path)))
            except OSError as error:  # a link that leads nowhere or to itself
                self.problem(path, f"cannot be read ({error.strerror}); mend or remove it")
        return folders, images

    def is_split(self, where: str) -> bool:
        """Whether a folder holds folders or a table, as a split does, rather than images."""
        folders, images = _Scan(self.root).inside(where)
        tables = any((self.root / where / name).is_file() for name in TABLES)
        return bool(folders) or tables or not images

    def unclassed(self, images: list[FoundImage]) -> None:
        for image in images:
            self.problem(os.fsdecode(image.name), "is in no folder of a class; move or remove it")

    def problem(self, where: str, what: str) -> None:
        path = self.root / where if where else self.root
        self.problems.append(f"{printable_name(os.fsencode(path))}: {what}")


def _alike(names: set[str]) -> list[str]:
    """Returns those names that differ by case, or by spaces and dots at their ends, only."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        groups[key.strip(" .")].append(name)
    return [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]


def scan(folder: Path) -> Found:
    """Looks through a user's folder; reads no image beyond its first bytes.

    Raises:
        DataError: The folder is missing or of another layout; names all that is wrong.
    """
    if folder.is_file():
        raise DataError(f"{folder}: is a file; unpack it if it is an archive, and {LAYOUT}")
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; {LAYOUT}")
    return _Scan(folder).run()


def without(found: Found, skipped: Mapping[str, str]) -> tuple[Found, list[bytes]]:
    """Leaves out images that are known to be broken.

    Args:
        found: What a folder holds.
        skipped: Why, by name as :func:`~decathlon.common.text.printable_name` gives it.

    Returns:
        (the rest, names of the images that are left out and are there).
    """
    gone: list[bytes] = []
    images: dict[str, dict[str, list[FoundImage]]] = {split: {} for split in found.images}
    for split, classes in found.images.items():
        for name, files in classes.items():
            for image in files:
                if printable_name(image.name) in skipped:
                    gone.append(image.name)
                else:
                    images[split].setdefault(name, []).append(image)
    return replace(found, images=images), gone
