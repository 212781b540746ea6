"""Our reader of MATLAB files agrees with scipy's, and survives files that end scipy's process."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.io import loadmat, savemat

from decathlon.common.errors import DataError
from decathlon.data.sources.matlab import DEEPEST, MOST_BYTES, parse, read_matlab
from tests.data.fine_grained import car, mat, structure

HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
KINDS = st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])


def tag(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, inner: bytes, shape: tuple[int, ...] = (1, 1), name: bytes = b"x") -> bytes:
    dims = struct.pack(f"<{len(shape)}i", *shape)
    return tag(14, tag(6, struct.pack("<II", kind, 0)) + tag(5, dims) + tag(1, name) + inner)


def written(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, {"value": value}, **options)
    return file.getvalue()


@settings(max_examples=40)
@given(
    KINDS.flatmap(lambda kind: arrays(kind, st.tuples(st.integers(0, 5), st.integers(0, 5)))),
    st.booleans(),
)
def test_numbers_are_scipys(value: np.ndarray, packed: bool) -> None:
    raw = written(value, do_compression=packed)
    expected = loadmat(io.BytesIO(raw))["value"]
    found = parse(raw, "a.mat")["value"]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=1), st.booleans())
def test_texts_in_cells_are_scipys(texts: list[str], packed: bool) -> None:
    cells = np.empty((1, len(texts)), object)
    cells[0] = texts
    raw = written(cells, do_compression=packed)
    expected = [str(cell[0]) for cell in loadmat(io.BytesIO(raw))["value"][0]]
    assert parse(raw, "a.mat")["value"] == expected


def test_structures_and_rows_of_text() -> None:
    rows = [car(f"{k:05d}.jpg", k) for k in range(1, 4)]
    for raw in (mat(annotations=structure(rows)), written(structure(rows), do_compression=True)):
        (found,) = parse(raw, "a.mat").values()
        assert [record["fname"] for record in found] == ["00001.jpg", "00002.jpg", "00003.jpg"]
        assert [int(record["class"].item()) for record in found] == [1, 2, 3]
    assert parse(written(np.array(["ab", "cde"])), "a.mat")["value"] == ["ab", "cde"]


def test_the_other_order_of_bytes() -> None:
    body = (
        struct.pack(">II", 6, 8) + struct.pack(">II", 6, 0)
        + struct.pack(">IIii", 5, 8, 1, 2)
        + struct.pack(">IHH", 1 << 16 | 1, 0x7800, 0)  # a small element: the name x
        + struct.pack(">II", 9, 16) + struct.pack(">dd", 1.5, -2.0)
    )  # fmt: skip
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">HH", 0x0100, 0x4D49)
    found = parse(head + struct.pack(">II", 14, len(body)) + body, "a.mat")
    assert found["x"].tolist() == [[1.5, -2.0]]


def nested(depth: int) -> bytes:
    """A number in so many cells, one within the other."""
    inner = array(6, tag(9, struct.pack("<d", 1.0)))
    head = array(1, b"")[8:]
    starts, size = [], len(inner)
    for _ in range(depth):
        starts.append(struct.pack("<II", 14, size + len(head)) + head)
        size += len(starts[-1])
    return HEAD + b"".join([*reversed(starts), inner])


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no MATLAB 5 file"),
    "version 4": (struct.pack("<5i", 0, 1, 1, 0, 2) + b"x\0" + bytes(8), "no MATLAB 5 file"),
    "version 7.3": (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF", "save it with '-v7'"),
    "hdf5": (b"\x89HDF\r\n\x1a\n".ljust(600), "save it with '-v7'"),
    "truncated": (mat(labels=np.arange(99))[:-40], "longer than the file"),
    "nested": (nested(20_000), "arrays are nested more than"),
    "endless": (HEAD + (struct.pack("<II", 14, 9999) + array(1, b"")[8:]) * 999, "longer than"),
    "bomb": (HEAD + tag(15, zlib.compress(bytes(MOST_BYTES + 1))), "too many bytes"),
    "many cells": (HEAD + array(1, b"", (1 << 30, 1 << 30)), "declares more elements"),
    "many structures": (
        HEAD + array(2, tag(5, struct.pack("<i", 2)) + tag(1, b"a\0b\0"), (2_000_000_000, 1)),
        "declares more elements",
    ),
    "negative": (HEAD + array(6, tag(9, bytes(8)), (-1, 1)), "no valid shape"),
    "other count": (HEAD + array(6, tag(9, bytes(8)), (3, 1)), "cannot reshape"),
    "object": (HEAD + array(3, b""), "arrays of class 3"),
    "function": (HEAD + array(16, b""), "arrays of class 16"),
    "opaque": (HEAD + array(17, b""), "arrays of class 17"),
    "sparse": (HEAD + array(5, b""), "arrays of class 5"),
    "no length": (HEAD + array(2, tag(5, bytes(4)) + tag(1, b"a\0")), "no length"),
    "damaged": (HEAD + tag(15, b"no zlib"), "damaged MATLAB file"),
    "small": (HEAD + struct.pack("<HHI", 14, 60, 0), "longer than the file"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, what: str) -> None:
    raw, told = HOSTILE[what]
    path = tmp_path / "labels.mat"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"labels\.mat: ") as caught:
        read_matlab(path)
    assert told in str(caught.value)


def test_arrays_as_deep_as_official_ones() -> None:
    assert parse(nested(DEEPEST - 1), "a.mat")["x"] == [[[np.ones((1, 1))]]]


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_give_a_value_or_one_error(noise: bytes, at: int) -> None:
    raw = bytearray(mat(annotations=structure([car("a.jpg", 1)])))
    raw[at + 128 : at + 128 + len(noise)] = noise
    with suppress(DataError):
        parse(bytes(raw), "a.mat")
