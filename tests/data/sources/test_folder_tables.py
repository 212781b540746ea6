"""Folders in Hugging Face's layout imagefolder, whose tables name the classes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from decathlon.common.errors import DataError
from decathlon.data.manifest import DomainEntry, read_manifest
from decathlon.data.preparing.prepare import Prepared, prepare
from decathlon.data.reading.store import open_store
from tests.data.official import encoded, picture

SPLITS = ("train", "validation", "test")


def make(tmp_path: Path) -> Prepared:
    return prepare(None, tmp_path / "data", folders={"birds": tmp_path / "birds"}, jobs=0)


def entry(tmp_path: Path) -> DomainEntry:
    manifest = read_manifest(tmp_path / "data")
    assert manifest is not None
    return manifest.domains["birds"]


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(np.random.default_rng(seed), 72, 80)))


def csv_table(folder: Path, rows: dict[str, object]) -> None:
    lines = [f'{name},"{label}",a caption' for name, label in rows.items()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,label,text", *lines]))


def jsonl_table(folder: Path, rows: dict[str, object]) -> None:
    lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows.items()]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


ROWS: dict[str, object] = {"1.jpg": "wren", "2.jpg": "jay, blue", "more/3.jpg": "wren"}


@pytest.fixture(params=[csv_table, jsonl_table])
def birds(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Splits whose images lie side by side, with a table each."""
    for seed, split in enumerate(SPLITS):
        for k, name in enumerate(ROWS):
            image(tmp_path / "birds" / split / name, 10 * seed + k)
        request.param(tmp_path / "birds" / split, ROWS)
    return tmp_path / "birds"


def labels(tmp_path: Path, split: str = "train") -> list[str]:
    images = open_store(tmp_path / "data").images("birds", [split])
    names = entry(tmp_path).class_names
    return [names[label] for label in images.labels]


def test_tables_name_the_classes(tmp_path: Path, birds: Path) -> None:
    assert make(tmp_path).messages == []
    assert entry(tmp_path).class_names == ["jay, blue", "wren"]
    assert entry(tmp_path).splits.keys() == {"train", "val", "test"}
    for split in ("train", "val", "test"):
        assert labels(tmp_path, split) == ["jay, blue", "wren", "wren"]
    assert not make(tmp_path).written


def test_an_image_with_another_label_is_prepared_again(tmp_path: Path) -> None:
    """Even if the order of the images stays: 0 of a, 1 and 2 of b; then 0 and 1 of a, 2 of b."""
    folder = tmp_path / "birds" / "train"
    for k in range(3):
        image(folder / f"{k}.jpg", k)
    for second in "ba":
        csv_table(folder, {"0.jpg": "a", "1.jpg": second, "2.jpg": "b"})
        assert make(tmp_path).written
        assert labels(tmp_path) == ["a", second, "b"]
    assert not make(tmp_path).written


def test_a_table_goes_before_class_folders(tmp_path: Path) -> None:
    folder = tmp_path / "birds" / "train"
    image(folder / "00000" / "1.jpg")
    image(folder / "00001" / "2.jpg")
    jsonl_table(folder, {"00000/1.jpg": "wren", "./00001/2.jpg": 7})
    make(tmp_path)
    assert labels(tmp_path) == ["7", "wren"]


def test_a_table_without_labels_leaves_the_classes_to_the_folders(tmp_path: Path) -> None:
    folder = tmp_path / "birds" / "train"
    image(folder / "wren" / "1.jpg")
    (folder / "metadata.csv").write_text("file_name,text\nwren/1.jpg,a wren\n")
    assert any("skipped 1 that" in m and "train/metadata.csv" in m for m in make(tmp_path).messages)
    assert labels(tmp_path) == ["wren"]


def test_a_folder_without_splits_may_have_a_table(tmp_path: Path) -> None:
    rows: dict[str, object] = {f"{k}.jpg": "ab"[k % 2] for k in range(10)}
    for k, name in enumerate(rows):
        image(tmp_path / "birds" / name, k)
    csv_table(tmp_path / "birds", rows)
    make(tmp_path)
    counts = {split: found.num_images for split, found in entry(tmp_path).splits.items()}
    assert counts == {"train": 6, "val": 2, "test": 2}
    assert entry(tmp_path).class_names == ["a", "b"]


def table(text: str, name: str = "metadata.csv") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: image(folder / "new.jpg"), "new.jpg: is not in metadata.csv; list it"),
    (lambda folder: image(folder / "x" / "new.jpg"), "train/x: is a folder that metadata.csv does"),
    (lambda folder: (folder / "1.jpg").unlink(), "1.jpg: is in metadata.csv, and missing"),
    (lambda folder: jsonl_table(folder, ROWS), "has two tables of labels, metadata.csv and"),
    (table("file_name,label\n1.jpg,\n"), "metadata.csv, line 2: '1.jpg' has no label"),
    (table("file_name,label\n1.jpg,-1\n"), "metadata.csv, line 2: '1.jpg' has no label"),
    (table("file_name,label\n1.jpg,a\n./1.jpg,a\n"), "line 3: lists '1.jpg' again"),
    (table("file_name,label\n../1.jpg,a\n"), "line 2: '../1.jpg' is outside of the folder"),
    (table("file_name,label\n..,a\n"), "line 2: '..' is outside of the folder"),
    (table("file_name,label\n/etc/x.jpg,a\n"), "line 2: '/etc/x.jpg' is outside of the folder"),
    (table('file_name,label\n1.jpg,"a\n'), "metadata.csv: no readable table"),
    (table("file_name,label\n1.jpg,a\x07b\n"), "has a label that cannot be printed"),
    (
        table('file_name,label\n"1.jpg\nall is well",a\n"1.jpg\nall is well",a\n'),
        r"lists '1.jpg\nall is well' again",
    ),
    (
        table('{"file_name": "\\ud800.jpg", "label": 1}', "metadata.jsonl"),
        "metadata.jsonl: no readable table",
    ),
    (table("[1]\n", "metadata.jsonl"), "metadata.jsonl: no readable table (line 1 is no JSON"),
    (table('{"file_name": "1.jpg"', "metadata.jsonl"), "metadata.jsonl: no readable table"),
    (
        table('{"file_name": "1.jpg", "label": null}', "metadata.jsonl"),
        "metadata.jsonl, line 1: '1.jpg' has no label",
    ),
    (
        table('{"file_name": "1.jpg", "label": true}', "metadata.jsonl"),
        "metadata.jsonl, line 1: '1.jpg' has no label",
    ),
]


@pytest.mark.parametrize(("spoil", "text"), WRONG)
def test_what_is_wrong_is_told(tmp_path: Path, spoil: Callable[[Path], object], text: str) -> None:
    folder = tmp_path / "birds" / "train"
    for name in ROWS:
        image(folder / name)
    csv_table(folder, ROWS)
    spoil(folder)
    with pytest.raises(DataError) as caught:
        make(tmp_path)
    assert text in str(caught.value)
    assert not (tmp_path / "data" / "manifest.json").exists()


def utf16(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,label\n1.jpg,a\n", encoding="utf-16")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (utf16, "metadata.csv: is not UTF-8; save it as UTF-8"),
        (table("file_name,label\n1.jpg,\n"), "'1.jpg' has no label"),
        (table("File_Name;Label\n1.jpg;a\n"), "metadata.csv: has no rows with the columns file_"),
        (table("file_name,label\n"), "metadata.csv: has no rows with the columns file_name and"),
    ],
)
def test_of_a_table_that_cannot_be_used_only_the_table_is_told(
    tmp_path: Path, spoil: Callable[[Path], object], text: str
) -> None:
    folder = tmp_path / "birds" / "train"
    for name in ROWS:
        image(folder / name)
    spoil(folder)
    with pytest.raises(DataError) as caught:
        make(tmp_path)
    assert text in str(caught.value)
    assert "problems" not in str(caught.value)
