"""The fine-grained sets: every layout that they are found in, their splits and their boxes."""

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
from decathlon.data.manifest import DomainEntry
from decathlon.data.preparing.prepare import Prepared
from decathlon.data.preparing.prepare import prepare as prepare_any
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import Images, open_store
from decathlon.data.sources import readers
from decathlon.data.sources.file_names import mend
from decathlon.data.sources.image_archive import archive_entry
from decathlon.data.sources.wikiart import artist_names
from decathlon.suites.fine_grained import MEAN, STD, SUITE
from tests.data import fine_grained as made
from tests.data.fine_grained import BOX, Fine
from tests.data.official import encoded, picture


@pytest.fixture
def fine(tmp_path: Path) -> Fine:
    return Fine(tmp_path / "archives")


def prepare(fine: Fine, name: str = "data", **options: object) -> Prepared:
    data = fine.folder.parent / name
    return prepare_any(fine.folder, data, suite=SUITE, jobs=0, **options)  # type: ignore[arg-type]


def entry(fine: Fine, domain: str, name: str = "data") -> DomainEntry:
    return open_store(fine.folder.parent / name).domains[domain]


def images(fine: Fine, domain: str, split: str, name: str = "data") -> Images:
    return open_store(fine.folder.parent / name).images(domain, [split])


def counts(fine: Fine, domain: str, name: str = "data") -> dict[str, int]:
    return {split: e.num_images for split, e in entry(fine, domain, name).splits.items()}


def pixels(fine: Fine, domain: str, split: str, name: str = "data") -> dict[bytes, int]:
    """Labels by the images' pixels: what the split holds, whatever its order."""
    found = images(fine, domain, split, name)
    return {found.pixels(k).tobytes(): int(found.labels[k]) for k in range(len(found))}


def same(fine: Fine, domain: str, other: str) -> None:
    for split in ("train", "val", "test"):
        assert pixels(fine, domain, split) == pixels(fine, domain, split, other)


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


def test_birds(fine: Fine) -> None:
    made.add_cub(fine)
    fine.write()
    assert "not the official file" in "\n".join(prepare(fine).messages)
    test = images(fine, "cubs", "test")
    assert test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert test.image_ids.tolist() == list(range(1, 24, 2))
    assert entry(fine, "cubs").class_names == ["001.Bird_0", "002.Bird_1", "003.Bird_2"]
    # 60 x 45 becomes 341 x 256.
    scale = np.array([341 / 60, 256 / 45] * 2)
    np.testing.assert_allclose(test.boxes, np.tile(np.array(BOX) * scale, (12, 1)), rtol=1e-6)
    assert test.boxes is not None
    assert test.boxes.dtype == np.float32
    for unpacked in ("", "CUB_200_2011", "cubs"):
        shutil.rmtree(fine.folder)
        fine.unpack(unpacked)
        assert "no official digest" in "\n".join(prepare(fine, f"tree{unpacked}").messages)
        same(fine, "cubs", f"tree{unpacked}")
        assert prepare(fine, f"tree{unpacked}").lacking != ["cubs"]


def test_a_changed_tree_is_prepared_again(fine: Fine) -> None:
    made.add_cub(fine)
    fine.unpack()
    prepare(fine)
    assert not prepare(fine).written
    split = fine.folder / "CUB_200_2011" / "train_test_split.txt"
    split.write_text(split.read_text().replace("\n1 0\n", "\n1 1\n").replace("1 0\n", "1 1\n", 1))
    assert prepare(fine).written == {"cubs": {"train": 10, "val": 3, "test": 11}}
    photo = fine.folder / "CUB_200_2011" / "images" / "001.Bird_0" / "Bird_0_0001_1.jpg"
    photo.write_bytes(made.photo(999))
    assert "cubs" in prepare(fine).written
    assert not prepare(fine).written


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


def test_lists_in_deeper_folders(fine: Fine) -> None:
    """The list in the fewest folders counts, whichever comes first."""
    made.add_cub(fine)
    made.add_cars(fine)
    fine.write()
    prepare(fine)
    for name in ("CUB_200_2011.tgz", "car_devkit.tgz"):
        content = fine.tars[name]
        nested = {f"x/{path}": data for path, data in content.items()}
        older = {f"x/old/{path}": b"" for path in content if not path.endswith(".jpg")}
        fine.tars[name] = older | nested | {f"x/{path}": b"" for path in older}
    fine.write()
    prepare(fine, "other")
    same(fine, "cubs", "other")
    same(fine, "stanford-cars", "other")
    fine.tars["CUB_200_2011.tgz"]["y/CUB_200_2011/images.txt"] = b""
    fine.write()
    with pytest.raises(DataError, match=r"y/CUB_200_2011/images\.txt: is there twice"):
        prepare(fine, "third")


def test_birds_without_boxes(fine: Fine) -> None:
    made.add_cub(fine)
    del fine.tars["CUB_200_2011.tgz"]["CUB_200_2011/bounding_boxes.txt"]
    fine.write()
    assert "prepared without boxes" in "\n".join(prepare(fine).messages)
    assert images(fine, "cubs", "train").boxes is None
    assert not entry(fine, "cubs").boxes


LIES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "no label": ("image_class_labels", lambda t: t.split("\n", 1)[1], "lacks image 1"),
    "twice": ("images", lambda t: t + t.split("\n", 1)[0], "images.txt has 1 twice"),
    "no number": ("images", lambda t: "x" + t, "has the line 'x1 "),
    "unknown class": ("image_class_labels", lambda t: t.replace("1 1\n", "1 9\n", 1), "class 9"),
    "outside": ("images", lambda t: t.replace("001.Bird_0/", "../", 1), "unsafe name '../"),
    "no box": ("bounding_boxes", lambda t: t.replace("1 10", "1 x", 1), "bounding_boxes.txt has"),
    "nan": (
        "bounding_boxes",
        lambda t: t.replace("1 10", "1 nan", 1),
        "box of image 1 is not a number",
    ),
    "lacking": ("images", lambda t: t.replace("_0000_0", "_0000_9", 1), "lacks the image"),
}


@pytest.mark.parametrize("what", LIES)
def test_birds_whose_lists_are_wrong(fine: Fine, what: str) -> None:
    made.add_cub(fine)
    name, change, told = LIES[what]
    content = fine.tars["CUB_200_2011.tgz"]
    key = f"CUB_200_2011/{name}.txt"
    content[key] = change(content[key].decode()).encode()
    fine.write()
    with pytest.raises(DataError) as caught:
        prepare(fine)
    assert told in str(caught.value)
    assert not (fine.folder.parent / "data" / "manifest.json").exists()


def test_cars_in_every_layout(fine: Fine) -> None:
    made.add_cars(fine)
    fine.write()
    prepare(fine)
    assert entry(fine, "stanford-cars").class_names == list(made.MAKES)
    boxes = images(fine, "stanford-cars", "train").boxes
    scale = np.array([341 / 60, 256 / 45] * 2)
    np.testing.assert_allclose(boxes, np.tile(np.array(BOX) * scale, (10, 1)), rtol=1e-6)
    root = fine.folder
    for inside in ("stanford_cars", "stanford-cars", ""):
        shutil.rmtree(root)
        fine.unpack(inside)
        prepare(fine, f"tree{inside}")
        same(fine, "stanford-cars", f"tree{inside}")
    for half in ("cars_train", "cars_test"):  # as Kaggle's copy nests them
        (root / half).rename(root / "inner")
        (root / half).mkdir()
        (root / "inner").rename(root / half / half)
    prepare(fine, "nested")
    same(fine, "stanford-cars", "nested")
    shutil.rmtree(root)
    fine.tars.clear()
    fine.files.clear()
    made.add_car_ims(fine)
    fine.write()
    prepare(fine, "together")
    assert pixels(fine, "stanford-cars", "test") == pixels(
        fine, "stanford-cars", "test", "together"
    )
    assert counts(fine, "stanford-cars", "together") == {"train": 10, "val": 2, "test": 10}
    shutil.rmtree(root)
    fine.unpack()
    prepare(fine, "unpacked")
    same_splits = [pixels(fine, "stanford-cars", "val", name) for name in ("together", "unpacked")]
    assert same_splits[0] == same_splits[1]


@pytest.mark.parametrize("folder", ["", "x/images/"])
def test_cars_packed_in_another_folder(fine: Fine, folder: str) -> None:
    made.add_cars(fine)
    fine.write()
    prepare(fine)
    for half in ("cars_train", "cars_test"):
        content = fine.tars[f"{half}.tgz"].items()
        fine.tars[f"{half}.tgz"] = {name.replace(f"{half}/", folder): d for name, d in content}
    fine.write()
    prepare(fine, "other")
    same(fine, "stanford-cars", "other")


def test_cars_without_test_labels(fine: Fine) -> None:
    made.add_cars(fine)
    labels = fine.files.pop("cars_test_annos_withlabels.mat")
    fine.write()
    found = prepare(fine)
    assert "test images are prepared without labels" in "\n".join(found.messages)
    assert (images(fine, "stanford-cars", "test").labels == -1).all()
    assert images(fine, "stanford-cars", "test").boxes is not None
    assert prepare(fine).written == {}
    assert verify(fine.folder.parent / "data").images == 22
    train = pixels(fine, "stanford-cars", "train")
    (fine.folder / "cars_test_annos_withlabels.mat").write_bytes(labels)
    assert "stanford-cars" in prepare(fine).written
    assert images(fine, "stanford-cars", "test").labels.tolist() == [0, 1] * 5
    assert pixels(fine, "stanford-cars", "train") == train
    (fine.folder / "cars_test_annos_withlabels.mat").unlink()
    assert prepare(fine).written == {}
    assert (images(fine, "stanford-cars", "test").labels >= 0).all()


def test_a_changed_label_file_is_noticed(fine: Fine) -> None:
    made.add_cars(fine)
    fine.write()
    prepare(fine)
    path = fine.folder / "cars_test_annos_withlabels.mat"
    rows = [made.car(f"{k + 1:05d}.jpg", 2 - k % 2) for k in range(10)]
    size = path.stat().st_size
    path.write_bytes(made.mat(annotations=made.structure(rows)))
    assert path.stat().st_size == size  # only the content tells
    prepare(fine)
    assert images(fine, "stanford-cars", "test").labels.tolist() == [1, 0] * 5
    assert not prepare(fine).written


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (["cars_train.tgz"], ["cars_test.tgz", "car_devkit.tgz", "cars_test_annos_withlabels.mat"]),
        (["car_devkit.tgz"], ["cars_train.tgz", "cars_test.tgz"]),
        (["cars_train.tgz", "cars_test.tgz"], ["car_devkit.tgz"]),
    ],
)
def test_missing_cars_are_listed(fine: Fine, there: list[str], told: list[str]) -> None:
    made.add_cars(fine)
    fine.write()
    for path in fine.folder.iterdir():
        if path.name not in there:
            path.unlink()
    with pytest.raises(DataError) as caught:
        prepare(fine, domains=["stanford-cars"])
    for name in told:
        assert f"  {name}: " in str(caught.value)
    for name in there:
        assert f"  {name}: " not in str(caught.value)
    made.add_cub(fine)
    (fine.folder / "CUB_200_2011.tgz").write_bytes(
        Fine(fine.folder / "x", {"CUB_200_2011.tgz": fine.tars["CUB_200_2011.tgz"]})
        .write()
        .joinpath("CUB_200_2011.tgz")
        .read_bytes()
    )
    found = prepare(fine)  # what is there is prepared
    assert list(found.written) == ["cubs"]
    assert found.lacking == ["flowers", "sketches", "stanford-cars", "wikiart"]
    text = "\n".join(found.messages)
    assert told[0] in text
    assert "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz" in text
    assert "wikiart.zip" in text
    assert "\n  CUB_200_2011.tgz" not in text


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


def test_flowers_in_every_layout(fine: Fine) -> None:
    made.add_flowers(fine)
    fine.write()
    prepare(fine)
    assert entry(fine, "flowers").class_names == ["class 1", "class 2"]
    tested = [*range(5, 9), *range(13, 17), *range(21, 25)]
    assert images(fine, "flowers", "test").image_ids.tolist() == tested
    for inside in ("flowers-102", ""):
        shutil.rmtree(fine.folder)
        fine.unpack(inside)
        prepare(fine, f"tree{inside}")
        same(fine, "flowers", f"tree{inside}")


def test_flowers_have_names_where_they_are_the_official_ones(fine: Fine) -> None:
    made.add_flowers(fine, classes=102, each=4)
    fine.tars["102flowers.tgz"] = dict.fromkeys(fine.tars["102flowers.tgz"], made.photo(1, 16, 16))
    fine.write()
    prepare(fine)
    names = entry(fine, "flowers").class_names
    assert len(set(names)) == 102
    assert (names[0], names[71], names[101]) == ("pink primrose", "azalea", "blackberry lily")


@pytest.mark.parametrize("sizes", [(2040 // 2, 2040 // 2, 6149), (6, 6, 13)])
def test_swapped_flowers_are_refused(fine: Fine, sizes: tuple[int, int, int]) -> None:
    made.add_flowers(fine)
    count = sum(sizes)
    cuts = np.split(np.arange(1, count + 1)[None], np.cumsum(sizes)[:-1], axis=1)
    fine.files["imagelabels.mat"] = made.mat(labels=np.ones((1, count), np.uint8))
    fine.files["setid.mat"] = made.mat(trnid=cuts[2], valid=cuts[1], tstid=cuts[0])
    fine.write()
    with pytest.raises(DataError, match=r"2,040 of train and val together and 6,149 of test: in"):
        prepare(fine)


def test_flowers_whose_sets_overlap(fine: Fine) -> None:
    made.add_flowers(fine)
    ids = np.arange(1, 9)[None]
    for tested, told in ((ids, "an image is in two sets"), (ids + 100, "names image 108")):
        fine.files["setid.mat"] = made.mat(trnid=ids[:, :2], valid=ids[:, 2:4], tstid=tested)
        fine.write()
        with pytest.raises(DataError, match=told):
            prepare(fine)
    (fine.folder / "imagelabels.mat").unlink()
    with pytest.raises(DataError, match=r"\n  imagelabels\.mat: labels of flowers"):
        prepare(fine, domains=["flowers"])


def test_sketches(fine: Fine) -> None:
    made.add_sketches(fine)
    fine.write()
    prepare(fine)
    assert entry(fine, "sketches").class_names == ["bear (animal)", "cup"]
    assert images(fine, "sketches", "test").labels.tolist() == [0, 0, 1, 1]
    for inside in ("", "sketches_png", "sketches"):
        shutil.rmtree(fine.folder)
        fine.unpack(inside)
        prepare(fine, f"tree{inside}")
        same(fine, "sketches", f"tree{inside}")


def test_a_list_of_sketches_is_followed(fine: Fine) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    content["png/cup/99.png"] = made.sketch(3)
    fine.write()
    assert "does not name 1 images: left out" in "\n".join(prepare(fine).messages)
    assert sum(counts(fine, "sketches").values()) == 20
    del content["png/cup/12.png"]
    fine.write()
    with pytest.raises(DataError, match=r"lacks 1 sketches that filelist\.txt names: cup/12\.png"):
        prepare(fine, "other")
    del content["png/filelist.txt"]
    fine.write()
    prepare(fine, "unlisted")
    assert sum(counts(fine, "sketches", "unlisted").values()) == 20


@pytest.mark.parametrize("form", ["png/{}", "png\\{}", "./{}"])
def test_a_list_of_sketches_may_name_folders(fine: Fine, form: str) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    lines = content["png/filelist.txt"].decode().splitlines()
    content["png/filelist.txt"] = "".join(f"{form.format(line)}\r\n" for line in lines).encode()
    fine.write()
    prepare(fine)
    assert sum(counts(fine, "sketches").values()) == 20


def test_of_two_lists_of_sketches_the_first_counts(fine: Fine) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    fine.zips["sketches_png.zip"] = content | {f"z{k}/filelist.txt": b"a/1.png" for k in range(9)}
    fine.write()
    prepare(fine)
    assert sum(counts(fine, "sketches").values()) == 20


def test_paintings(fine: Fine) -> None:
    made.add_wikiart(fine)
    fine.write()
    found = prepare(fine)
    text = "\n".join(found.messages)
    assert "4 images show a painting that is filed under another style too" in text
    assert "style folders are missing" not in text
    assert entry(fine, "wikiart").class_names == ["anna-blau", "josé-roig"]
    # Both files of a painting are on one side.
    splits = [set(pixels(fine, "wikiart", split)) for split in ("train", "val", "test")]
    assert len(set.union(*splits)) == sum(map(len, splits)) == 20
    assert counts(fine, "wikiart") == {"train": 16, "val": 2, "test": 6}  # floor(0.8 * 12) each
    shutil.rmtree(fine.folder)
    fine.unpack()
    prepare(fine, "tree")
    same(fine, "wikiart", "tree")


def test_a_style_folder_inside_another(fine: Fine) -> None:
    """Some programs unpack each folder into one of its name."""
    made.add_wikiart(fine)
    fine.write()
    prepare(fine)
    shutil.rmtree(fine.folder)
    content = fine.zips["wikiart.zip"].items()
    fine.zips["wikiart.zip"] = {n.replace("/Naive/", "/Naive/Naive/"): d for n, d in content}
    fine.unpack()
    prepare(fine, "nested")
    same(fine, "wikiart", "nested")
    made.put(fine.folder, {"wikiart/Naive/anna-blau_a-study_0.jpg": b""})
    with pytest.raises(DataError, match=r"'Naive/anna-blau_a-study_0\.jpg' is there twice"):
        prepare(fine, "other")
    shutil.rmtree(fine.folder)  # a half of {train,test}/CLASS/IMAGE is no such tree
    made.put(fine.folder, {"wikiart/train/anna-blau/anna-blau_a-study_0.jpg": b""})
    with pytest.raises(DataError, match="missing files"):
        prepare(fine, "half", domains=["wikiart"])


def test_broken_accents_are_mended(fine: Fine) -> None:
    assert mend("joaquã­n-sorolla") == mend("JoaquÃ­n-Sorolla") == "joaquín-sorolla"
    assert mend("arnold-bã¶cklin") == "arnold-böcklin"
    assert mend("jose\u0301") == "josé"
    assert mend("françois-éàù") == "françois-éàù"
    made.add_wikiart(fine)
    content = fine.zips["wikiart.zip"]
    fine.write()
    prepare(fine, "straight")
    names = list(content)
    broken = {name: name.replace("josé", "josã©", k % 2) for k, name in enumerate(names)}
    assert any("ã©" in name for name in broken.values())
    fine.zips["wikiart.zip"] = {broken[name]: data for name, data in content.items()}
    fine.write()
    prepare(fine)
    assert entry(fine, "wikiart").class_names == ["anna-blau", "josé-roig"]
    same(fine, "wikiart", "straight")


def test_official_styles_and_artists(fine: Fine) -> None:
    """All known artists, and one more, under all styles but one."""
    from decathlon.data.sources.wikiart import STYLES

    assert len(STYLES) == 27
    artists = artist_names()
    assert len(set(artists)) == 195
    assert artists == sorted(artists) == [mend(artist) for artist in artists]
    data = made.photo(1, 16, 16)
    content = {
        f"wikiart/{STYLES[k % 26]}/{artist}_work-{k}.jpg": data
        for artist in [*artists, "somebody-else"]
        for k in range(2)
    }
    content |= {f"wikiart/{style}/{artists[0]}_more.jpg": data for style in STYLES[:26]}
    fine.zips["wikiart.zip"] = content
    fine.write()
    text = "\n".join(prepare(fine, domains=["wikiart"]).messages)
    assert "1 of the 27 official style folders are missing (Ukiyo_e)" in text
    assert "1 artists with few paintings are left out" in text
    assert entry(fine, "wikiart").class_names == artists
    fine.zips["wikiart.zip"] = {name: d for name, d in content.items() if artists[3] not in name}
    fine.write()
    text = "\n".join(prepare(fine, "fewer", domains=["wikiart"]).messages)
    assert f"1 of the 195 artists of the published counts are missing ({artists[3]})" in text
    assert len(entry(fine, "wikiart", "fewer").class_names) == 195


def class_folders(folder: Path, splits: tuple[str, ...] = ("train", "test")) -> Path:
    for s, split in enumerate(splits):
        for c in range(2):
            for k in range(6):
                path = folder / split / f"class {c}" / f"{s}-{k}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(made.photo(1000 + 100 * s + 10 * c + k))
    return folder


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("cubs", "cubs_cropped"),
        ("stanford-cars", "stanford_cars_cropped"),
        *((name, name) for name in SUITE.domains),
    ],
)
def test_class_folders(fine: Fine, domain: str, name: str) -> None:
    folder = class_folders(fine.folder / name)
    found = prepare(fine, domains=[domain])
    assert counts(fine, domain) == {"train": 10, "val": 2, "test": 12}
    assert ("images cut to their boxes" in "\n".join(found.messages)) == (name != domain)
    assert not prepare(fine, domains=[domain]).written
    prepare_any(
        None, fine.folder.parent / "own", suite=SUITE, folders={domain: folder}, jobs=0
    )  # --folder
    same(fine, domain, "own")
    (folder / "train" / "class 0" / "new.jpg").write_bytes(made.photo(7))
    assert domain in prepare(fine, domains=[domain]).written


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


def test_a_folder_with_a_val_keeps_it(fine: Fine) -> None:
    folder = class_folders(fine.folder / "flowers", ("train", "val", "test"))
    prepare(fine, domains=["flowers"])
    assert counts(fine, "flowers") == {"train": 12, "val": 12, "test": 12}
    assert entry(fine, "flowers").held_out == 0
    data = fine.folder.parent / "own"
    prepare_any(None, data, suite=SUITE, folders={"mine": folder}, jobs=0)
    assert open_store(data).domains["mine"].mean == MEAN


def test_archives_do_not_replace_a_folder_of_the_users(fine: Fine, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "own")
    data = tmp_path / "data"
    prepare_any(None, data, suite=SUITE, folders={"cubs": folder}, jobs=0)
    made.add_cub(fine)
    fine.write()
    assert not prepare(fine).written
    assert entry(fine, "cubs").own


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
