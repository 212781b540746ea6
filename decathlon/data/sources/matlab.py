"""Reads MATLAB 5 files: numbers, texts, cells and structures, and nothing that runs.

A reader of our own, as ``scipy.io.loadmat`` (1.17) ends the process with a segmentation fault on
a file of 1 MB whose cells are nested 20,000 deep. Sizes that a file declares are never trusted:
memory is taken for bytes that are there. The format: MathWorks, "MAT-File Format", chapter 1.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from decathlon.common.errors import DataError
from decathlon.common.text import megabytes
from decathlon.data.sources.streaming import reading

MOST_BYTES = 32 << 20
"""Of a file, and of all its unpacked variables; the largest official ones take 8 MB."""
DEEPEST = 4
"""Arrays within arrays: a cell in a structure in a variable is the third."""
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_TEXTS = {1: "ascii", 2: "ascii", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR, _SPARSE = 1, 2, 4, 5
_FIRST_NUMBER, _LAST_NUMBER = 6, 15
_FAULTS = (ValueError, struct.error, zlib.error, LookupError, OverflowError, MemoryError)

Elements = Iterator[tuple[int, memoryview]]


def read_matlab(path: Path) -> dict[str, Any]:
    """Reads a file; see :func:`parse`.

    Raises:
        DataError: It cannot be read, or :func:`parse` refuses it.
    """
    with reading(path) as file:
        return parse(file.read(MOST_BYTES + 1), str(path))


def parse(data: bytes, where: str) -> dict[str, Any]:
    """Returns the variables of a file by name.

    Args:
        data: The file's bytes.
        where: Its name, for messages.

    Returns:
        For numbers, an array of their shape; for a text, a str, or for several rows of text, a
        list; for a cell, a list in column order; for a structure, a list of dicts.

    Raises:
        DataError: The file is of another version, damaged, too large, or holds objects.
    """
    mend = "fetch the official file"
    if len(data) > MOST_BYTES:
        raise DataError(f"{where}: takes more than {megabytes(MOST_BYTES)}; {mend}")
    if data[:10] == b"MATLAB 7.3" or data[:4] == b"\x89HDF":
        raise DataError(f"{where}: is a MATLAB 7.3 file; save it with '-v7' or {mend}")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise DataError(f"{where}: is no MATLAB 5 file; {mend}")
    try:
        return _File(order).variables(memoryview(data)[128:])
    except _FAULTS as error:
        raise DataError(f"{where}: damaged MATLAB file ({str(error)[:200]}); {mend}") from None


def records(variables: dict[str, Any], where: Path) -> list[dict[str, Any]]:
    """Returns the structure ``annotations`` of a file.

    Raises:
        DataError: There is none.
    """
    found = variables.get("annotations")
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise DataError(f"{where}: has no structure 'annotations'; fetch it again")
    return found


def number(record: dict[str, Any], field: str, where: Path) -> float:
    """Returns a field that holds one number.

    Raises:
        DataError: It does not, or is missing.
    """
    value = record.get(field)
    if not isinstance(value, np.ndarray) or value.size != 1 or not np.isfinite(value).all():
        raise DataError(f"{where}: '{field}' of an image is no number; fetch it again")
    return float(value.item())


class _File:
    """Parses the elements of one file; ``order`` is that of the bytes."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.text_order = {"<": "-le", ">": "-be"}[order]
        self.tag = struct.Struct(f"{order}II")
        self.left = MOST_BYTES

    def elements(self, data: memoryview) -> Elements:
        """Yields type and bytes of the elements that follow each other."""
        at = 0
        while at < len(data):
            kind, size = self.tag.unpack_from(data, at)
            if kind >> 16:  # a small one: its size is in the upper half, its bytes follow at once
                kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            else:
                start = at + 8
                end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
            if (size > 4 and start == at + 4) or start + size > len(data):
                raise ValueError("an element is longer than the file")
            yield kind, data[start : start + size]
            at = end

    def variables(self, data: memoryview) -> dict[str, Any]:
        found = {}
        for kind, content in self.elements(data):
            arrays = [(kind, content)]
            if kind == _COMPRESSED:
                unpacking = zlib.decompressobj()
                unpacked = unpacking.decompress(content, max(1, self.left))
                if unpacking.unconsumed_tail or not unpacking.eof:
                    raise ValueError("a variable is truncated or unpacks to too many bytes")
                self.left -= len(unpacked)
                arrays = list(self.elements(memoryview(unpacked)))
            for kind_of_array, array in arrays:
                if kind_of_array == _MATRIX:
                    name, value = self.matrix(array, 1)
                    found[name] = value
        return found

    def matrix(self, data: memoryview, depth: int) -> tuple[str, Any]:
        """Returns name and value of an array."""
        if not data:
            return "", np.zeros((0, 0))
        if depth > DEEPEST:
            raise ValueError(f"arrays are nested more than {DEEPEST} deep")
        parts = self.elements(data)

        def part() -> tuple[int, memoryview]:
            found = next(parts, None)
            if found is None:
                raise ValueError("an array is incomplete")
            return found

        kind = int(self.numbers(*part())[0]) & 0xFF
        shape = tuple(self.numbers(*part()).tolist())
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError("an array has no valid shape")
        name = bytes(part()[1]).decode("ascii")
        if kind == _CELL:
            return name, [self.inner(part(), depth) for _ in range(self.count(shape, data))]
        if kind == _STRUCT:
            return name, self.structure(shape, part, depth, data)
        if kind == _CHAR:
            return name, self.text(shape, *part())
        if not _FIRST_NUMBER <= kind <= _LAST_NUMBER:
            raise ValueError(f"it holds arrays of class {kind}: objects, functions or sparse ones")
        values = self.numbers(*part())
        return name, values.reshape(shape, order="F")

    def count(self, shape: tuple[int, ...], data: memoryview) -> int:
        """Returns the number of an array's elements, each of which takes a tag at least."""
        count = int(np.prod(np.array(shape, object)))
        if count * self.tag.size > len(data):
            raise ValueError("an array declares more elements than there are")
        return count

    def inner(self, element: tuple[int, memoryview], depth: int) -> Any:
        kind, content = element
        if kind != _MATRIX:
            raise ValueError("a cell holds no array")
        return self.matrix(content, depth + 1)[1]

    def structure(
        self,
        shape: tuple[int, ...],
        part: Callable[[], tuple[int, memoryview]],
        depth: int,
        data: memoryview,
    ) -> list[dict[str, Any]]:
        length = int(self.numbers(*part())[0])
        if length < 1:
            raise ValueError("field names have no length")
        text = bytes(part()[1])
        cuts = range(0, len(text), length)
        fields = [text[at : at + length].split(b"\0", 1)[0].decode("ascii") for at in cuts]
        count = self.count((*shape, len(fields)), data) // max(1, len(fields))
        if not fields:
            return []
        return [{field: self.inner(part(), depth) for field in fields} for _ in range(count)]

    def text(self, shape: tuple[int, ...], kind: int, content: memoryview) -> str | list[str]:
        if kind not in _TEXTS:
            raise ValueError(f"a text of type {kind}")
        coding = _TEXTS[kind] + self.text_order * _TEXTS[kind].startswith(("utf-1", "utf-3"))
        text = bytes(content).decode(coding)
        rows = shape[0]
        if rows <= 1:
            return text
        return [text[row::rows].rstrip() for row in range(rows)]

    def numbers(self, kind: int, content: memoryview) -> np.ndarray[Any, np.dtype[Any]]:
        if kind not in _NUMBERS:
            raise ValueError(f"numbers of type {kind}")
        return np.frombuffer(content, self.order + _NUMBERS[kind])
