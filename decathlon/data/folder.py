"""A user's own domain: a folder ``train|val|test/<class>/<image>``.

Classes are the names of the class folders of all splits, sorted; category ids count from
1 in that order, image ids from 1 through train, val and test, in the order of the names.
The listing (paths and sizes of the files) stands for the annotations. Where it has
changed, or the folder is another, or a file has changed since, by its size and the time
that the system keeps of its last change, the domain is prepared anew; equal images then
give equal shards.
"""

import os
from array import array
from hashlib import sha256
from pathlib import Path

import numpy as np

from decathlon.data.annotations import MOST_CLASSES, Annotations, Names, printable
from decathlon.data.decode import PHOTOGRAPH_PIXELS
from decathlon.data.plan import DOMAIN_NAME, RESERVED, DomainPlan, domain_plan
from decathlon.data.supply import FolderSupply
from decathlon.domains import DOMAINS, SPLITS
from decathlon.errors import DataError, UsageError
from decathlon.oserrors import explained

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".webp")
"""Files that are taken; others are passed over, and said."""
_LAYOUT = "a domain of your own is a folder train|val|test/<class>/<image>"


def check_name(name: str) -> None:
    """Checks the name of a user's own domain.

    Raises:
        UsageError: It is an official one's, one of the program's files, or does not fit
            into file names.
    """
    # Some file systems take names for the same that differ by case only.
    if name.lower() in DOMAINS:
        raise UsageError(f"'{name}' is an official domain: give your own another name")
    if RESERVED.fullmatch(name):
        raise UsageError(
            f"'{name}' is a name of this program's own files (manifest.json, *.part, *.h5):"
            " give the domain another"
        )
    if not DOMAIN_NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot name a domain: begin with a letter or digit, go on with"
            " letters, digits, '_', '-' and '.', at most 100"
        )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Returns what a folder holds by name, without what is hidden."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        what = explained(error, folder, failed="cannot be read")
        raise DataError(f"{what}; {_LAYOUT}") from None
    return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _unfollowed(entry: os.DirEntry[str], error: OSError) -> DataError:
    return DataError(f"{entry.path}: cannot be read ({error.strerror}); mend or remove it")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError as error:  # a link that leads to itself
        raise _unfollowed(entry, error) from None


def _splits(folder: Path) -> list[str]:
    names = [entry.name for entry in _entries(folder) if _is_folder(entry)]
    for name in names:
        if name not in SPLITS:
            raise DataError(f"{folder / name}: is none of train, val and test; {_LAYOUT}")
    if "train" not in names:
        raise DataError(f"{folder}: has no folder train; {_LAYOUT}")
    return [split for split in SPLITS if split in names]


def _classes(folder: Path) -> list[str]:
    """Returns the class names of one split."""
    names = []
    for entry in _entries(folder):
        if _is_folder(entry):
            if not printable(entry.name):
                raise DataError(f"{folder}: the class {entry.name!r} has no printable name")
            names.append(entry.name)
        elif entry.name.lower().endswith(SUFFIXES):
            raise DataError(f"{entry.path}: is in no folder of a class; {_LAYOUT}")
    return names


class _Split:
    """Collects the images of one split."""

    def __init__(self) -> None:
        self.text, self.ends, self.categories = bytearray(), array("q"), array("q")
        self.digest, self.passed = sha256(), 0

    def take(self, folder: Path, place: str, category: int) -> None:
        for entry in _entries(folder / place):
            if _is_folder(entry):
                raise DataError(f"{entry.path}: is a folder within a class; {_LAYOUT}")
            if not entry.name.lower().endswith(SUFFIXES):
                self.passed += 1
                continue
            name = os.fsencode(f"{place}/{entry.name}")
            try:
                size = entry.stat().st_size
            except OSError as error:
                raise _unfollowed(entry, error) from None
            self.digest.update(b"%s\0%d\n" % (name, size))
            self.text += name
            self.ends.append(len(self.text))
            self.categories.append(category)

    def annotations(self, where: str, first: int, names: dict[int, str]) -> Annotations:
        count = len(self.ends)
        sizes = np.zeros(count, np.int64)
        return Annotations(
            where=where,
            names=Names(bytes(self.text), np.array(self.ends, np.int64)),
            image_ids=np.arange(first, first + count),
            categories=np.array(self.categories, np.int64),
            heights=sizes,
            widths=sizes,
            class_names=names,
            sha256=self.digest.hexdigest(),
        )


def own_plan(name: str, folder: Path) -> tuple[DomainPlan, list[str]]:
    """Lists a user's own domain; reads no image.

    Args:
        name: What the domain is called.
        folder: Holds ``train|val|test/<class>/<image>``; val and test may be absent.

    Returns:
        (what is to be prepared, what the user should be told).

    Raises:
        DataError: The folder is missing or of another layout.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; {_LAYOUT}")
    splits = _splits(folder)
    found = sorted({c for split in splits for c in _classes(folder / split)}, key=os.fsencode)
    if not 0 < len(found) <= MOST_CLASSES:
        raise DataError(f"{folder}: has {len(found)} classes (1 to {MOST_CLASSES}); {_LAYOUT}")
    category = {text: number for number, text in enumerate(found, start=1)}
    class_names = {number: text for text, number in category.items()}
    annotations, first, passed = {}, 1, 0
    for split in splits:
        made = _Split()
        for text in _classes(folder / split):
            made.take(folder, f"{split}/{text}", category[text])
        # Other classes in another split change the labels of this one.
        made.digest.update("\n".join(found).encode())
        annotations[split] = made.annotations(str(folder / split), first, class_names)
        first += len(made.ends)
        passed += made.passed
    if not len(annotations["train"]):
        raise DataError(f"{folder / 'train'}: holds no images ({', '.join(SUFFIXES)}); {_LAYOUT}")
    messages = []
    if passed:
        messages.append(f"{folder}: {passed} files that are no images were passed over")
    return domain_plan(name, annotations), messages


def own_supply(name: str, folder: Path) -> FolderSupply:
    """Returns the images of a user's own domain."""
    return FolderSupply(folder, name, limit=PHOTOGRAPH_PIXELS, tolerance=0)
