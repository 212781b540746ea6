"""Archives in, shards out: what is written, what is said, what is left alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decathlon.common.errors import DataError, UsageError
from decathlon.data.manifest import read_manifest
from decathlon.data.preparing import folder_writer
from decathlon.data.preparing.decoding import Pool
from decathlon.data.preparing.prepare import Prepared, prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.data.shard import open_shard
from decathlon.data.sources import plan
from tests.data.official import (
    Official,
    contents,
    decoded,
    encoded,
    member,
    picture,
    tar_bytes,
    write_labels,
)

SPLITS = ("train", "val", "test")


def run(official: Official, data: Path, **options: object) -> Prepared:
    return prepare(official.write(), data, **{"jobs": 0, **options})


def assert_same(official: Official, data: Path, domain: str) -> None:
    store = open_store(data)
    for split in SPLITS:
        images = store.images(domain, [split])
        expected = official.pixels(domain, split)
        assert len(images) == len(expected)
        for k, pixels in enumerate(expected):
            np.testing.assert_array_equal(images.pixels(k), pixels)
        notes = official.split(domain, split)
        assert images.image_ids.tolist() == [image["id"] for image in notes["images"]]
        first = notes["categories"][0]["id"]
        labels = [note["category_id"] - first for note in notes.get("annotations", [])]
        assert images.labels.tolist() == (labels or [-1] * len(expected))


def test_shards_hold_what_the_archives_hold(official: Official, tmp_path: Path) -> None:
    result = run(official, tmp_path / "data")
    assert not result.done
    assert result.written["dtd"] == {"train": 9, "val": 4, "test": 5}
    for domain in official.files:
        assert_same(official, tmp_path / "data", domain)
    assert verify(tmp_path / "data").images == 54
    assert not list((tmp_path / "data").rglob("*.part"))


def test_the_format_is_as_documented(small: Official, tmp_path: Path) -> None:
    import h5py

    run(small, tmp_path, domains=["dtd"])
    with h5py.File(tmp_path / "dtd" / "train.h5") as file:
        kinds = {name: str(file[name].dtype) for name in file}
        assert kinds == {
            "pixels": "uint8",
            "offset": "int64",
            "height": "uint16",
            "width": "uint16",
            "label": "int32",
            "image_id": "int64",
            "crc32": "uint32",
        }
        assert all(file[name].chunks is None and file[name].ndim == 1 for name in file)
        height, width, at = (file[name][2] for name in ("height", "width", "offset"))
        size = 3 * int(height) * int(width)
        pixels = file["pixels"][at : at + size].reshape(height, width, 3)
        np.testing.assert_array_equal(pixels, small.pixels("dtd", "train")[2])
        assert file.attrs["format_version"] == 1
        assert [name.decode() for name in file.attrs["class_names"]] == [
            "class 0",
            "class 1",
            "class 2",
        ]
        assert file.attrs["category_ids"].tolist() == [40000001, 40000002, 40000003]


def test_a_second_call_does_nothing(official: Official, tmp_path: Path) -> None:
    run(official, tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    result = prepare(official.folder, tmp_path / "data")
    assert result.done
    assert result.present["svhn"] == {"train": 9, "val": 4, "test": 5}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


def test_processes_make_the_same_bytes(official: Official, tmp_path: Path) -> None:
    run(official, tmp_path / "one")
    prepare(official.folder, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize(("asked", "had"), [(100_000, 8), (3, 3), (0, 0), (None, 0)])
def test_processes_are_never_too_many(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, had: int
) -> None:
    started = []

    def pool(jobs: int) -> Pool:
        started.append(jobs)
        return Pool(0)

    monkeypatch.setattr(folder_writer, "Pool", pool)
    monkeypatch.setattr(folder_writer, "cores", lambda: 2)
    run(small, tmp_path / "data", jobs=asked)
    assert started == [had]
    monkeypatch.setattr(folder_writer, "cores", lambda: 64)
    run(small, tmp_path / "more", jobs=asked)
    assert started[1] <= 18  # images


def test_missing_archives_are_listed(official: Official, tmp_path: Path) -> None:
    (official.write() / "decathlon-1.0-data-imagenet.tar").unlink()
    with pytest.raises(DataError) as caught:
        run_of_three(official, tmp_path / "new")
    text = str(caught.value)
    assert "needed for imagenet12" in text
    assert "decathlon-1.0-data-imagenet.tar: images of imagenet12, 6,535 MB" in text
    assert "needs an account at image-net.org" in text
    assert "http://www.image-net.org" in text
    assert "--domain svhn" in text
    assert "decathlon-1.0-devkit" not in text
    assert "--domain imagenet12" not in text
    assert not (tmp_path / "new" / "manifest.json").exists()
    prepare(official.folder, tmp_path / "new", domains=["dtd", "svhn"], jobs=0)
    assert sorted(open_store(tmp_path / "new").domains) == ["dtd", "svhn"]


def run_of_three(official: Official, data: Path) -> Prepared:
    return prepare(official.folder, data, domains=["dtd", "svhn", "imagenet12"], jobs=0)


def test_what_is_there_is_prepared_and_what_is_missing_is_said(
    official: Official, tmp_path: Path
) -> None:
    imagenet = official.write() / "decathlon-1.0-data-imagenet.tar"
    imagenet.rename(tmp_path / "kept")
    result = prepare(official.folder, tmp_path / "data", jobs=0)
    assert sorted(result.written) == ["dtd", "svhn"]
    for again in (result, prepare(official.folder, tmp_path / "data", jobs=0)):
        assert again.lacking == ["imagenet12"]
        assert not again.done
        (told,) = [message for message in again.messages if "needed for imagenet12" in message]
        assert "http://www.image-net.org" in told
    assert not again.written
    (tmp_path / "kept").rename(imagenet)
    assert list(prepare(official.folder, tmp_path / "data", jobs=0).written) == ["imagenet12"]
    assert prepare(official.folder, tmp_path / "data").done


def test_what_is_prepared_needs_no_archive(official: Official, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run(official, data)
    (official.folder / "decathlon-1.0-data.tar.gz").unlink()
    (data / "imagenet12" / "val.h5").unlink()
    result = prepare(official.folder, data, jobs=0)
    assert (result.written, result.lacking) == ({"imagenet12": {"val": 4}}, [])
    labels = write_labels(tmp_path / "labels.zip", {"dtd": official.labels("dtd")})
    result = prepare(tmp_path / "nowhere", data, labels=labels)
    assert result.written == {"dtd": {"test": 5}}


@pytest.mark.parametrize("named", [True, False])
def test_a_damaged_domain_is_told_where_its_archive_is_gone(
    official: Official, tmp_path: Path, named: bool
) -> None:
    data = tmp_path / "data"
    run(official, data)
    (official.folder / "decathlon-1.0-data.tar.gz").unlink()
    (data / "dtd" / "val.h5").unlink()
    if named:
        with pytest.raises(DataError, match="needed for dtd"):
            prepare(official.folder, data, domains=["dtd"], jobs=0)
    else:
        result = prepare(official.folder, data, jobs=0)
        assert (result.written, result.lacking) == ({}, ["dtd"])
        assert "needed for dtd" in result.messages[0]


def test_an_eleventh_domain_is_looked_after_too(official: Official, tmp_path: Path) -> None:
    made = official
    made.add("letters")
    run(made, tmp_path / "data")
    (tmp_path / "data" / "letters" / "val.h5").unlink()
    assert run(made, tmp_path / "data").written == {"letters": {"val": 4}}
    (tmp_path / "data" / "letters" / "val.h5").unlink()
    other = Official(tmp_path / "others")
    other.add("dtd")
    result = prepare(other.write(), tmp_path / "data", jobs=0)
    assert "letters" in result.lacking
    assert any(m.startswith("letters: shards are missing or damaged") for m in result.messages)
    with pytest.raises(DataError, match="letters: shards are missing or damaged"):
        prepare(other.folder, tmp_path / "data", domains=["letters"], jobs=0)


def test_files_of_others_are_left_alone(small: Official, tmp_path: Path) -> None:
    small.write()
    theirs = [
        small.folder / "decathlon-1.0-data-imagenet.tar.part",
        small.folder / "dtd" / "notes.part",
    ]
    ours = [
        small.folder / "manifest.json.some.host.17.part",
        small.folder / "dtd" / "test.h5.some.host.17.part",
        small.folder / "dtd" / "train-00000-of-00002.h5.journal.part",
    ]
    (small.folder / "dtd").mkdir()
    for path in [*theirs, *ours]:
        path.write_bytes(b"x")
    prepare(small.folder, small.folder, jobs=0)
    for path in ours:
        path.write_bytes(b"x")
    assert prepare(small.folder, small.folder, jobs=0).done
    assert [path.exists() for path in theirs] == [True, True]
    assert [path.exists() for path in ours] == [False, False, False]


def test_all_archives_are_listed_where_none_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "nowhere", tmp_path / "data")
    for text in ("no such folder", "devkit.tar.gz", "24 MB", "406 MB", "6,535 MB"):
        assert text in str(caught.value)


def test_only_what_the_devkit_describes_is_needed(small: Official, tmp_path: Path) -> None:
    run(small, tmp_path)
    assert list(open_store(tmp_path).domains) == ["dtd"]
    assert prepare(small.folder, tmp_path).done


def test_an_unknown_domain_gets_a_suggestion(official: Official, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"domain 'svnh', did you mean 'svhn'\?"):
        run(official, tmp_path, domains=["svnh"])


def test_an_eleventh_domain_comes_from_the_annotations(small: Official, tmp_path: Path) -> None:
    small.add("letters")
    run(small, tmp_path)
    assert_same(small, tmp_path, "letters")
    assert not open_store(tmp_path).domains["letters"].official


def test_foreign_archives_are_recorded_as_unofficial(small: Official, tmp_path: Path) -> None:
    result = run(small, tmp_path)
    assert [m.split(" ")[0] for m in result.messages] == [
        "decathlon-1.0-devkit.tar.gz",
        "decathlon-1.0-data.tar.gz",
    ]
    assert all("unofficial" in message for message in result.messages)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert [source.official for source in manifest.domains["dtd"].sources] == [False, False]
    assert (
        json.loads((tmp_path / "manifest.json").read_text())["domains"]["dtd"]["official"] is False
    )


def test_mean_and_std_are_those_of_the_training_pixels(small: Official, tmp_path: Path) -> None:
    run(small, tmp_path)
    info = open_store(tmp_path).domains["dtd"]
    pixels = np.concatenate([p.reshape(-1, 3) for p in small.pixels("dtd", "train")]) / 255
    np.testing.assert_allclose(info.mean, pixels.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(info.std, pixels.std(axis=0), atol=1e-6)


def test_mean_and_std_are_exact(tmp_path: Path) -> None:
    """The brightest pixels there are: a sum that is rounded anywhere would show."""
    rng = np.random.default_rng(4)
    made = Official(tmp_path / "archives")
    made.add("dtd", (60, 1, 1), classes=1)
    for note in made.split("dtd", "train")["images"]:
        note["height"], note["width"] = 72, 300
        pixels = rng.integers(250, 256, (72, 300, 3), dtype=np.uint8)
        name = note["file_name"].removeprefix("data/")
        made.files["dtd"][name] = encoded(Image.fromarray(pixels), "PNG")
    run(made, tmp_path / "data")
    info = open_store(tmp_path / "data").domains["dtd"]
    pixels = np.concatenate([p.reshape(-1, 3) for p in made.pixels("dtd", "train")])
    whole = pixels.astype(np.int64)
    mean = whole.sum(axis=0) / len(whole) / 255
    std = np.sqrt((whole**2).sum(axis=0) / len(whole) / 255**2 - mean**2)
    assert info.mean == tuple(round(float(value), 6) for value in mean)
    assert info.std == tuple(round(float(value), 6) for value in std)


def test_a_channel_without_variation_can_be_divided_by(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("dark", "darker"):
            path = tmp_path / "photos" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (90, 80), (0, 7, 255)).save(path)
    prepare(None, tmp_path / "data", folders={"nights": tmp_path / "photos"})
    assert open_store(tmp_path / "data").domains["nights"].std == (round(1 / 255, 6),) * 3


def test_odd_but_honest_images_are_taken(small: Official, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    image = picture(rng, 72, 90)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated, which the official loader ignores
    odd = [
        encoded(image.convert("L")),
        encoded(image.convert("CMYK")),
        encoded(image, progressive=True),
        encoded(image, exif=exif),
        encoded(image, "PNG"),
        encoded(image, subsampling=0, quality=95),
        encoded(image) + b"bytes after the end",
        encoded(picture(rng, 71, 80)),
        encoded(image.convert("RGBA"), "PNG"),
    ]
    for note, data in zip(small.split("dtd", "train")["images"], odd, strict=True):
        small.files["dtd"][note["file_name"].removeprefix("data/")] = data
        note["height"], note["width"] = decoded(data).shape[:2]
    run(small, tmp_path)
    assert_same(small, tmp_path, "dtd")


@pytest.mark.parametrize("said", ["wrong", "nothing"])
def test_sizes_are_the_images_own(small: Official, tmp_path: Path, said: str) -> None:
    for k, note in enumerate(small.split("dtd", "val")["images"]):
        if said == "nothing":
            del note["height"], note["width"]
        elif k % 2:
            note["height"] += 3
    run(small, tmp_path)
    assert_same(small, tmp_path, "dtd")
    shard = open_shard(tmp_path / "dtd" / "val.h5")
    np.testing.assert_array_equal(shard.offset, shard.columns.offset)
    assert shard.size == sum(p.size for p in small.pixels("dtd", "val"))


def test_only_other_sizes_are_resized(small: Official, tmp_path: Path) -> None:
    image = picture(np.random.default_rng(1), 150, 100)
    note = small.split("dtd", "train")["images"][3]
    small.files["dtd"][note["file_name"].removeprefix("data/")] = encoded(image)
    note["height"], note["width"] = 150, 100
    run(small, tmp_path)
    store = open_store(tmp_path)
    images = store.images("dtd", ["train"])
    whole = Image.fromarray(small.pixels("dtd", "train")[3])
    expected = np.asarray(whole.resize((72, 108), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(images.pixels(3), expected)
    np.testing.assert_array_equal(images.pixels(4), small.pixels("dtd", "train")[4])
    assert open_shard(tmp_path / "dtd" / "train.h5").header.resize.startswith("Pillow ")
    assert open_shard(tmp_path / "dtd" / "val.h5").header.resize == ""
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest.domains["dtd"].resize.startswith("Pillow ")


def test_a_large_split_becomes_several_shards(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SHARD_BYTES", 60_000)
    run(small, tmp_path)
    names = sorted(path.name for path in (tmp_path / "dtd").iterdir())
    assert names[2:5] == [f"train-0000{k}-of-00003.h5" for k in range(3)]
    assert_same(small, tmp_path, "dtd")
    monkeypatch.undo()
    os.utime(small.folder / "decathlon-1.0-data.tar.gz")
    assert prepare(small.folder, tmp_path).done


def test_gaps_between_categories_keep_their_labels(small: Official, tmp_path: Path) -> None:
    for notes in small.notes.values():
        notes["categories"] = [c for c in notes["categories"] if c["id"] != 40000002]
        for note in notes.get("annotations", []):
            note["category_id"] = 40000001 if note["category_id"] == 40000002 else 40000003
    run(small, tmp_path)
    info = open_store(tmp_path).domains["dtd"]
    assert info.num_classes == 3
    assert info.class_names == ["class 0", "", "class 2"]
    assert info.first_category == 40000001
    assert set(open_store(tmp_path).images("dtd", ["train"]).labels.tolist()) == {0, 2}


def test_labels_fill_the_test_split_alone(official: Official, tmp_path: Path) -> None:
    data = tmp_path / "data"
    run(official, data)
    before = contents(data)
    notes = official.labels("dtd")
    notes["images"] = notes["images"][::-1]  # in another order
    labels = write_labels(tmp_path / "labels.zip", {"dtd": notes, "svhn": official.labels("svhn")})
    result = prepare(official.folder, data, labels=labels)
    assert result.written == {"dtd": {"test": 5}, "svhn": {"test": 5}}
    assert any("imagenet12_test.json" in message for message in result.messages)
    store = open_store(data)
    assert store.images("dtd", ["test"]).labels.tolist() == [0, 1, 2, 0, 1]
    assert store.domains["dtd"].splits["test"].labelled
    assert not store.domains["imagenet12"].splits["test"].labelled
    changed = {name for name, value in contents(data).items() if before[name] != value}
    assert changed == {"dtd/test.h5", "svhn/test.h5", "manifest.json"}
    assert verify(data).shards == 9
    assert prepare(official.folder, data, labels=labels).done
    assert prepare(official.folder, data).done


def test_labels_can_come_with_the_first_call(small: Official, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "labels.zip", {"dtd": small.labels("dtd")})
    run(small, tmp_path / "data", labels=labels)
    assert open_store(tmp_path / "data").images("dtd", ["test"]).labels.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("wrong", ["ids", "fewer", "category", "names", "none", "no zip", "absent"])
def test_labels_of_other_images_are_refused(small: Official, tmp_path: Path, wrong: str) -> None:
    run(small, tmp_path / "data")
    before = contents(tmp_path / "data")
    notes = small.labels("dtd")
    path = tmp_path / "labels.zip"
    if wrong == "ids":
        notes["images"][0]["id"] += 100
        notes["annotations"][0]["image_id"] += 100
    elif wrong == "fewer":
        notes["images"].pop()
        notes["annotations"].pop()
    elif wrong == "category":
        notes["categories"] = [*notes["categories"], {"id": 1, "name": "foreign"}]
        notes["annotations"][0]["category_id"] = 1
    elif wrong == "names":
        one, two, three = notes["categories"]
        notes["categories"] = [one, {**two, "name": three["name"]}, {**three, "name": two["name"]}]
    elif wrong == "none":
        del notes["annotations"]
    if wrong == "no zip":
        path.write_bytes(b"no zip")
    elif wrong != "absent":
        write_labels(path, {"dtd": notes})
    with pytest.raises(
        DataError, match=r"labels.zip.*(other images|categories|category|zip|no such)"
    ):
        prepare(small.folder, tmp_path / "data", labels=path)
    assert contents(tmp_path / "data") == before


def test_other_archives_replace_what_was_prepared(small: Official, tmp_path: Path) -> None:
    run(small, tmp_path / "data")
    note = small.split("dtd", "val")["images"][0]
    image = picture(np.random.default_rng(9), note["height"], note["width"])
    small.files["dtd"][note["file_name"].removeprefix("data/")] = encoded(image, quality=99)
    result = run(small, tmp_path / "data")
    assert not result.done
    assert_same(small, tmp_path / "data", "dtd")


def test_domains_are_added_to_those_that_are_there(official: Official, tmp_path: Path) -> None:
    run(official, tmp_path / "data", domains=["svhn"])
    shard = tmp_path / "data" / "svhn" / "train.h5"
    before = shard.stat().st_mtime_ns
    result = prepare(official.folder, tmp_path / "data", jobs=0)
    assert sorted(result.written) == ["dtd", "imagenet12"]
    assert sorted(result.present) == ["svhn"]
    assert shard.stat().st_mtime_ns == before
    assert list(open_store(tmp_path / "data").domains) == ["imagenet12", "dtd", "svhn"]


def test_unnamed_members_are_passed_over(small: Official, tmp_path: Path) -> None:
    extra = encoded(picture(np.random.default_rng(2), 72, 72))
    small.members["dtd"] = [
        (member("dtd/train/0001/unnamed.jpg", extra), extra),
        (member("README", b"hello"), b"hello"),
    ]
    run(small, tmp_path / "data")
    assert_same(small, tmp_path / "data", "dtd")


def test_leading_dots_in_member_names_do_not_matter(small: Official, tmp_path: Path) -> None:
    small.write()
    pairs = [(member(f"./{name}", data), data) for name, data in small.files["dtd"].items()]
    inner = tar_bytes(pairs)
    small.put("decathlon-1.0-data.tar.gz", tar_bytes([(member("./dtd.tar", inner), inner)], "w:gz"))
    prepare(small.folder, tmp_path / "data", jobs=0)
    assert_same(small, tmp_path / "data", "dtd")
