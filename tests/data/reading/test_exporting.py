"""Splits for other tools, and the way back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import decathlon
from decathlon.common.errors import DataError, UsageError
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.dataset import DomainDataset
from decathlon.data.reading.exporting import unique_names
from tests.data.official import Official, encoded, picture

Content = dict[bytes, str]
"""The class of each image, by its pixels and their size."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exporting")
    made = Official(folder / "archives")
    made.add("dtd")
    prepare(made.write(), folder / "data", jobs=0)
    return folder / "data"


def photos(folder: Path, classes: int) -> Path:
    """Two photographs of each class, one for each split, of several sizes."""
    for number in range(2 * classes):
        split = "train" if number < classes else "val"
        path = folder / split / f"class {number % classes}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = picture(np.random.default_rng(number), 70 + number, 90 - number)
        path.write_bytes(encoded(pixels, "PNG"))
    return folder


def content(dataset: DomainDataset) -> Content:
    return {
        repr(tuple(image.shape[1:])).encode() + image.permute(1, 2, 0).numpy().tobytes(): (
            dataset.classes[label]
        )
        for image, label in (dataset[index] for index in range(len(dataset)))
    }


def prepared(folder: Path, data: Path, name: str = "again") -> list[DomainDataset]:
    prepare(None, data, folders={name: folder}, jobs=0)
    return [decathlon.load(name, split, data=data) for split in ("train", "val")]


def test_hugging_face_has_the_same_images_labels_and_classes(data: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'datasets'")
    ours = decathlon.load("dtd", "val", data=data)
    theirs = ours.to_huggingface(cache=tmp_path)
    assert theirs.split == datasets.Split.VALIDATION
    assert theirs.features["label"].names == ours.classes
    assert len(theirs) == len(ours)
    for index, row in enumerate(theirs):
        image, label = ours[index]
        assert row["image"].mode == "RGB"
        np.testing.assert_array_equal(np.asarray(row["image"]), image.permute(1, 2, 0).numpy())
        assert (row["label"], row["image_id"]) == (label, ours.image_ids[index])


def test_hugging_face_gets_no_label_where_none_is_known(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'datasets'")
    theirs = decathlon.load("dtd", "test", data=data).to_huggingface(cache=tmp_path)
    assert set(theirs["label"]) == {-1}


def test_the_cache_of_other_data_is_not_taken(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'datasets'")
    folder = tmp_path / "photos" / "train" / "a"
    folder.mkdir(parents=True)
    found = []
    for seed in (1, 2):
        pixels = picture(np.random.default_rng(seed), 72, 72)
        (folder / "1.png").write_bytes(encoded(pixels, "PNG"))
        prepare(None, tmp_path / "data", folders={"mine": tmp_path / "photos"}, jobs=0)
        mine = decathlon.load("mine", "train", data=tmp_path / "data")
        theirs = mine.to_huggingface(cache=tmp_path / "cache")
        found.append(np.asarray(theirs[0]["image"]))
        np.testing.assert_array_equal(found[-1], mine[0][0].permute(1, 2, 0).numpy())
    assert (found[0] != found[1]).any()


def test_a_missing_package_is_one_message(data: Path) -> None:
    program = (
        "import sys, decathlon\n"
        "sys.modules['datasets'] = None  # as if it were not installed\n"
        "decathlon.load('dtd', 'val', data=sys.argv[1]).to_huggingface()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, data], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'decathlon[datasets]'")


def test_image_folders_come_back_as_they_were(tmp_path: Path) -> None:
    splits = prepared(photos(tmp_path / "photos", 4), tmp_path / "data")
    for split in splits:
        assert split.to_imagefolder(tmp_path / "out") == tmp_path / "out" / split.split
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train", "val"}
    back = prepared(tmp_path / "out", tmp_path / "again")
    for was, now in zip(splits, back, strict=True):
        assert len(content(was)) == len(was)
        assert content(now) == content(was)
        assert now.classes == sorted(was.classes)


def test_hugging_face_reads_image_folders_that_come_back(tmp_path: Path) -> None:
    """Out to Hugging Face, saved by it as files, and prepared again."""
    datasets = pytest.importorskip("datasets", reason="needs the extra 'datasets'")
    splits = prepared(photos(tmp_path / "photos", 4), tmp_path / "data")
    for split in splits:
        split.to_imagefolder(tmp_path / "ours")
    read = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "ours"), cache_dir=tmp_path)
    assert read.keys() == {"train", "validation"}
    for was, name in zip(splits, read, strict=True):
        theirs = read[name]
        names = theirs.features["label"].names
        assert names == sorted(was.classes)
        for number, row in enumerate(theirs):
            path = tmp_path / "theirs" / name / names[row["label"]] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            row["image"].save(path)
    for was, now in zip(splits, prepared(tmp_path / "theirs", tmp_path / "again"), strict=True):
        assert content(now) == content(was)


NAMES = ["C/V van", ".hidden", "crane", "crane", "", "00001"]


@pytest.fixture
def odd(tmp_path: Path) -> list[DomainDataset]:
    """A domain whose classes have names that no folder can have, or that are not unique."""
    splits = prepared(photos(tmp_path / "photos", len(NAMES)), tmp_path / "odd", "odd")
    for split in splits:
        split.classes = NAMES
    return splits


def test_names_that_no_folder_can_have_are_in_a_table(
    odd: list[DomainDataset], tmp_path: Path
) -> None:
    for split in odd:
        split.to_imagefolder(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "val").iterdir()} == {
        *(f"{label:05d}" for label in range(len(NAMES))),
        "metadata.jsonl",
    }
    back = prepared(tmp_path / "out", tmp_path / "again")
    for was, now in zip(odd, back, strict=True):
        was.classes = was.unique_classes
        assert content(now) == content(was)
        assert now.classes == sorted(was.classes, key=str.encode)


def test_names_become_unique() -> None:
    ids = list(range(1, 7))
    assert unique_names(NAMES, ids) == [*NAMES[:2], "crane (3)", "crane (4)", "(5)", "00001"]
    assert unique_names(["a (2)", "a", "a"], [1, 2, 3]) == ["a (2)", "a (2) (2)", "a (3)"]


def test_a_split_is_written_once_and_whole(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = decathlon.load("dtd", "val", data=data)
    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.Image.save", broken)
        with pytest.raises(OSError, match="the disk is full"):
            split.to_imagefolder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    split.to_imagefolder(tmp_path)
    with pytest.raises(UsageError, match="val: exists; name another folder"):
        split.to_imagefolder(tmp_path)


def broken(*_: object) -> None:
    raise OSError("the disk is full")


def test_images_without_labels_have_no_folder(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test: .* labels of 5 images are unknown.*--labels"):
        decathlon.load("dtd", "test", data=data).to_imagefolder(tmp_path / "out")
    assert not (tmp_path / "out").exists()
