"""Finds an image among millions by its file name."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from decathlon.common.errors import DataError
from decathlon.data.sources.annotations import Annotations


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
        self._starts = np.cumsum([0] + [len(annotations) for annotations in splits]).tolist()
        names = (hash(name) for annotations in splits for name in annotations.names)
        hashes = np.fromiter(names, np.int64)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._order = (
            array("q", hashes[order].tobytes()),
            array("i", order.astype(np.int32).tobytes()),
        )
        self.seen = bytearray(len(hashes))
        self._next = 0
        ordered = hashes[order]
        for k in np.flatnonzero(ordered[1:] == ordered[:-1]).tolist():
            name = self.name(self._order[k])
            if name == self.name(self._order[k + 1]):
                raise DataError(
                    f"{self._split(self._order[k + 1])[0].where}: two images have the file"
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
        annotations, index = self._split(image)
        return annotations.names[index]

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
        k = bisect_left(self._hashes, wanted)
        while k < len(self._hashes) and self._hashes[k] == wanted:
            found = self._order[k]
            if self.name(found) == key:
                self._next = found + 1
                return found
            k += 1
        return None
