"""A domain made from the original ILSVRC-2012 photographs, without the archive of small images.

The official annotations of the Visual Decathlon's ImageNet name images by class and number
(``train/0001/000001.jpg``), not by their original names. What they determine, and what is done:

* **Classes, and counts per class and split**: determined. Class names are WordNet ids, as
  the folders and tars of the photographs are named.
* **Sizes**: determined. A photograph is resized (Pillow, bicubic, version recorded) to the
  annotated size if that is its own at the suite's short side up to a pixel, else to its own.
* **train and val**, both of the original training set: *which* photograph of a class is
  which entry is not determined. Photographs are given to entries of the same size (up to a
  pixel), train before val, in the order of their names and of the ids; what is left is
  given in order, whatever its size. So the two splits have the official counts and sizes
  but not the official members.
* **test**, of the original validation set: taken where the sequence of annotated sizes is
  found, in order, among the validation photographs sorted by number. Else the test split
  is left out, said, and tried again when other validation photographs are there. That the
  official list is in this order is not certain, and not likely: its labels
  (``labels_test.zip``) begin with n03673027, n03100240, n02089973, the ground truth of the
  photographs with n01751748, n09193705, n02105855.

So the domain is recorded as unofficial, with mean and std of its own. Pixels differ from the
official ones in any case: those were made by another program.
"""

import os
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError, listed
from decathlon.common.progress import progress
from decathlon.data.image import PHOTOGRAPH_PIXELS, ImageError, ImageFile, stored_size
from decathlon.data.shard import Int64
from decathlon.data.sources.annotations import Annotations, Names
from decathlon.data.sources.file_names import last_part
from decathlon.data.sources.folder_scan import LITTER
from decathlon.data.sources.image_archive import ArchiveSupply
from decathlon.data.sources.image_folder import FolderSupply, read_regular
from decathlon.data.sources.plan import DomainPlan
from decathlon.data.sources.streaming import unreadable
from decathlon.data.sources.supply import ORIGINALS, Supply

TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_TRAIN = re.compile(r"(n\d{8})_\d+\.(?i:jpe?g)", re.ASCII)
_VAL = re.compile(r"ILSVRC2012_val_\d{8}\.(?i:jpe?g)", re.ASCII)
_HEAD = 1 << 16
"""Bytes in which a header is looked for before the whole file is read."""
_FORMS = (
    f"give a folder with {TRAIN_TAR} and {VAL_TAR}, or with the folders train/<wnid>/*.JPEG"
    " and val/ (flat, or val/<wnid>/*.JPEG)"
)

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Photograph:
    """One original photograph.

    Attributes:
        name: Its file name, which no other has.
        size: (height, width) at the short side of stored images.
    """

    name: str
    size: Size


@dataclass(frozen=True)
class Originals:
    """The photographs of one of the two original sets.

    Attributes:
        photographs: In the order of their names.
        supply: Where their bytes come from.
    """

    photographs: list[Photograph]
    supply: Supply


def _size(data: bytes, side: int) -> Size:
    """Returns the size at which a photograph is stored.

    Raises:
        ImageError: It is damaged.
    """
    return _interned(stored_size(*ImageFile(data, PHOTOGRAPH_PIXELS, True).shape, side, 0))


def _size_of_head(head: bytes, side: int) -> Size | None:
    """Returns the size by the first bytes of a file, None if they are too few."""
    try:
        return _size(head, side)
    except ImageError:
        return None


@lru_cache(maxsize=4096)
def _interned(size: Size) -> Size:
    """Returns one object for equal sizes, of which there are few among a million."""
    return size


def _in_tar(path: Path, pattern: re.Pattern[str], side: int) -> Originals:
    supply = ArchiveSupply(path, None, ORIGINALS, key=last_part)
    found = []
    with progress(f"sizes in {path.name}", None, "photographs") as bar:
        for tar, member in supply.members():
            name = last_part(member.name)
            if member.kind == "file" and pattern.fullmatch(name):
                head = tar.read(_HEAD)
                try:
                    size = _size_of_head(head, side) or _size(head + tar.read(), side)
                except ImageError as error:
                    where = f"{tar.where}: {member.name}"
                    raise DataError(f"{where}: {error}; fetch it again") from None
                found.append(Photograph(name, size))
                bar.advance()
    return Originals(sorted(found, key=lambda photo: photo.name), supply)


def _files(folder: Path, pattern: re.Pattern[str]) -> Iterator[str]:
    """Yields the paths of photographs within a folder, directly in it or one below.

    Raises:
        DataError: A folder cannot be read.
    """
    for entry in _entries(folder):
        if pattern.fullmatch(entry.name):
            yield entry.name
        elif not entry.name.startswith(".") and entry.name not in LITTER and entry.is_dir():
            for inner in _entries(Path(entry.path)):
                if pattern.fullmatch(inner.name):
                    yield f"{entry.name}/{inner.name}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from None


def _in_folder(folder: Path, pattern: re.Pattern[str], side: int) -> Originals:
    found, problems = [], []
    paths: dict[str, str] = {}
    root = os.fsencode(folder)
    with progress(f"sizes in {folder.name}", None, "photographs") as bar:
        for inside in _files(folder, pattern):
            name, path = last_part(inside), b"%s/%s" % (root, os.fsencode(inside))
            try:
                if paths.setdefault(name, inside) != inside:
                    raise ImageError(f"is there twice, also as {paths[name]}")
                size = _size_of_head(read_regular(path, _HEAD) or b"", side)
                found.append(Photograph(name, size or _size(read_regular(path) or b"", side)))
            except ImageError as error:
                problems.append(f"{folder}/{inside}: {error}")
            bar.advance()
    if problems:
        lines = listed(problems, "\n")
        raise DataError(f"{lines}; fetch what is damaged again")
    elsewhere = {  # few or none, where all paths would take much memory
        os.fsencode(name): os.fsencode(inside)
        for name, inside in paths.items()
        if os.fsencode(inside) != _by_class(os.fsencode(name))
    }
    supply = FolderSupply(
        folder,
        folder.name,
        ORIGINALS,
        path_of=lambda name: elsewhere.get(name) or _by_class(name),
    )
    return Originals(sorted(found, key=lambda photo: photo.name), supply)


def _by_class(name: bytes) -> bytes:
    """Returns where a training photograph usually is."""
    return name.split(b"_", 1)[0] + b"/" + name


def _originals(
    folder: Path, tar: str, name: str, pattern: re.Pattern[str], side: int
) -> Originals | None:
    if (folder / tar).is_file():
        return _in_tar(folder / tar, pattern, side)
    return _in_folder(folder / name, pattern, side) if (folder / name).is_dir() else None


def _near(size: Size) -> Iterator[Size]:
    """Yields a size and those that differ by a pixel along the long side or the short one."""
    height, width = size
    yield size
    for more in (1, -1):
        yield (height, width + more)
        yield (height + more, width)


def assign(entries: Sequence[Size], photographs: Sequence[Photograph]) -> list[str]:
    """Gives photographs of one class to its entries.

    Args:
        entries: Annotated sizes, train before val.
        photographs: At least as many, in order.

    Returns:
        The photograph's name for each entry.
    """
    waiting: dict[Size, deque[int]] = defaultdict(deque)
    for position, size in enumerate(entries):
        waiting[size].append(position)
    given: dict[int, str] = {}
    left: list[str] = []
    for photo in photographs:
        queue = next((waiting[s] for s in _near(photo.size) if waiting.get(s)), None)
        if queue is None:
            left.append(photo.name)
        else:
            given[queue.popleft()] = photo.name
    rest = (k for k in range(len(entries)) if k not in given)
    given.update(zip(rest, left, strict=False))
    return [given[k] for k in range(len(entries))]


def embed(entries: Sequence[Size], photographs: Sequence[Photograph]) -> list[str] | None:
    """Finds a sequence of sizes, in order, among photographs.

    Taking the first that fits finds a place for all entries wherever there is one.

    Returns:
        The photograph's name for each entry, None where the sequence is not there.
    """
    names: list[str] = []
    for photo in photographs:
        if len(names) == len(entries):
            break
        if entries[len(names)] in _near(photo.size):
            names.append(photo.name)
    return names if len(names) == len(entries) else None


def _renamed(annotations: Annotations, names: Sequence[str]) -> Annotations:
    return replace(annotations, names=Names.of([name.encode() for name in names]))


def _trained(plan: DomainPlan, train: Originals) -> dict[str, Annotations]:
    """Gives the training photographs to the entries of train and val."""
    by_class: dict[str, list[Photograph]] = defaultdict(list)
    for photo in train.photographs:
        by_class[photo.name.split("_", 1)[0]].append(photo)
    splits: list[str] = [split for split in ("train", "val") if split in plan.splits]
    names = {split: [""] * len(plan.splits[split]) for split in splits}
    orders = {split: np.argsort(plan.splits[split].categories, kind="stable") for split in splits}
    for category, wnid in zip(plan.category_ids, plan.class_names, strict=True):
        entries = [
            (split, k)
            for split in splits
            for k in _of(category, plan.splits[split].categories, orders[split])
        ]
        have = by_class[wnid]
        if len(have) < len(entries):
            raise DataError(
                f"{train.supply.name}: has {len(have)} photographs of {wnid}, the annotations"
                f" name {len(entries)}; fetch what is missing"
            )
        sizes = [
            (plan.splits[split].heights.item(k), plan.splits[split].widths.item(k))
            for split, k in entries
        ]
        for (split, k), name in zip(entries, assign(sizes, have), strict=True):
            names[split][k] = name
    return {split: _renamed(plan.splits[split], names[split]) for split in splits}


def _of(category: int, categories: Int64, order: Int64) -> list[int]:
    """Returns the positions of a category, given the order that sorts the categories."""
    low = np.searchsorted(categories, category, "left", order)
    high = np.searchsorted(categories, category, "right", order)
    positions: list[int] = order[low:high].tolist()
    return positions


def validation(folder: Path) -> str:
    """Returns what there is of validation photographs, by which a change of them is noticed."""
    tar, files = folder / VAL_TAR, folder / "val"
    if tar.is_file():
        return f"{VAL_TAR} of {tar.stat().st_size:,} bytes"
    if not files.is_dir():
        return f"neither {VAL_TAR} nor a folder val"
    sizes = [(files / name).stat().st_size for name in _files(files, _VAL)]
    return f"a folder val of {len(sizes):,} photographs, {sum(sizes):,} bytes"


def from_originals(
    plan: DomainPlan, folder: Path, side: int
) -> tuple[DomainPlan, list[Supply], list[str]]:
    """Plans a domain from original photographs; the module's text says what is certain.

    Args:
        plan: The domain as annotated.
        folder: Holds the photographs as tars or folders.
        side: Short side of stored images in pixels.

    Returns:
        (the plan with the photographs' names, where they are, what the user should be told).

    Raises:
        DataError: Photographs are missing or damaged.
    """
    train = _originals(folder, TRAIN_TAR, "train", _TRAIN, side)
    if train is None or not train.photographs:
        raise DataError(f"{folder}: has no ILSVRC-2012 training photographs; {_FORMS}")
    splits, supplies = _trained(plan, train), [train.supply]
    message = (
        f"{plan.name} is made of the original photographs: classes, counts and sizes are those of"
        " the official annotations, but which photograph is in train and which in val is not"
        " determined by them, and pixels differ from the official ones: recorded as unofficial"
    )
    messages = [message]
    left_out = {}
    if "test" in plan.splits:
        val = _originals(folder, VAL_TAR, "val", _VAL, side)
        test = plan.splits["test"]
        sizes = list(zip(test.heights.tolist(), test.widths.tolist(), strict=True))
        names = embed(sizes, val.photographs) if val else None
        if val is not None and names is not None:
            splits["test"] = _renamed(test, names)
            supplies.append(val.supply)
        else:
            left_out["test"] = validation(folder)
            messages.append(
                f"{plan.name} test is left out: its annotated sizes are not found, in order,"
                f" among the validation photographs ({folder} has {left_out['test']})"
            )
    made = replace(plan, splits=splits, exact=False, left_out=left_out)
    return made, supplies, messages
