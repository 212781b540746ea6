"""Zip files of labels that are damaged or meant to do harm: one message that names the file."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from decathlon.common.errors import DataError
from decathlon.data.sources.test_labels import read_labels
from decathlon.suites.visual_decathlon import SUITE
from tests.attacks.test_command import decathlon, refused
from tests.data.official import Official

NAME = "dtd_test.json"
ENTRY = b"PK\x01\x02"
"""Begins an entry of the directory, where sizes, flags and methods are told."""


def written(path: Path, text: bytes, method: int, name: str = NAME) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, text)
    return bytearray(path.read_bytes())


def entry(at: int, kind: str, value: int) -> Callable[[bytearray], None]:
    """Returns an attack that changes a field of the member's entry in the directory."""

    def attack(raw: bytearray) -> None:
        struct.pack_into(kind, raw, raw.index(ENTRY) + at, value)

    return attack


def _dictionary(raw: bytearray) -> None:
    struct.pack_into("<I", raw, 30 + len(NAME) + 5, 0xF0000000)


def _flipped(raw: bytearray) -> None:
    raw[30 + len(NAME) + 20] ^= 0xFF
    raw[30 + len(NAME) + 25] ^= 0xFF


def _no_text(raw: bytearray) -> None:
    entry(8, "<H", 0x800)(raw)
    at = raw.index(ENTRY) + 46
    raw[at : at + 2] = b"\xff\xfe"


def _far(raw: bytearray) -> None:
    struct.pack_into("<I", raw, raw.rindex(b"PK\x05\x06") + 16, 0x7FFFFFFF)


ATTACKS: dict[str, tuple[int, Callable[[bytearray], None]]] = {
    "lzma": (zipfile.ZIP_LZMA, lambda raw: None),
    "a dictionary of 4 GB": (zipfile.ZIP_LZMA, _dictionary),
    "damaged lzma": (zipfile.ZIP_LZMA, _flipped),
    "damaged bz2": (zipfile.ZIP_BZIP2, _flipped),
    "damaged deflate": (zipfile.ZIP_DEFLATED, _flipped),
    "damaged": (zipfile.ZIP_STORED, _flipped),
    "version 255": (zipfile.ZIP_DEFLATED, entry(6, "<H", 255)),
    "unknown method": (zipfile.ZIP_DEFLATED, entry(10, "<H", 99)),
    "encrypted": (zipfile.ZIP_DEFLATED, entry(8, "<H", 1)),
    "patched": (zipfile.ZIP_DEFLATED, entry(8, "<H", 0x20)),
    "a name that is no text": (zipfile.ZIP_DEFLATED, _no_text),
    "a directory far away": (zipfile.ZIP_DEFLATED, _far),
    "a member far away": (zipfile.ZIP_DEFLATED, entry(42, "<I", 0x7FFFFFFF)),
    "no checksum": (zipfile.ZIP_DEFLATED, entry(16, "<I", 1)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_zip_that_cannot_be_read_is_named(small: Official, tmp_path: Path, name: str) -> None:
    method, attack = ATTACKS[name]
    path = tmp_path / "labels.zip"
    raw = written(path, json.dumps(small.labels("dtd")).encode(), method)
    attack(raw)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"labels\.zip: "):
        read_labels(path, SUITE, ["dtd"])
    with pytest.raises(DataError, match=r"labels\.zip: "):
        read_labels(path, SUITE)


@pytest.mark.parametrize("name", [f"../../{NAME}", f"/tmp/{NAME}", f"labels/../../{NAME}"])
def test_a_member_that_would_escape_is_refused(small: Official, tmp_path: Path, name: str) -> None:
    path = tmp_path / "labels.zip"
    written(path, json.dumps(small.labels("dtd")).encode(), zipfile.ZIP_DEFLATED, name)
    with pytest.raises(DataError, match=r"labels\.zip: '.*' is a name that leads outside"):
        read_labels(path, SUITE, ["dtd"])
    with pytest.raises(DataError, match=r"labels\.zip: '.*' is a name that leads outside"):
        read_labels(path, SUITE)


def test_the_command_refuses_and_leaves_all_as_it_was(small: Official, tmp_path: Path) -> None:
    small.write()
    command = ["prepare", "--archives", small.folder, "--data", tmp_path / "data", "--jobs", "0"]
    assert decathlon(tmp_path, *command).returncode == 0
    before = (tmp_path / "data" / "dtd" / "test.h5").read_bytes()
    path = tmp_path / "labels.zip"
    raw = written(path, json.dumps(small.labels("dtd")).encode(), zipfile.ZIP_LZMA)
    _dictionary(raw)
    path.write_bytes(raw)
    refused(
        decathlon(tmp_path, *command, "--labels", path), "labels.zip: 'dtd_test.json' is packed"
    )
    assert (tmp_path / "data" / "dtd" / "test.h5").read_bytes() == before
