"""What is to be prepared: the domains of a devkit, their classes, splits and shards."""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.common.text import megabytes
from decathlon.data.image import TOLERANCE, stored_sizes, too_large
from decathlon.data.shard import UNKNOWN, Columns, Header, Int64, shard_names
from decathlon.data.sources.annotations import (
    MOST_CLASS_TEXT,
    MOST_CLASSES,
    MOST_IMAGES,
    Annotations,
    read_annotations,
)
from decathlon.data.sources.opening import reading
from decathlon.data.sources.streams import Hashed, unpacked
from decathlon.data.sources.tar import Tar, told
from decathlon.suites.base import SPLITS, Suite
from decathlon.suites.visual_decathlon import DEVKIT

SHARD_BYTES = 4 << 30
"""Pixels that one shard holds at most, as far as whole images allow."""
MOST_DOMAINS = 1000
"""Domains of one devkit."""
DOMAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
FILE_NAME = re.compile(rf"({DOMAIN_NAME.pattern})_(train|val|test_stripped|test)\.json", re.ASCII)
"""An annotation file: domain, split."""
RESERVED = re.compile(r"manifest\.json|.*\.part|.*\.h5", re.IGNORECASE)
"""Names beside the domains' folders that belong to this program's files."""
_MEMBER = re.compile(rf"(?:.*/)?annotations/{FILE_NAME.pattern}", re.ASCII)


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be built.

    Attributes:
        file: Its name in the domain's folder.
        header: Its attributes.
        columns: What it will hold of each image if the annotated sizes are right.
    """

    file: str
    header: Header
    columns: Columns

    @property
    def digest(self) -> str:
        """SHA-256 of all of the plan."""
        columns = self.columns
        values = (columns.height, columns.width, columns.label, columns.image_id)
        known = [sha256(value.tobytes()).hexdigest() for value in values]
        return digest_of([self.file, asdict(self.header), known])


@dataclass(frozen=True)
class DomainPlan:
    """One domain to be prepared.

    Attributes:
        name: The domain.
        class_names: Name by label; ``""`` for a label that no category has.
        category_ids: Category id by label.
        splits: Annotations by split.
        exact: Whether the images are those that the annotations name, and no others in
            their place.
        left_out: See :class:`decathlon.data.manifest.DomainEntry`.
        split_folders: See :class:`decathlon.data.manifest.DomainEntry`.
        skipped: See :class:`decathlon.data.manifest.DomainEntry`.
    """

    name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    splits: dict[str, Annotations]
    exact: bool = True
    left_out: dict[str, str] = field(default_factory=dict)
    split_folders: str = ""
    skipped: dict[str, str] = field(default_factory=dict)

    def official(self, suite: Suite) -> bool:
        """Returns True if classes, split sizes and images are those of the suite's domain."""
        domain = suite.domains.get(self.name)
        sizes = tuple(len(self.splits[s]) if s in self.splits else 0 for s in SPLITS)
        return (
            domain is not None
            and self.exact
            and domain.num_classes == len(self.class_names) == sum(map(bool, self.class_names))
            and domain.sizes == sizes
        )

    def labels(self, split: str) -> Int64:
        """Returns the label of each image: its category less the smallest one."""
        known = self.splits[split].categories
        return np.where(known == UNKNOWN, UNKNOWN, known - self.category_ids[0])

    def shards(self, split: str, side: int) -> list[ShardPlan]:
        """Returns the shards of a split, in order.

        Args:
            split: The split.
            side: Short side of stored images in pixels.

        Raises:
            DataError: An image would be too large by what the annotations say.
        """
        notes = self.splits[split]
        heights, widths = stored_sizes(notes.heights, notes.widths, side, TOLERANCE)
        for k in np.flatnonzero(too_large(heights, widths))[:1]:
            raise DataError(
                f"{notes.where}: image {notes.image_ids[k]} is said to have {notes.widths[k]} x"
                f" {notes.heights[k]} pixels, and would have {widths[k]} x {heights[k]} when"
                " stored; correct or leave out its width and height"
            )
        ends = np.cumsum(3 * heights * widths)
        count = max(1, -(-int(ends[-1]) // SHARD_BYTES))
        bounds = np.searchsorted(ends, [ends[-1] * k // count for k in range(1, count)])
        cuts = [0, *(bounds + 1).tolist(), len(notes)]
        label = self.labels(split)
        header = Header(self.name, split, self.class_names, self.category_ids, notes.sha256)
        plans = []
        for name, low, high in zip(shard_names(split, count), cuts, cuts[1:], strict=False):
            part = slice(low, high)
            columns = Columns(
                height=heights[part],
                width=widths[part],
                label=label[part],
                image_id=notes.image_ids[part],
                crc32=np.zeros(high - low, np.int64),
            )
            plans.append(ShardPlan(name, header, columns))
        return plans


class NameIndex:
    """Finds the images of several splits by file name, in 17 bytes an image.

    Args:
        splits: Annotations in any order; image k of the index is the k-th of their
            concatenation.

    Raises:
        DataError: Two images have the same file name.
    """

    def __init__(self, splits: Sequence[Annotations]) -> None:
        self._splits = splits
        self._starts = np.cumsum([0] + [len(notes) for notes in splits]).tolist()
        names = (hash(name) for notes in splits for name in notes.names)
        hashes = np.fromiter(names, np.int64)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._order = (
            array("q", hashes[order].tobytes()),
            array("i", order.astype(np.int32).tobytes()),
        )
        self.seen = bytearray(len(hashes))
        self._next = 0
        ordered = hashes[order]
        for place in np.flatnonzero(ordered[1:] == ordered[:-1]).tolist():
            name = self.name(self._order[place])
            if name == self.name(self._order[place + 1]):
                raise DataError(
                    f"{self._split(self._order[place + 1])[0].where}: two images have the file"
                    f" name {name.decode()!r}; fetch the file again or mend it"
                )

    def __len__(self) -> int:
        return len(self._order)

    def _split(self, image: int) -> tuple[Annotations, int]:
        k = 0
        while image >= self._starts[k + 1]:
            k += 1
        return self._splits[k], image - self._starts[k]

    def name(self, image: int) -> bytes:
        """Returns the file name of an image of the index."""
        notes, index = self._split(image)
        return notes.names[index]

    def where(self, image: int) -> str:
        """Returns the name of the annotation file that names an image."""
        return self._split(image)[0].where

    def find(self, name: str) -> int | None:
        """Returns the image of that file name, None where there is none."""
        key = name.encode("utf-8", "surrogateescape")
        # Archives mostly have the order of the annotations.
        if self._next < len(self) and self.name(self._next) == key:
            self._next += 1
            return self._next - 1
        wanted = hash(key)
        place = bisect_left(self._hashes, wanted)
        while place < len(self._hashes) and self._hashes[place] == wanted:
            found = self._order[place]
            if self.name(found) == key:
                self._next = found + 1
                return found
            place += 1
        return None


def domain_plan(name: str, splits: dict[str, Annotations]) -> DomainPlan:
    """Joins the annotations of a domain's splits.

    Raises:
        DataError: Categories differ between splits, there are none, or their ids are too
            far apart or their names too long; a training image has no label; the name is reserved.
    """
    if RESERVED.fullmatch(name):
        raise DataError(
            f"annotations of {name}: a file of this program has such a name; rename the domain"
        )
    class_names: dict[int, str] = {}
    for notes in splits.values():
        for key, text in notes.class_names.items():
            if class_names.setdefault(key, text) != text:
                raise DataError(
                    f"{notes.where}: category {key} is {text!r} here and {class_names[key]!r}"
                    f" in another split of {name}; fetch the annotations again"
                )
    first, last = min(class_names), max(class_names)
    if last - first >= MOST_CLASSES:
        raise DataError(
            f"annotations of {name}: category ids from {first} to {last} are too far apart"
            f" (at most {MOST_CLASSES} classes)"
        )
    longest = max(len(text.encode()) for text in class_names.values())
    if (last - first + 1) * longest > MOST_CLASS_TEXT:
        raise DataError(
            f"annotations of {name}: {last - first + 1} classes with names of up to {longest}"
            f" bytes take more than {megabytes(MOST_CLASS_TEXT)}; shorten the names"
        )
    train = splits.get("train")
    if train is not None and len(train) and (train.categories == UNKNOWN).any():
        raise DataError(f"{train.where}: training images without annotations; fetch it again")
    ids = tuple(range(first, last + 1))
    names = tuple(class_names.get(key, "") for key in ids)
    filled = {split: splits[split] for split in SPLITS if split in splits and len(splits[split])}
    if not filled:
        raise DataError(f"annotations of {name}: no images are listed; fetch them again")
    return DomainPlan(name, names, ids, filled)


def devkit_domains(path: Path) -> list[str]:
    """Returns the names of the domains that a devkit archive describes.

    Raises:
        DataError: The archive is damaged.
    """
    names: dict[str, None] = {}
    with reading(path) as file:
        tar = Tar(unpacked(Hashed(file), path.name), path.name)
        for member in tar.members():
            if match := _MEMBER.fullmatch(member.name):
                names[match[1]] = None
                _check_totals(path, len(names))
    return list(names)


def _check_totals(path: Path, domains: int, images: int = 0, classes: int = 0) -> None:
    """Checks that what has been read of a devkit takes no more memory than it should."""
    # The three splits of a domain have the same classes.
    if domains > MOST_DOMAINS or images > MOST_IMAGES or classes > 3 * MOST_CLASSES:
        raise DataError(
            f"{path.name}: describes more than {MOST_DOMAINS} domains, {MOST_IMAGES:,} images or"
            f" {3 * MOST_CLASSES:,} classes of all splits; fetch the official file"
        )


def read_devkit(path: Path, wanted: Iterable[str] | None) -> tuple[dict[str, DomainPlan], str, int]:
    """Reads the annotations of a devkit archive as a stream.

    Args:
        path: ``decathlon-1.0-devkit.tar.gz``.
        wanted: Domains to read, or None for all.

    Returns:
        (plans by domain, SHA-256 of the archive, its size).

    Raises:
        DataError: The archive or an annotation file is damaged.
    """
    names = None if wanted is None else set(wanted)
    found: dict[str, dict[str, Annotations]] = {}
    with reading(path) as file:
        source = Hashed(file)
        tar = Tar(unpacked(source, path.name), path.name)
        odd, images, classes = "", 0, 0
        for member in tar.members():
            odd = odd or told(path.name, member)
            match = _MEMBER.fullmatch(member.name)
            if not match or (names is not None and match[1] not in names):
                continue
            where = f"{path.name}: {member.name}"
            if member.kind != "file":
                raise DataError(f"{where}: is a {member.kind}, not a file; fetch it again")
            split = "test" if match[2] == "test_stripped" else match[2]
            splits = found.setdefault(match[1], {})
            if split in splits:
                raise DataError(f"{where}: a second annotation file of {match[1]} {split}")
            splits[split] = read_annotations(tar.open(), where)
            images += len(splits[split])
            classes += len(splits[split].class_names)
            _check_totals(path, len(found), images, classes)
        digest = source.finish()
    if odd and digest != DEVKIT.sha256:
        raise DataError(odd)
    plans = {name: domain_plan(name, splits) for name, splits in found.items()}
    return plans, digest, source.count
