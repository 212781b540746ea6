"""One attack each on ``decathlon prepare`` and the readers of its shards.

A case changes an honest set of archives, or the data prepared from it, and says what
the refusal has to name.
"""

import gzip
import io
import json
import os
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from tests.data.official import Official, encoded, member, picture, tar_bytes

NAME = "dtd/train/0002/000001.jpg"
NINE, DEVKIT = "decathlon-1.0-data.tar.gz", "decathlon-1.0-devkit.tar.gz"


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        attack: Changes the honest set before or after it is written.
        named: What the refusal names.
        written: Whether ``attack`` wants the archives already written.
    """

    attack: Callable[[Official], None]
    named: str
    written: bool = False


def _image() -> bytes:
    return encoded(picture(np.random.default_rng(0), 72, 72))


def _extra(name: str) -> Callable[[Official], None]:
    def attack(official: Official) -> None:
        official.members["dtd"] = [(member(name, _image()), _image())]

    return attack


def _special(kind: bytes) -> Callable[[Official], None]:
    def attack(official: Official) -> None:
        del official.files["dtd"][NAME]
        info = member(NAME)
        info.type, info.linkname = kind, "../../../etc/passwd"
        official.members["dtd"] = [(info, b"")]

    return attack


def _duplicate(official: Official) -> None:
    data = official.files["dtd"][NAME]
    official.members["dtd"] = [(member(NAME, data), data)]


def _ten_gigabytes(official: Official) -> None:
    info = tarfile.TarInfo(NAME)
    info.size = 10 << 30
    inner = info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)
    outer = tarfile.TarInfo("dtd.tar")
    outer.size = len(inner) + (10 << 30)
    official.put(NINE, gzip.compress(outer.tobuf(tarfile.GNU_FORMAT) + inner))


def _huge_jpeg(official: Official) -> None:
    data = bytearray(official.files["dtd"][NAME])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 50_000, 50_000)
    official.files["dtd"][NAME] = bytes(data)


def _annotated(height: int, width: int) -> Callable[[Official], None]:
    def attack(official: Official) -> None:
        official.split("dtd", "train")["images"][0].update(height=height, width=width)

    return attack


def _one_row(annotated: bool) -> Callable[[Official], None]:
    """A PNG of under 1 kB that would have 4 million pixels a row when its side is 72."""

    def attack(official: Official) -> None:
        official.files["dtd"][NAME] = encoded(Image.new("L", (65535, 1)), "PNG")
        note = official.split("dtd", "train")["images"][0]
        assert note["file_name"] == f"data/{NAME}"
        del note["height"], note["width"]
        if annotated:
            note.update(height=1, width=65535)

    return attack


def _bomb(official: Official) -> None:
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9) as packed:
        info = tarfile.TarInfo("zeros.bin")
        info.size = 4 << 30
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            packed.write(bytes(1 << 20))
    official.put(NINE, file.getvalue())


def _text(text: bytes) -> Callable[[Official], None]:
    def attack(official: Official) -> None:
        name = "decathlon-1.0/annotations/dtd_train.json"
        official.put(DEVKIT, tar_bytes([(member(name, text), text)], "w:gz"))

    return attack


def _no_utf8(official: Official) -> None:
    """But for two bytes of a class name the annotations are as they should be."""
    text = json.dumps(official.split("dtd", "train")).encode()
    _text(text.replace(b"class 0", b"cl\xff\xfes 0"))(official)


def _nan(official: Official) -> None:
    notes = official.split("dtd", "train")
    notes["images"][0]["width"] = float("nan")
    assert "NaN" in json.dumps(notes)


def _duplicate_id(official: Official) -> None:
    images = official.split("dtd", "train")["images"]
    images[1]["id"] = images[0]["id"]


def _unknown_category(official: Official) -> None:
    official.split("dtd", "train")["annotations"][0]["category_id"] = 99


def _domain(name: str) -> Callable[[Official], None]:
    """Annotations of a domain that has the name of a file of the data folder."""

    def attack(official: Official) -> None:
        official.notes[f"{name}_train"] = official.split("dtd", "train")

    return attack


ARCHIVES = {
    "absolute name": Case(_extra("/tmp/decathlon-escaped.jpg"), "'/tmp/decathlon-escaped.jpg' has"),
    "name outside": Case(_extra("../../decathlon-escaped.jpg"), "'../../decathlon-escaped.jpg'"),
    "symbolic link": Case(_special(tarfile.SYMTYPE), f"{NAME}: is a symbolic link"),
    "hard link": Case(_special(tarfile.LNKTYPE), f"{NAME}: is a hard link"),
    "character device": Case(_special(tarfile.CHRTYPE), f"{NAME}: is a device"),
    "block device": Case(_special(tarfile.BLKTYPE), f"{NAME}: is a device"),
    "duplicate member": Case(_duplicate, f"{NAME}: is there twice"),
    "ten gigabytes": Case(_ten_gigabytes, f"{NAME}: declares 10737418240 bytes", written=True),
    "huge jpeg": Case(_huge_jpeg, f"{NAME}: its header declares 50000 x 50000 pixels"),
    "one row": Case(_one_row(False), f"{NAME}: its 65535 x 1 pixels would be 4718520 x 72"),
    "one row, annotated": Case(_one_row(True), "has 65535 x 1 pixels by its annotation"),
    "annotated size": Case(_annotated(1, 1000), "image 40200002 has 1000 x 1 pixels"),
    "gzip bomb": Case(_bomb, f"{NINE}: unpacks to over 200 times its size", written=True),
    "nan": Case(_nan, "dtd_train.json"),
    "duplicate id": Case(_duplicate_id, "image id 40200002 is there twice"),
    "unknown category": Case(_unknown_category, "category 99 is annotated but not listed"),
    "domain manifest.json": Case(_domain("manifest.json"), "annotations of manifest.json: a file"),
    "domain x.part": Case(_domain("x.part"), "annotations of x.part: a file"),
    "nested lists": Case(_text(b'{"images": ' + b"[" * 1_000_000), "dtd_train.json", written=True),
    "nested objects": Case(_text(b'{"a": ' * 1_000_000), "dtd_train.json", written=True),
    "not utf-8": Case(_no_utf8, "not UTF-8", written=True),
}
"""Attacks on ``prepare``."""


def _offsets(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["offset"][2] = 10**12


def _version(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2


def _flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _attribute(name: str, value: Any) -> Callable[[Path], None]:
    def attack(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value

    return attack


def _label(value: int) -> Callable[[Path], None]:
    def attack(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file["label"][1] = value

    return attack


def _linked(name: str, pipe: bool) -> Callable[[Path], None]:
    def attack(path: Path) -> None:
        other = path.with_name("other.h5")
        with h5py.File(path, "r+") as file:
            if pipe:
                os.mkfifo(other)
            else:
                with h5py.File(other, "w") as elsewhere:
                    elsewhere[name] = file[name][:]
            del file[name]
            file[name] = h5py.ExternalLink(other, f"/{name}")

    return attack


SHARDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "offsets outside": (_offsets, "image 2 lies outside its pixels"),
    "format version": (_version, "has format version 2, this program reads 1"),
    "attributes of gigabytes": (
        _attribute("class_names", np.array([10**9] * 3)),
        "'class_names' is of another type",
    ),
    "infinite category": (
        _attribute("category_ids", np.array([np.inf] * 3)),
        "'category_ids' is of another type",
    ),
    "fewer classes": (_attribute("category_ids", np.array([1, 2])), "differ in number"),
    "a domain of gigabytes": (
        _attribute("domain", np.int64(2 * 10**9)),
        "'domain' is of another type",
    ),
    "label too high": (_label(99), "image 1 has the label 99"),
    "label too low": (_label(-7), "image 1 has the label -7"),
    "label elsewhere": (_linked("label", False), "'label' is a link to elsewhere"),
    "pixels elsewhere": (_linked("pixels", False), "'pixels' is a link to elsewhere"),
    "link to a pipe": (_linked("label", True), "'label' is a link to elsewhere"),
    "flipped bit": (_flipped, "image 8 (counted from 0 in the shard) damaged"),
}
"""Attacks on a shard that has been prepared, and on those who read it."""
