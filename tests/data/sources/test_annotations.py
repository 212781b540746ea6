"""Annotation files as people's programs write them."""

import codecs
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decathlon.common.errors import DataError
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import open_store
from tests.data.official import Official, member, tar_bytes

NAME = "dtd_train"


def write(official: Official, change: Callable[[bytes], bytes]) -> Path:
    """Writes archives whose training annotations are changed, byte by byte."""
    official.write()
    files = {name: json.dumps(notes).encode() for name, notes in official.notes.items()}
    files[NAME] = change(files[NAME])
    members = [
        (member(f"decathlon-1.0/annotations/{name}.json", data), data)
        for name, data in files.items()
    ]
    official.put("decathlon-1.0-devkit.tar.gz", tar_bytes(members, "w:gz"))
    return official.folder


def as_floats(data: bytes) -> bytes:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [changed(item) for item in value]
        return float(value) if isinstance(value, int) else value

    return json.dumps(changed(json.loads(data))).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: codecs.BOM_UTF8 + data,
        lambda data: json.dumps(json.loads(data), indent=1).replace("\n", "\r\n").encode(),
        as_floats,
        lambda data: data.replace(b'"width": 72', b'"width": 7.2e1'),
        lambda data: codecs.BOM_UTF8 + b"\r\n" + as_floats(data),
    ],
    ids=["mark", "line ends", "96.0", "7.2e1", "all"],
)
def test_what_is_certain_is_read(
    small: Official, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    prepare(small.write(), tmp_path / "plain", jobs=0)
    prepare(write(small, change), tmp_path / "changed", jobs=0)
    one, other = (
        open_store(tmp_path / name).images("dtd", ["train"]) for name in ("plain", "changed")
    )
    for key in ("labels", "image_ids", "heights", "widths"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
    for k in range(len(one)):
        np.testing.assert_array_equal(one.pixels(k), other.pixels(k))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.decode().encode("utf-16"), "looks like UTF-16 text"),
        (lambda data: data.decode().encode("utf-16-le"), "looks like UTF-16 text"),
        (lambda data: data.decode().encode("utf-16-be"), "looks like UTF-16 text"),
        (lambda data: b"\x1f\x8b\b" + data, "looks like a gzip file"),
        (lambda data: b"PK\3\4" + data, "looks like a zip archive"),
        (lambda data: b"\n<!DOCTYPE html>", "looks like a web page"),
        (lambda data: codecs.BOM_UTF8 + b"[" + data + b"]", "looks like a list"),
        (lambda data: b"", "looks like an empty file"),
        (lambda data: codecs.BOM_UTF8, "looks like an empty file"),
        (lambda data: data.replace(b": 72", b": 72.5"), "a fraction, where a whole number"),
        (lambda data: data.replace(b": 72", b': "72"'), "a text, where a whole number"),
        (lambda data: data.replace(b": 72", b": null"), "null, where a whole number"),
        (lambda data: data.replace(b": 72", b": 1e400"), "a number out of range"),
        (lambda data: data.replace(b'"image_id": ', b'"image_id": 1e17, "x": ', 1), "out of range"),
        (lambda data: data.replace(b'"image_id": ', b'"x": ', 1), "'image_id' is missing"),
    ],
)
def test_what_is_not_certain_is_told(
    small: Official, tmp_path: Path, change: Callable[[bytes], bytes], told: str
) -> None:
    folder = write(small, change)
    with pytest.raises(DataError, match=rf"dtd_train\.json: .*{told}"):
        prepare(folder, tmp_path / "data", jobs=0)


def test_labels_are_read_likewise(small: Official, tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    text = as_floats(json.dumps(small.labels("dtd")).encode())
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("labels/dtd_test.json")
        info.filename = "labels\\dtd_test.json"
        archive.writestr(info, codecs.BOM_UTF8 + text)
        archive.writestr("__MACOSX/._dtd_test.json", b"\0\5\26\7")
    prepare(small.write(), tmp_path / "data", labels=path, jobs=0)
    labels = open_store(tmp_path / "data").images("dtd", ["test"]).labels
    assert labels.tolist() == [0, 1, 2, 0, 1]
