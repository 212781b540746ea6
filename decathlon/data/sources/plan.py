"""What a source offers and preparing writes: domains with their classes, splits and shards."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.common.text import megabytes, printable_name
from decathlon.data.image import TOLERANCE, stored_sizes, too_large
from decathlon.data.shard import UNKNOWN, Columns, Header, Int64, shard_names
from decathlon.data.sources.annotations import MOST_CLASS_TEXT, MOST_CLASSES, Annotations
from decathlon.suites.base import SPLITS, Suite

SHARD_BYTES = 4 << 30
"""Pixels that one shard holds at most, as far as whole images allow."""
DOMAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
RESERVED = re.compile(r"manifest\.json|.*\.part|.*\.h5", re.IGNORECASE)
"""Names beside the domains' folders that belong to this program's files."""


@dataclass(frozen=True)
class ShardPlan:
    """One shard to be built.

    Attributes:
        file: Its name in the domain's folder.
        header: Its attributes.
        columns: What it will hold of each image if the annotated sizes are right; boxes are
            filled in later.
        boxes: float64 (n, 4), the bounding boxes in pixels of the image files; None without any.
    """

    file: str
    header: Header
    columns: Columns
    boxes: npt.NDArray[np.float64] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of all of the plan."""
        columns = self.columns
        values = [columns.height, columns.width, columns.label, columns.image_id]
        boxes = [] if self.boxes is None else [self.boxes]
        known = [sha256(value.tobytes()).hexdigest() for value in [*values, *boxes]]
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
        held_out: See :class:`decathlon.data.manifest.DomainEntry`.
    """

    name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    splits: dict[str, Annotations]
    exact: bool = True
    left_out: dict[str, str] = field(default_factory=dict)
    split_folders: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    held_out: float = 0.0

    def official(self, suite: Suite) -> bool:
        """Returns True if classes, split sizes and images are those of the suite's domain."""
        domain = suite.domains.get(self.name)
        sizes = tuple(len(self.splits[s]) if s in self.splits else 0 for s in SPLITS)
        if suite.held_out:  # official sets have no val: it is a part of train
            train, val, test = sizes
            sizes = (train + val, 0, test)
        return (
            domain is not None
            and self.exact
            and domain.num_classes == len(self.class_names) == sum(map(bool, self.class_names))
            and domain.sizes == sizes
        )

    def without(self, skipped: Mapping[str, str]) -> "DomainPlan":
        """Returns the plan without broken images.

        Args:
            skipped: Why each is left out, by name as
                :func:`~decathlon.common.text.printable_name` gives it.
        """
        if not skipped:
            return self
        splits = {}
        for split, notes in self.splits.items():
            kept = np.array([printable_name(name) not in skipped for name in notes.names], bool)
            if kept.any():
                splits[split] = notes.only(kept)
        return replace(self, splits=splits, skipped={**self.skipped, **skipped})

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
            DataError: An image would be too large by what the listed say.
        """
        listed = self.splits[split]
        heights, widths = stored_sizes(listed.heights, listed.widths, side, TOLERANCE)
        for k in np.flatnonzero(too_large(heights, widths))[:1]:
            raise DataError(
                f"{listed.where}: image {listed.image_ids[k]} has {listed.widths[k]} x"
                f" {listed.heights[k]} pixels by its annotation, which would be {widths[k]} x"
                f" {heights[k]} when stored; correct or leave out its width and height"
            )
        ends = np.cumsum(3 * heights * widths)
        count = max(1, -(-int(ends[-1]) // SHARD_BYTES))
        bounds = np.searchsorted(ends, [ends[-1] * k // count for k in range(1, count)])
        cuts = [0, *(bounds + 1).tolist(), len(listed)]
        label = self.labels(split)
        header = Header(self.name, split, self.class_names, self.category_ids, listed.sha256)
        plans = []
        for name, low, high in zip(shard_names(split, count), cuts, cuts[1:], strict=False):
            part = slice(low, high)
            columns = Columns(
                height=heights[part],
                width=widths[part],
                label=label[part],
                image_id=listed.image_ids[part],
                crc32=np.zeros(high - low, np.int64),
                box=None if listed.boxes is None else np.zeros((high - low, 4), np.float32),
            )
            boxes = None if listed.boxes is None else listed.boxes[part]
            plans.append(ShardPlan(name, header, columns, boxes))
        return plans


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
    for annotations in splits.values():
        for key, text in annotations.class_names.items():
            if class_names.setdefault(key, text) != text:
                raise DataError(
                    f"{annotations.where}: category {key} is {text!r} here and {class_names[key]!r}"
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
