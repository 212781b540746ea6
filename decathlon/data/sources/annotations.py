"""The annotations of one split: which images there are and what they show.

The official files are COCO style: ``images`` (id, width, height, file_name),
``annotations`` (image_id, category_id; absent where labels are withheld) and
``categories`` (id, name). They are read as a stream into arrays of about 80 bytes
an image, file names included.
"""

import hashlib
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from decathlon.common.errors import DataError
from decathlon.common.text import CONTROL, printable
from decathlon.data.sources.jsonstream import batches
from decathlon.data.sources.streaming import Readable

UNKNOWN = -1
"""Category or label of an image whose label is not known."""
LARGEST_SIDE = 65535
LONGEST_NAME = 512
"""Characters of a file or class name."""
MOST_CLASSES = 100_000
MOST_IMAGES = 4_000_000
"""Images of one file, and of one devkit: all official ones have 1.6 million together."""
MOST_CLASS_TEXT = 1 << 24
"""Bytes of all class names, each taken for as long as the longest."""
NAME_BYTES = 64
"""Bytes that a file name may take on the average, where there are many; official ones take 45."""
_FREE_NAME_BYTES = 1 << 25
"""Bytes of names before :data:`NAME_BYTES` is looked at."""
_INT64 = 1 << 63
_EXACT = 1 << 53
"""Largest number up to which floating point has every whole one."""
UNSAFE = re.compile(rf"(?:^|/)\.?\.?(?:/|\Z)|{CONTROL}")
"""A file name that does not lead down: an empty part, ``.`` or ``..``, or not printable."""


@dataclass(frozen=True)
class Names:
    """File names in one block of memory.

    Attributes:
        text: All names, one after the other.
        ends: int64 (n,), where each name ends in ``text``.
    """

    text: bytes
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[bytes]) -> "Names":
        """Joins names."""
        return cls(b"".join(names), np.cumsum([len(name) for name in names], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        start = self.ends.item(index - 1) if index else 0
        return self.text[start : self.ends.item(index)]

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for end in self.ends.tolist():
            yield self.text[start:end]
            start = end


@dataclass(frozen=True)
class Annotations:
    """One split as its annotation file describes it.

    Attributes:
        where: Name of the annotation file, for messages.
        names: Path of each image without the leading ``data/``.
        image_ids: int64 (n,), each id once.
        categories: int64 (n,), category id or -1 where not known.
        heights: int64 (n,) in pixels, 0 where not said.
        widths: int64 (n,) in pixels, 0 where not said.
        class_names: Name by category id, of all categories of the file.
        sha256: Digest of the file's bytes.
        boxes: float64 (n, 4), bounding boxes in pixels of the image files: left, top, width,
            height. None without any.
    """

    where: str
    names: Names
    image_ids: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    heights: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    class_names: dict[int, str]
    sha256: str
    boxes: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    def only(self, kept: npt.NDArray[np.bool_]) -> "Annotations":
        """Returns the annotations of some images, bool (n,)."""
        names = [name for name, keep in zip(self.names, kept.tolist(), strict=True) if keep]
        return replace(
            self,
            names=Names.of(names),
            image_ids=self.image_ids[kept],
            categories=self.categories[kept],
            heights=self.heights[kept],
            widths=self.widths[kept],
            boxes=None if self.boxes is None else self.boxes[kept],
        )


def _whole(value: object) -> int | None:
    """Returns a whole number, also one that is written as 96.0 or 1e2; None if it is none."""
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value if type(value) is int else None


def _described(value: object) -> str:
    """Says what kind of JSON value it is that does not fit."""
    kinds = {str: "a text", bool: "a truth value", list: "a list", dict: "an object"}
    if isinstance(value, float) and math.isfinite(value) and not value.is_integer():
        return "a fraction"
    return kinds.get(type(value), "null" if value is None else "a number out of range")


class _Digesting:
    def __init__(self, source: Readable) -> None:
        self.source, self.digest = source, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self.source.read(size)
        self.digest.update(data)
        return data


class _Reader:
    """Collects the elements of one annotation file, checking each."""

    def __init__(self, where: str, named: bool) -> None:
        self.where, self.named = where, named
        self.text, self.ends = bytearray(), array("q")
        self.ids, self.heights, self.widths = array("q"), array("q"), array("q")
        self.of_image, self.of_category = array("q"), array("q")
        self.class_names: dict[int, str] = {}
        self.class_text = 0  # bytes

    def fail(self, what: str) -> DataError:
        return DataError(f"{self.where}: {what}; fetch the file again or mend it")

    def wholes(
        self, items: list[dict[str, Any]], key: str, high: int, default: int = -1
    ) -> list[int]:
        """Returns a whole number in [0, high) of each; one that is missing is ``default``."""
        values = [item.get(key, default) for item in items]
        # All at once: bool is no int here.
        if set(map(type, values)) == {int} and min(values) >= 0 and max(values) < high:
            return values
        found = []
        for item, value in zip(items, values, strict=True):
            number = _whole(value)
            if key not in item and default < 0:
                raise self.fail(f"'{key}' is missing in {str(item)[:120]}")
            if number is None or not 0 <= number < high:
                raise self.fail(
                    f"'{key}' is {str(value)[:40]!r} in {str(item)[:120]}: {_described(value)},"
                    f" where a whole number from 0 to {high - 1} belongs"
                )
            found.append(number)
        return found

    def images(self, items: list[dict[str, Any]]) -> None:
        ids = self.wholes(items, "id", _INT64)
        self.ids.extend(ids)
        self.heights.extend(self.wholes(items, "height", LARGEST_SIDE + 1, 0))
        self.widths.extend(self.wholes(items, "width", LARGEST_SIDE + 1, 0))
        if self.named:
            self.names(ids, items)
        if len(self.ids) > MOST_IMAGES:
            raise self.fail(f"more than {MOST_IMAGES:,} images")
        if len(self.text) > _FREE_NAME_BYTES + NAME_BYTES * len(self.ids):
            raise self.fail(f"file names of more than {NAME_BYTES} bytes on the average")

    def names(self, ids: list[int], items: list[dict[str, Any]]) -> None:
        names: list[Any] = [item.get("file_name") for item in items]
        for name, item in zip(names, items, strict=True):
            if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
                raise self.fail(f"'file_name' is {str(name)[:40]!r} in {str(item)[:120]}")
        # All at once: mostly there is nothing that has to be looked at more closely.
        joined = f"/{'/'.join(names)}/"
        if "//" in joined or "/." in joined or not joined.isprintable():
            for key, name in zip(ids, names, strict=True):
                if UNSAFE.search(name):
                    raise self.fail(f"image {key} has the unsafe file name {name!r}")
        encoded = [name.removeprefix("data/").encode() for name in names]
        ends = accumulate(map(len, encoded), initial=len(self.text))
        self.ends.extend(islice(ends, 1, None))
        self.text += b"".join(encoded)

    def annotations(self, items: list[dict[str, Any]]) -> None:
        self.of_image.extend(self.wholes(items, "image_id", _INT64))
        self.of_category.extend(self.wholes(items, "category_id", _INT64))
        if len(self.of_image) > MOST_IMAGES:
            raise self.fail(f"more than {MOST_IMAGES:,} annotations")

    def categories(self, items: list[dict[str, Any]]) -> None:
        for key, item in zip(self.wholes(items, "id", _INT64), items, strict=True):
            self.category(key, item.get("name", None if self.named else ""))

    def category(self, key: int, name: object) -> None:
        shortest = 1 if self.named else 0
        if (
            not isinstance(name, str)
            or not shortest <= len(name) <= LONGEST_NAME
            or not printable(name)
        ):
            raise self.fail(f"category {key} has no name of 1 to {LONGEST_NAME} characters")
        if key in self.class_names:
            raise self.fail(f"category {key} is there twice")
        self.class_text += len(name.encode())
        if len(self.class_names) >= MOST_CLASSES or self.class_text > MOST_CLASS_TEXT:
            raise self.fail(f"more than {MOST_CLASSES} categories, or with too long names")
        self.class_names[key] = name

    def labels(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the category of each image."""
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(twice):
            raise self.fail(f"image id {ordered[twice[0]]} is there twice")
        found = np.full(len(ids), UNKNOWN, np.int64)
        of_image = np.frombuffer(self.of_image, np.int64)
        if not len(of_image):
            return found
        found_at = np.minimum(np.searchsorted(ordered, of_image), max(len(ids) - 1, 0))
        foreign = np.flatnonzero(ordered[found_at] != of_image) if len(ids) else np.arange(1)
        if len(foreign):
            raise self.fail(
                f"an annotation is of image {of_image[foreign[0]]}, which is not listed"
            )
        if len(np.unique(of_image)) != len(of_image):
            values, counts = np.unique(of_image, return_counts=True)
            raise self.fail(f"image {values[counts > 1][0]} is annotated twice")
        if len(of_image) != len(ids):
            missing = np.setdiff1d(ids, of_image)
            raise self.fail(f"image {missing[0]} (and {len(missing) - 1} more) has no annotation")
        categories = np.frombuffer(self.of_category, np.int64)
        for category in np.unique(categories).tolist():
            if category not in self.class_names:
                raise self.fail(f"category {category} is annotated but not listed")
        found[order[found_at]] = categories
        return found


def read_annotations(source: Readable, where: str, named: bool = True) -> Annotations:
    """Reads one annotation file.

    Args:
        source: The file's bytes.
        where: Its name, for messages.
        named: Images need file names, and categories names. If False, ``names`` stays empty.

    Raises:
        DataError: The file is not valid: not JSON, ids or file names that are missing,
            of another type, unsafe or there twice, an annotation of an image or a
            category that is not listed, an image without one where others have one.
    """
    reader, digesting = _Reader(where, named), _Digesting(source)
    take = {
        "images": reader.images,
        "annotations": reader.annotations,
        "categories": reader.categories,
    }
    for key, items in batches(digesting, where):
        if key not in take:
            continue
        for item in items:
            if not isinstance(item, dict):
                raise reader.fail(f"'{key}' holds {str(item)[:40]!r}, which is no object")
        take[key](items)
    if not reader.class_names:
        raise reader.fail("no categories are listed")
    ids = np.frombuffer(reader.ids, np.int64)
    return Annotations(
        where=where,
        names=Names(bytes(reader.text), np.frombuffer(reader.ends, np.int64)),
        image_ids=ids,
        categories=reader.labels(ids),
        heights=np.frombuffer(reader.heights, np.int64),
        widths=np.frombuffer(reader.widths, np.int64),
        class_names=reader.class_names,
        sha256=digesting.digest.hexdigest(),
    )
