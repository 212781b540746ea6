"""The fine-grained sets together: what holds for any layout."""

import gzip
import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import DataError, UsageError
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.data.sources import readers
from decathlon.data.sources.image_archive import archive_entry
from decathlon.suites.fine_grained import MEAN, STD, SUITE
from tests.data import fine_grained as made
from tests.data.fine_grained import BOX, Fine
from tests.data.official import encoded, picture
from tests.data.prepared import counts, entry, images, prepare, same


def test_all_five_are_prepared_once(fine: Fine) -> None:
    made.add_all(fine)
    fine.write()
    found = prepare(fine)
    assert list(found.written) == list(SUITE.domains)
    assert found.lacking == []
    assert {name: counts(fine, name) for name in SUITE.domains} == {
        "cubs": {"train": 9, "val": 3, "test": 12},
        "stanford-cars": {"train": 10, "val": 2, "test": 10},
        "flowers": {"train": 10, "val": 2, "test": 12},
        "wikiart": {"train": 16, "val": 2, "test": 6},
        "sketches": {"train": 14, "val": 2, "test": 4},
    }
    data = fine.folder.parent / "data"
    assert verify(data).images == 24 + 22 + 24 + 24 + 20
    manifest = (data / "manifest.json").read_bytes()
    for domain, entry_ in open_store(data).domains.items():
        assert (entry_.mean, entry_.std, entry_.statistics) == (MEAN, STD, "of the suite")
        assert not entry_.official
        assert not entry_.own
        assert entry_.held_out == 0.1
        assert entry_.boxes == (domain in ("cubs", "stanford-cars"))
    assert prepare(fine).done
    shutil.rmtree(fine.folder)
    fine.folder.mkdir()
    assert prepare(fine).done
    assert (data / "manifest.json").read_bytes() == manifest


def test_large_archives_are_not_read_again(fine: Fine, monkeypatch: pytest.MonkeyPatch) -> None:
    made.add_cub(fine)
    fine.write()
    prepare(fine)
    monkeypatch.setattr("decathlon.data.preparing.from_readers.SMALL_FILE", 10)
    path = fine.folder / "CUB_200_2011.tgz"
    path.write_bytes(bytes(path.stat().st_size))
    assert prepare(fine, domains=["cubs"]).done
    path.write_bytes(bytes(7))
    with pytest.raises(DataError, match=r"CUB_200_2011\.tgz"):
        prepare(fine, domains=["cubs"])


def test_lists_that_other_programs_wrote(fine: Fine) -> None:
    """A mark of the byte order, tabs, other ends of lines, and Latin-1 in a class's name."""
    made.add_cub(fine)
    content = fine.tars["CUB_200_2011.tgz"]
    for name, data in content.items():
        if name.endswith(".txt"):
            lines = [line.replace(b" ", b"\t", 1) for line in data.splitlines()]
            content[name] = b"\xef\xbb\xbf" + b"\r\n".join(lines)
    content["CUB_200_2011/classes.txt"] = b"1 001.Bird_0\n2 002.Caf\xe9\n3 Jos\xc3\xa9\n"
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    content["png/filelist.txt"] = b"\xef\xbb\xbf" + content["png/filelist.txt"]
    fine.write()
    prepare(fine)
    assert counts(fine, "cubs") == {"train": 9, "val": 3, "test": 12}
    assert entry(fine, "cubs").class_names == ["001.Bird_0", "002.Café", "José"]
    assert sum(counts(fine, "sketches").values()) == 20


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar"])
def test_archives_of_another_suffix(fine: Fine, suffix: str) -> None:
    made.add_cub(fine)
    made.add_cars(fine)
    made.add_flowers(fine)
    fine.write()
    written = prepare(fine).written
    for path in list(fine.folder.glob("*.tgz")):
        data = path.read_bytes()
        path.unlink()
        made.put(
            fine.folder,
            {f"{path.stem}{suffix}": data if suffix == ".tar.gz" else gzip.decompress(data)},
        )
    found = prepare(fine, "other")
    assert found.written == written
    assert f"CUB_200_2011{suffix} (" in "\n".join(found.messages)  # compared with the official one
    size, digest = (fine.folder / f"CUB_200_2011{suffix}").stat().st_size, "0" * 64
    official = replace(SUITE.official[0], file="CUB_200_2011.tgz", size=size, sha256=digest)
    assert archive_entry(f"CUB_200_2011{suffix}", size, digest, [official]).official
    for domain in written:
        same(fine, domain, "other")


def test_nothing_is_there(fine: Fine) -> None:
    for archive in ("no such folder. It should hold", "missing files,"):
        with pytest.raises(DataError) as caught:
            prepare(fine)
        assert archive in str(caught.value)
        for known in SUITE.archives:
            assert known.file in str(caught.value)
        fine.folder.mkdir(exist_ok=True)
    with pytest.raises(UsageError, match=r"unknown domain 'cub', did you mean 'cubs'"):
        prepare(fine, domains=["cub"])


def test_a_damaged_shard_is_rebuilt_alone(fine: Fine) -> None:
    made.add_cub(fine)
    fine.write()
    prepare(fine)
    data = fine.folder.parent / "data"
    before = (data / "cubs" / "train.h5").read_bytes()
    path = data / "cubs" / "test.h5"
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"test\.h5"):
        verify(data)
    assert prepare(fine, domains=["cubs"]).written == {"cubs": {"test": 12}}
    assert verify(data).images == 24
    assert (data / "cubs" / "train.h5").read_bytes() == before
    path.unlink()
    shutil.rmtree(fine.folder)
    fine.folder.mkdir()
    with pytest.raises(DataError, match="cubs: shards are missing or damaged"):
        prepare(fine, domains=["cubs"])


def test_an_interrupted_call_resumes_with_its_boxes(
    fine: Fine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decathlon.data.preparing import filling
    from decathlon.data.preparing.shard_writer import ShardWriter

    made.add_cub(fine)
    fine.write()
    prepare(fine, "whole")
    record, left = ShardWriter.record, [3]

    def interrupted(self: ShardWriter, *values: object) -> None:
        record(self, *values)  # type: ignore[arg-type]
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(filling, "BATCH_IMAGES", 2)
    monkeypatch.setattr(ShardWriter, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(fine)
    assert list((fine.folder.parent / "data" / "cubs").glob("*.part"))
    monkeypatch.undo()
    prepare(fine)
    for split in ("train", "val", "test"):
        parts = [fine.folder.parent / d / "cubs" / f"{split}.h5" for d in ("data", "whole")]
        assert parts[0].read_bytes() == parts[1].read_bytes()


@pytest.mark.parametrize(
    "add", [made.add_cub, made.add_cars, made.add_car_ims, made.add_flowers, made.add_sketches]
)
def test_files_whose_names_are_in_another_case(fine: Fine, add: Callable[[Fine], None]) -> None:
    add(fine)
    fine.write()
    (domain,) = prepare(fine).written
    for archives in (fine.tars, fine.zips):
        for name, content in archives.items():
            archives[name] = {
                path.replace(".jpg", ".JPG").replace(".png", ".PNG"): data
                for path, data in content.items()
            }
    fine.write()
    prepare(fine, "other")
    same(fine, domain, "other")
    shutil.rmtree(fine.folder)
    fine.unpack()
    prepare(fine, "tree")
    same(fine, domain, "tree")


def listed(fine: Fine, domain: str) -> dict[str, set[tuple[str, str]]]:
    """Class and file name of each image by split, as the domain's reader finds them."""
    offer = readers.reader_of(SUITE.domains[domain], SUITE)(
        readers.Place(fine.folder, domain, SUITE)
    )
    assert offer is not None
    plan = offer.plan
    return {
        split: {
            (plan.class_names[label], Path(name.decode()).name)
            for name, label in zip(part.names, plan.labels(split), strict=True)
        }
        for split, part in plan.splits.items()
    }


@pytest.mark.parametrize("domain", SUITE.domains)
def test_val_is_the_same_in_every_form(fine: Fine, domain: str) -> None:
    """The archive, the tree that it unpacks to, and folders {train,test}/CLASS."""
    {
        "cubs": lambda: made.add_cub(fine, each=40),
        "stanford-cars": lambda: made.add_cars(fine, train=40),
        "flowers": lambda: made.add_flowers(fine, each=80),
        "wikiart": lambda: made.add_wikiart(fine, each=40, twice=0),
        "sketches": lambda: made.add_sketches(fine, each=40),
    }[domain]()
    if domain == "wikiart":  # as the official archive has them, and some in upper case
        content = fine.zips["wikiart.zip"].items()
        fine.zips["wikiart.zip"] = {n.replace("josé", "JosÃ©"): data for n, data in content}
    fine.write()
    archive = listed(fine, domain)
    assert len(archive["val"]) >= 3
    shutil.rmtree(fine.folder)
    fine.unpack()
    assert listed(fine, domain) == archive
    shutil.rmtree(fine.folder)
    for split, part in archive.items():
        for category, name in part:
            place = "test" if split == "test" else "train"
            made.put(fine.folder, {f"{domain}/{place}/{category}/{name}": b"image"})
    assert listed(fine, domain) == archive


def test_photographs_of_all_kinds(fine: Fine) -> None:
    """Alpha, CMYK and grey images, and ones that EXIF turns, boxes included."""
    made.add_cub(fine, classes=1, each=8)
    content = fine.tars["CUB_200_2011.tgz"]
    names = [name for name in content if name.endswith(".jpg")]
    base = picture(np.random.default_rng(5), 45, 60)
    alpha = base.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize((60, 45)))
    content[names[0]] = encoded(alpha, "PNG")
    content[names[2]] = encoded(base.convert("CMYK"), "JPEG", quality=95)
    content[names[4]] = encoded(base.convert("L"), "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    content[names[6]] = encoded(base, "JPEG", quality=95, exif=exif)
    fine.write()
    prepare(fine)
    test = images(fine, "cubs", "test")
    assert [test.pixels(k).shape for k in range(4)] == [(256, 341, 3)] * 3 + [(341, 256, 3)]
    turned = Image.open(io.BytesIO(content[names[6]])).transpose(Image.Transpose.ROTATE_270)
    upright = np.asarray(turned.resize((256, 341), Image.Resampling.BICUBIC))
    assert np.abs(upright.astype(int) - test.pixels(3)).max() <= 1
    assert (test.pixels(2)[..., 0] == test.pixels(2)[..., 1]).all()
    left, top, width, height = BOX
    assert test.boxes is not None
    x, y = 341 / 60, 256 / 45
    np.testing.assert_allclose(test.boxes[0], np.array(BOX) * [x, y, x, y], rtol=1e-6)
    expected = np.array([45 - top - height, left, height, width]) * [y, x, y, x]
    np.testing.assert_allclose(test.boxes[3], expected, rtol=1e-6)


def test_boxes_are_clipped(fine: Fine) -> None:
    made.add_cub(fine, classes=1, each=6)
    key = "CUB_200_2011/bounding_boxes.txt"
    boxes = ["-5 -5 20 20", "50 40 100 100", "70 10 5 5", "0 0 0 9", "0 0 60 45", "1.5 2.5 10 10"]
    fine.tars["CUB_200_2011.tgz"][key] = "".join(
        f"{k} {box}\n" for k, box in enumerate(boxes, 1)
    ).encode()
    fine.write()
    assert "bounding boxes outside their images, replaced by the whole image: 2" in "\n".join(
        prepare(fine).messages
    )
    store = open_store(fine.folder.parent / "data")
    found = store.images("cubs", ["train", "val", "test"])
    assert found.boxes is not None
    by_id = {int(i): box for i, box in zip(found.image_ids, found.boxes, strict=True)}
    x, y = 341 / 60, 256 / 45
    expected = {
        1: [0, 0, 15 * x, 15 * y],
        2: [50 * x, 40 * y, 10 * x, 5 * y],
        3: [0, 0, 341, 256],
        4: [0, 0, 341, 256],
        5: [0, 0, 341, 256],
        6: [1.5 * x, 2.5 * y, 10 * x, 10 * y],
    }
    for key_, box in expected.items():
        np.testing.assert_allclose(by_id[key_], box, rtol=1e-5, atol=1e-4)
    assert verify(fine.folder.parent / "data").images == 6


def test_broken_images_can_be_left_out(fine: Fine) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    content["png/cup/12.png"] = b"no image"
    content["png/cup/13.png"] = b"none either"
    fine.write()
    with pytest.raises(DataError, match="2 images cannot be used"):
        prepare(fine)
    prepare(fine, skip_broken=True)
    assert sum(counts(fine, "sketches").values()) == 18
    assert set(entry(fine, "sketches").skipped) == {"cup/12.png", "cup/13.png"}
    assert not prepare(fine).written


def test_a_reader_that_is_not_there(fine: Fine) -> None:
    broken = replace(SUITE.domains["cubs"], reader="decathlon.data.sources.cub:nothing")
    with pytest.raises(UsageError, match=r"the reader 'decathlon\.data\.sources\.cub:nothing'"):
        readers.reader_of(broken, SUITE)


def test_names_that_zip_programs_write(fine: Fine) -> None:
    """UTF-8 without its flag, backslashes, and the folders of a Mac."""
    made.add_wikiart(fine)
    fine.write()
    prepare(fine)
    path = fine.folder / "wikiart.zip"
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = [("__MACOSX/wikiart/Naive/._x_y.jpg", b"")]
    for name, data in fine.zips["wikiart.zip"].items():
        info = zipfile.ZipInfo(name.encode().decode("cp437").replace("/", "\\", 1))
        members.append((info, data))
    made.write_zip(path, members)
    raw = path.read_bytes()
    assert "josé".encode().decode("cp437").encode() in raw
    path.write_bytes(_without_flags(path))
    prepare(fine, "other")
    same(fine, "wikiart", "other")


def test_names_that_begin_with_a_dot(fine: Fine) -> None:
    made.add_wikiart(fine)
    fine.write()
    prepare(fine)
    content = fine.zips["wikiart.zip"].items()
    fine.zips["wikiart.zip"] = {"./": b"", **{f"./{name}": data for name, data in content}}
    fine.write()
    prepare(fine, "other")
    same(fine, "wikiart", "other")


def _without_flags(path: Path) -> bytes:
    """Writes the names as they are, in code page 437, without the flag of UTF-8."""
    out = io.BytesIO()

    class Plain(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
            return self.filename.encode("cp437"), self.flag_bits & ~0x800

    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            new.writestr(Plain(info.filename), old.read(info))
    return out.getvalue()


def test_the_commands(fine: Fine, monkeypatch: pytest.MonkeyPatch) -> None:
    made.add_cub(fine, classes=1)
    made.add_sketches(fine)
    fine.write()
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(fine.folder.parent)

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == code, done.output
        return done.output

    told = run("prepare", "--suite", "fine-grained", "--archives", "archives", "--jobs", "0")
    assert "data: prepared" in told
    assert "next: decathlon import-weights resnet50.pth source.safetensors" in told
    again = run("prepare", "--archives", "archives", "--jobs", "0", "--domain", "cubs")
    assert "nothing to do" in again
    run("show", "cubs", "--out", "plain.png", "--split", "test")
    run("show", "cubs", "--out", "boxes.png", "--split", "test", "--boxes")
    plain, boxes = (np.asarray(Image.open(f"{n}.png")).astype(int) for n in ("plain", "boxes"))
    changed = np.argwhere((plain != boxes).any(2))
    # The sheet begins 10 pixels from its edges and halves images of 256 pixels; boxes begin at
    # (10 * 341 / 60, 5 * 256 / 45).
    assert changed.min(0).tolist() == [10 + 28 // 2, 10 + 57 // 2]
    assert (boxes[24, 38] == (230, 30, 30)).all()
    with pytest.raises(UsageError, match="sketches has no bounding boxes in data; leave it out"):
        CliRunner().invoke(
            app,
            ["show", "sketches", "--out", "a.png", "--boxes"],
            catch_exceptions=False,
            standalone_mode=False,
        )
    rows = {line.split()[0]: line.split() for line in run("domains").splitlines() if line.strip()}
    assert rows["cubs"][1:5] == ["1", "3", "1", "4"]
    assert "5994/5794" in rows["cubs"]
    assert "yes" in rows["cubs"]
    assert "yes" not in rows["sketches"]
    assert "(cubs, sketches)" in run("domains")
    other = run("domains", "--suite", "visual-decathlon")
    assert "imagenet12" in other
    assert "cubs" not in other
