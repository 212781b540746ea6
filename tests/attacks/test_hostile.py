"""Archives that are damaged or meant to do harm: refused by name, nothing written outside."""

import gzip
import hashlib
import io
import json
import os
import resource
import struct
import subprocess
import sys
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from decathlon.common.errors import DataError
from decathlon.data.image import ImageFile
from decathlon.data.preparing import decoding as processes
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.data.sources import annotations
from decathlon.data.sources import official as layout
from decathlon.suites import visual_decathlon as domains
from tests.attacks.test_command import files
from tests.data.official import Official, encoded, member, picture, tar_bytes

NAME = "dtd/train/0002/000001.jpg"
NINE = "decathlon-1.0-data.tar.gz"
DEVKIT = "decathlon-1.0-devkit.tar.gz"


def refused(official: Official, tmp_path: Path, text: str) -> str:
    # Deep enough that what leads outside the data folder is still looked at.
    data = tmp_path / "one" / "two" / "three" / "data"
    data.parent.mkdir(parents=True, exist_ok=True)
    before = {path: raw for path, raw in files(tmp_path).items() if data not in path.parents}
    with pytest.raises(DataError, match=text) as caught:
        prepare(official.folder, data, jobs=0)
    after = files(tmp_path)
    assert {path: raw for path, raw in after.items() if data not in path.parents} == before
    assert not list(data.rglob("*.h5"))
    assert not (data / "manifest.json").exists()
    return str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("name", [DEVKIT, NINE, "decathlon-1.0-data-imagenet.tar"])
def test_truncated_archives(official: Official, tmp_path: Path, name: str, kept: float) -> None:
    official.write()
    raw = (official.folder / name).read_bytes()
    official.put(name, raw[: int(len(raw) * kept)])
    # A tar cut between two members cannot be told from a whole one: then images lack.
    with pytest.raises(DataError, match=rf"{name}.*(truncated|lacks the image)"):
        prepare(official.folder, tmp_path / "data", jobs=0)
    left = {path.parent.name for path in (tmp_path / "data").rglob("*.h5")}
    assert left <= ({"imagenet12"} if name == NINE else set())


def test_a_flipped_bit_in_a_gzip_archive(small: Official, tmp_path: Path) -> None:
    small.write()
    raw = bytearray((small.folder / NINE).read_bytes())
    raw[len(raw) // 2] ^= 4
    small.put(NINE, bytes(raw))
    refused(small, tmp_path, NINE)


def test_a_file_that_is_no_archive(small: Official, tmp_path: Path) -> None:
    small.write()
    small.put(NINE, b"<html>not found</html>" * 100)
    refused(small, tmp_path, f"{NINE}: damaged")


def test_an_annotation_of_a_missing_image(small: Official, tmp_path: Path) -> None:
    del small.files["dtd"][NAME]
    small.write()
    text = refused(small, tmp_path, "lacks the image")
    assert NAME in text
    assert "dtd_train.json" in text


def test_a_member_twice(small: Official, tmp_path: Path) -> None:
    data = small.files["dtd"][NAME]
    small.members["dtd"] = [(member(NAME, data), data)]
    small.write()
    refused(small, tmp_path, f"{NAME}: is there twice")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.DIRTYPE, "folder"),
        (b"S", "special file"),
    ],
)
def test_an_image_that_is_no_regular_file(
    small: Official, tmp_path: Path, kind: bytes, told: str
) -> None:
    del small.files["dtd"][NAME]
    info = member(NAME)
    info.type, info.linkname = kind, "/etc/passwd"
    small.members["dtd"] = [(info, b"")]
    small.write()
    refused(small, tmp_path, f"({NAME}: is a {told}|lacks the image)")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../../escaped.jpg", "leads outside"),
        ("/tmp/escaped.jpg", "an absolute name"),
        ("dtd/../../escaped.jpg", "leads outside"),
    ],
)
def test_members_that_would_escape(small: Official, tmp_path: Path, name: str, told: str) -> None:
    data = encoded(picture(np.random.default_rng(0), 72, 72))
    small.members["dtd"] = [(member(name, data), data)]
    small.write()
    refused(small, tmp_path, f"dtd.tar: '{name}' has .*{told}")
    assert not list(tmp_path.rglob("escaped*"))
    assert not Path("/tmp/escaped.jpg").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("archive", [DEVKIT, NINE])
def test_links_and_devices_that_nobody_names(
    small: Official, tmp_path: Path, kind: bytes, archive: str
) -> None:
    small.write()
    info = member("unnamed")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(small.folder / archive) as tar:
        pairs = [(found, tar.extractfile(found).read()) for found in tar.getmembers()]
    small.put(archive, tar_bytes([*pairs, (info, b"")], "w:gz"))
    refused(small, tmp_path, f"{archive}: 'unnamed' is a ")


def test_official_archives_are_not_suspected(small: Official, tmp_path: Path) -> None:
    """Whatever else they may hold: their digest vouches for them."""
    info = member("dtd/link")
    info.type, info.linkname = tarfile.SYMTYPE, "elsewhere"
    small.members["dtd"] = [(info, b"")]
    small.write()
    raw = (small.folder / NINE).read_bytes()
    known = replace(domains.NINE, size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
    suite = replace(domains.SUITE, archives=(known,))
    prepare(small.folder, tmp_path / "data", suite=suite, jobs=0)


@pytest.mark.parametrize(
    "name", ["data/../../x.jpg", "/etc/passwd", "data//x.jpg", "data/./x.jpg", "", "a\0b", "\ud800"]
)
def test_unsafe_names_in_annotations(small: Official, tmp_path: Path, name: str) -> None:
    small.split("dtd", "train")["images"][0]["file_name"] = name
    small.write()
    refused(small, tmp_path, "dtd_train.json: .*file.?name")


def sized(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("name", [NAME, "unnamed.bin"])
def test_a_member_that_declares_ten_gigabytes(small: Official, tmp_path: Path, name: str) -> None:
    small.write()
    inner = sized(name, 10 << 30) + bytes(1 << 16)
    outer = member("dtd.tar")
    outer.size = len(inner) + (10 << 30)
    small.put(NINE, gzip.compress(outer.tobuf(tarfile.GNU_FORMAT) + inner))
    refused(small, tmp_path, f"{name}.* declares 10737418240 bytes")


def jpeg_claiming(height: int, width: int) -> bytes:
    data = bytearray(encoded(picture(np.random.default_rng(0), 72, 72)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_claiming(height: int, width: int) -> bytes:
    data = bytearray(encoded(picture(np.random.default_rng(0), 72, 72), "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("claim", [jpeg_claiming, png_claiming])
def test_an_image_that_declares_too_many_pixels(small: Official, tmp_path: Path, claim) -> None:
    small.files["dtd"][NAME] = claim(50_000, 50_000)
    small.write()
    refused(small, tmp_path, f"{NAME}: its header declares ")


def test_whatever_a_decoder_raises_is_told_of_the_image(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's decoders have raised struct.error, IndexError and more; none is known today."""
    taken = processes.ImageFile

    def stumbling(data: memoryview, limit: int, photograph: bool) -> ImageFile:
        if bytes(data) == small.files["dtd"][NAME]:
            raise IndexError("index out of range")
        return taken(data, limit, photograph)

    monkeypatch.setattr(processes, "ImageFile", stumbling)
    small.write()
    refused(small, tmp_path, rf"{NAME}: cannot be decoded \(IndexError: index out of range\)")


# Decodes one photograph and says how much memory that took, in bytes.
DECODES = """
import resource, sys
from pathlib import Path
from decathlon.data.image import PHOTOGRAPH_PIXELS, ImageError, ImageFile, stored_size
# How much the packages themselves take differs between their versions.
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = taken + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    image = ImageFile(Path(sys.argv[1]).read_bytes(), PHOTOGRAPH_PIXELS)
    size = stored_size(*image.shape, 72, 0)
    image.decode_into(memoryview(bytearray(3 * size[0] * size[1])), size)
    # Not getrusage, which counts what the process that started this one took.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").open())
    print("taken", status["VmHWM"].split()[0])
except ImageError as error:
    print(error)
"""


def decoding(path: Path, image: Image.Image, kind: str, room: int = 2 << 30) -> str:
    image.save(path, kind)
    done = subprocess.run(
        [sys.executable, "-c", DECODES, path, str(room)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["JPEG", "PNG", pytest.param("WEBP", marks=pytest.mark.slow)])
def test_a_photograph_takes_less_than_a_gigabyte(tmp_path: Path, kind: str) -> None:
    mode, size = ("RGB", (10_000, 10_000)) if kind == "JPEG" else ("RGBA", (8_000, 5_000))
    told = decoding(tmp_path / "large", Image.new(mode, size), kind)
    assert told.startswith("taken ")
    assert int(told.split()[1]) < 1 << 20  # kilobytes


def test_a_png_that_would_take_more_is_refused(tmp_path: Path) -> None:
    told = decoding(tmp_path / "large", Image.new("RGBA", (10_000, 10_000)), "PNG")
    assert told == "its header declares 10000 x 10000 pixels (limit 40 megapixels)\n"


def test_too_little_memory_for_an_image_is_said(tmp_path: Path) -> None:
    told = decoding(tmp_path / "large", Image.new("RGBA", (8_000, 5_000)), "PNG", 150 << 20)
    assert told == "there is not enough memory for its 8000 x 5000 pixels\n"


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "svg"])
def test_an_image_that_cannot_be_decoded(small: Official, tmp_path: Path, damage: str) -> None:
    whole = small.files["dtd"][NAME]
    small.files["dtd"][NAME] = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }[damage]
    small.write()
    refused(small, tmp_path, f"dtd.tar: {NAME}: ")


def test_a_gzip_bomb(small: Official, tmp_path: Path) -> None:
    small.write()
    size = 4 << 30
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9) as packed:
        packed.write(sized("zeros.bin", size))
        for _ in range(100):
            packed.write(bytes(1 << 20))
    small.put(NINE, file.getvalue())
    refused(small, tmp_path, f"{NINE}: unpacks to over 200 times its size")


def test_a_second_annotation_file(small: Official, tmp_path: Path) -> None:
    small.write()
    data = json.dumps(small.notes["dtd_val"]).encode()
    name = "decathlon-1.0/annotations/dtd_val.json"
    pairs = [(member(name, data), data)] * 2
    small.put(DEVKIT, tar_bytes(pairs, "w:gz"))
    refused(small, tmp_path, "a second annotation file of dtd val")


def put_annotations(official: Official, text: bytes) -> None:
    name = "decathlon-1.0/annotations/dtd_train.json"
    official.put(DEVKIT, tar_bytes([(member(name, text), text)], "w:gz"))


@pytest.mark.parametrize(
    "text",
    [
        b'{"images": [{"id": NaN}]}',
        b'{"images": [' + b"[" * 1_000_000,
        b'{"a": ' * 1_000_000,
        b'{"images": ["\xff\xfe"]}',
        b'{"images": [{"id": 1',
        b"[1, 2]",
        b'{"images": []} more',
        b'{"images": [], "images": []}',
        b'{"images": ["' + b"x" * 3_000_000 + b'"]}',
        b'{"images": [' + b"9" * 10_000 + b"]}",
    ],
    ids=["nan", "deep", "nested", "utf8", "cut", "array", "tail", "twice", "long", "digits"],
)
def test_annotations_that_are_no_good_json(small: Official, tmp_path: Path, text: bytes) -> None:
    small.write()
    put_annotations(small, text)
    refused(small, tmp_path, r"dtd_train\.json: not a valid annotation file")


def many(key: str, count: int, text: str, field: str) -> bytes:
    items = ",".join(f'{{"id":{k},"{field}":"{k:06d}{text}"}}' for k in range(count))
    return f'{{"{key}":[{items}]}}'.encode()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (many("images", 80_000, "n" * 490, "file_name"), "names of more than 64 bytes"),
        (many("categories", 40_000, "n" * 490, "name"), "more than 100000 categories, or with too"),
        (b"{" + b",".join(b'"%d":1' % k for k in range(2000)) + b"}", "more than 1000 keys"),
        (b'{"%s": 1}' % (b"k" * 2000), "too long"),
    ],
    ids=["file names", "class names", "keys", "a key"],
)
def test_annotations_that_would_fill_the_memory(
    small: Official, tmp_path: Path, text: bytes, told: str
) -> None:
    small.write()
    put_annotations(small, text)
    refused(small, tmp_path, rf"dtd_train\.json: .*{told}")


def test_more_images_than_a_devkit_has(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official.write()
    monkeypatch.setattr(layout, "MOST_IMAGES", 40)  # of 54
    refused(official, tmp_path, f"{DEVKIT}: describes more than 1000 domains, 40 images")
    monkeypatch.setattr(annotations, "MOST_IMAGES", 8)  # of 9
    refused(official, tmp_path, r"_train\.json: more than 8 images")
    monkeypatch.setattr(layout, "MOST_DOMAINS", 2)  # of 3
    refused(official, tmp_path, f"{DEVKIT}: describes more than 2 domains")


CONTRADICTIONS = {
    "image id twice": (
        lambda n: n["images"][1].update(id=n["images"][0]["id"]),
        "image id 40200002 is there twice",
    ),
    "file name twice": (
        lambda n: n["images"][1].update(file_name=n["images"][0]["file_name"]),
        "two images have the file name 'dtd/train/0002/000001.jpg'",
    ),
    "unknown category": (
        lambda n: n["annotations"][0].update(category_id=99),
        "category 99 is annotated but not listed",
    ),
    "unknown image": (
        lambda n: n["annotations"][0].update(image_id=99),
        "an annotation is of image 99, which is not listed",
    ),
    "annotated twice": (
        lambda n: n["annotations"][1].update(image_id=40200002),
        "image 40200002 is annotated twice",
    ),
    "not annotated": (
        lambda n: n["annotations"].pop(),
        r"image 40200010 \(and 0 more\) has no annotation",
    ),
    "category twice": (
        lambda n: n["categories"].append(n["categories"][0]),
        "category 40000001 is there twice",
    ),
    "no categories": (lambda n: n["categories"].clear(), "no categories are listed"),
    "far categories": (
        lambda n: n["categories"].append({"id": 10**12, "name": "far"}),
        "too far apart",
    ),
    "negative id": (lambda n: n["images"][0].update(id=-1), "'id' is '-1'"),
    "text id": (lambda n: n["images"][0].update(id="1"), "'id' is '1'"),
    "huge id": (lambda n: n["images"][0].update(id=1 << 70), "'id' is"),
    "huge size": (lambda n: n["images"][0].update(width=1 << 40), "'width' is"),
    "true": (lambda n: n["annotations"][0].update(category_id=True), "'category_id' is 'True'"),
    "no object": (lambda n: n["images"].append([]), r"'images' holds '\[\]'"),
    "no labels": (lambda n: n["annotations"].clear(), "training images without annotations"),
    "long class names": (
        lambda n: n["categories"].append({"id": 40090000, "name": "x" * 500}),
        r"90000 classes with names of up to 500 bytes take more than 17 MB",
    ),
    "renamed": (lambda n: n["categories"][0].update(name="other"), "category 40000001 is"),
    "nameless": (lambda n: n["categories"][0].update(name="\x1b[31m"), "40000001 has no name"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_annotations_that_contradict_themselves(small: Official, tmp_path: Path, what: str) -> None:
    notes = small.split("dtd", "train")
    notes["categories"] = [dict(category) for category in notes["categories"]]
    change, told = CONTRADICTIONS[what]
    change(notes)
    small.write()
    refused(small, tmp_path, told)


def test_memory_stays_bounded(small: Official, tmp_path: Path) -> None:
    """The worst cases together, under a limit on the address space."""
    small.write()
    put_annotations(small, b'{"images": ["' + os.urandom(4 << 20).hex().encode())
    code = (
        "import sys; from pathlib import Path\n"
        "from decathlon.data.preparing.prepare import prepare\n"
        "from decathlon.common.errors import DataError\n"
        "try: prepare(Path(sys.argv[1]), Path(sys.argv[2]), jobs=0)\n"
        "except DataError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, small.folder, tmp_path / "data"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    assert "longer than" in done.stdout, done.stderr


def prepared_shard(small: Official, data: Path) -> Path:
    prepare(small.write(), data, jobs=0)
    return data / "dtd" / "train.h5"


@pytest.mark.parametrize("value", [-5, 10**15, 10**9])
def test_a_shard_with_offsets_outside(small: Official, tmp_path: Path, value: int) -> None:
    path = prepared_shard(small, tmp_path)
    with h5py.File(path, "r+") as file:
        file["offset"][2] = value
    with pytest.raises(DataError, match=r"train\.h5: .*image 2 lies outside"):
        open_store(tmp_path).images("dtd", ["train"])
    with pytest.raises(DataError, match=r"train\.h5"):
        verify(tmp_path)


def test_a_shard_of_another_version(small: Official, tmp_path: Path) -> None:
    path = prepared_shard(small, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(DataError, match="format version 2"):
        open_store(tmp_path).images("dtd", ["train"])


@pytest.mark.parametrize("what", ["chunked", "float", "lacking", "short", "no hdf5", "group"])
def test_shards_that_are_none(small: Official, tmp_path: Path, what: str) -> None:
    path = prepared_shard(small, tmp_path)
    if what == "no hdf5":
        path.write_bytes(b"x" * 1000)
    else:
        with h5py.File(path, "r+") as file:
            if what == "chunked":
                pixels = file["pixels"][:]
                del file["pixels"]
                file.create_dataset("pixels", data=pixels, compression="gzip")
            elif what == "float":
                del file["label"]
                file["label"] = np.zeros(9)
            elif what == "lacking":
                del file["height"]
            elif what == "short":
                del file["label"]
                file["label"] = np.zeros(8, np.int32)
            else:
                del file["pixels"]
                file.create_group("pixels")
    with pytest.raises(DataError, match=r"train\.h5: no readable shard"):
        open_store(tmp_path).images("dtd", ["train"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "not a valid manifest"),
        ('{"format": 9}', "format version 9"),
        ('{"format": 1, "domains": {"x": {}}}', r"domains\.x\.official"),
    ],
)
def test_broken_manifests(small: Official, tmp_path: Path, text: str, told: str) -> None:
    prepared_shard(small, tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=told):
        open_store(tmp_path)


def test_a_manifest_cannot_point_outside(small: Official, tmp_path: Path) -> None:
    prepared_shard(small, tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    path.write_text(path.read_text().replace("dtd/train.h5", "../train.h5"))
    with pytest.raises(DataError, match=r"shards\.0\.file"):
        open_store(tmp_path / "data")
