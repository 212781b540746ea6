"""imagenet12 from photographs: what the annotations determine is followed, the rest is said."""

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from decathlon.common.errors import DataError
from decathlon.data.manifest import read_manifest
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import open_store
from decathlon.data.sources.imagenet import Photograph, assign, embed
from decathlon.suites.visual_decathlon import DOMAINS
from tests.data.official import Official, decoded, encoded, member, picture, tar_bytes

WNIDS = ["n01440764", "n01443537", "n01484850"]


@pytest.fixture
def photographs(tmp_path: Path) -> tuple[Official, Path]:
    """Archives without imagenet12's, and photographs four times as large in a folder."""
    made = Official(tmp_path / "archives")
    made.add("imagenet12", (9, 4, 5))
    rng = np.random.default_rng(7)
    folder = tmp_path / "originals"
    number = dict.fromkeys(WNIDS, 0)
    for split in ("train", "val", "test"):
        notes = made.split("imagenet12", split)
        for category, wnid in zip(notes["categories"], WNIDS, strict=True):
            category["name"] = wnid
        labels = [note["category_id"] - 60000001 for note in notes.get("annotations", [])]
        for k, image in enumerate(notes["images"]):
            if min(image["width"], image["height"]) == 73:
                image["width"], image["height"] = 80, 72
            data = encoded(picture(rng, 4 * image["height"], 4 * image["width"]))
            if split == "test":
                # Every other validation photograph is none of the test images.
                place = folder / "val"
                name = f"ILSVRC2012_val_{2 * k + 1:08d}.JPEG"
                other = f"ILSVRC2012_val_{2 * k + 2:08d}.JPEG"
                place.mkdir(parents=True, exist_ok=True)
                (place / other).write_bytes(encoded(picture(rng, 200, 1000 + k)))
            else:
                wnid = WNIDS[labels[k]]
                number[wnid] += 1
                place, name = folder / "train" / wnid, f"{wnid}_{number[wnid]:03d}.JPEG"
                place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
    made.write()
    (made.folder / "decathlon-1.0-data-imagenet.tar").unlink()
    return made, folder


def into_tars(folder: Path, to: Path) -> Path:
    """Packs photographs as they were published."""
    inner = []
    for place in sorted((folder / "train").iterdir()):
        pairs = [(path.name, path.read_bytes()) for path in sorted(place.iterdir())]
        raw = tar_bytes([(member(name, data), data) for name, data in pairs])
        inner.append((member(f"{place.name}.tar", raw), raw))
    val = [(path.name, path.read_bytes()) for path in sorted((folder / "val").iterdir())]
    to.mkdir()
    (to / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes(inner))
    packed = tar_bytes([(member(name, data), data) for name, data in val])
    (to / "ILSVRC2012_img_val.tar").write_bytes(packed)
    return to


def made_small(path: Path) -> np.ndarray:
    pixels = decoded(path.read_bytes())
    size = (pixels.shape[1] // 4, pixels.shape[0] // 4)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def shards(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*.h5")}


def test_photographs_become_the_official_splits(
    photographs: tuple[Official, Path], tmp_path: Path
) -> None:
    made, folder = photographs
    result = prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert result.written == {"imagenet12": {"train": 9, "val": 4, "test": 5}}
    assert any("which photograph is in train" in message for message in result.messages)
    store = open_store(tmp_path / "data")
    used = []
    for split in ("train", "val"):
        images = store.images("imagenet12", [split])
        notes = made.split("imagenet12", split)
        assert images.image_ids.tolist() == [image["id"] for image in notes["images"]]
        for k, image in enumerate(notes["images"]):
            assert images.pixels(k).shape == (image["height"], image["width"], 3)
            wnid = WNIDS[images.labels[k]]
            found = [
                path
                for path in (folder / "train" / wnid).iterdir()
                if np.array_equal(made_small(path), images.pixels(k))
            ]
            assert len(found) == 1
            used += found
    assert len(set(used)) == 13
    test = store.images("imagenet12", ["test"])
    for k in range(5):
        path = folder / "val" / f"ILSVRC2012_val_{2 * k + 1:08d}.JPEG"
        np.testing.assert_array_equal(test.pixels(k), made_small(path))
    manifest = read_manifest(tmp_path / "data")
    assert manifest is not None
    assert manifest.domains["imagenet12"].resize.startswith("Pillow ")
    assert prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0).done


def test_tars_and_folders_give_the_same(photographs: tuple[Official, Path], tmp_path: Path) -> None:
    made, folder = photographs
    prepare(made.folder, tmp_path / "one", imagenet=folder, jobs=0)
    tars = into_tars(folder, tmp_path / "tars")
    with tarfile.open(tars / "ILSVRC2012_img_train.tar") as tar:
        assert len(tar.getnames()) == 3
    # Sorted into folders by class, as many keep the validation photographs.
    for k, path in enumerate(sorted((folder / "val").iterdir())):
        (folder / "val" / WNIDS[k % 3]).mkdir(exist_ok=True)
        path.rename(folder / "val" / WNIDS[k % 3] / path.name)
    prepare(made.folder, tmp_path / "two", imagenet=tars, jobs=0)
    prepare(made.folder, tmp_path / "three", imagenet=folder, jobs=0)
    assert shards(tmp_path / "one") == shards(tmp_path / "two") == shards(tmp_path / "three")


@pytest.mark.parametrize("what", ["other", "none"])
def test_an_undetermined_test_split_is_left_out(
    photographs: tuple[Official, Path], tmp_path: Path, what: str
) -> None:
    made, folder = photographs
    if what == "none":
        shutil.rmtree(folder / "val")
    else:
        (folder / "val" / "ILSVRC2012_val_00000005.JPEG").unlink()
    result = prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert result.written == {"imagenet12": {"train": 9, "val": 4}}
    assert any("imagenet12 test is left out" in message for message in result.messages)


def test_validation_photographs_may_come_later(
    photographs: tuple[Official, Path], tmp_path: Path
) -> None:
    made, folder = photographs
    prepare(made.folder, tmp_path / "whole", imagenet=folder, jobs=0)
    (folder / "val").rename(tmp_path / "val")
    prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0).done
    (tmp_path / "val").rename(folder / "val")
    result = prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert result.written["imagenet12"]["test"] == 5
    assert shards(tmp_path / "data") == shards(tmp_path / "whole")
    assert prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0).done


def test_photographs_are_read_once_though_test_is_left_out(
    photographs: tuple[Official, Path], tmp_path: Path
) -> None:
    made, folder = photographs
    (folder / "val" / "ILSVRC2012_val_00000005.JPEG").unlink()
    made.add("dtd")
    (made.write() / "decathlon-1.0-data-imagenet.tar").unlink()
    only = ["imagenet12"]
    prepare(made.folder, tmp_path / "data", domains=only, imagenet=folder, jobs=0)
    for path in folder.glob("train/*/*"):
        path.write_bytes(b"no photograph, as would be told if it were read")
    result = prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert list(result.written) == ["dtd"]


def test_photographs_are_never_the_official_images(
    photographs: tuple[Official, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though all counts are official."""
    made, folder = photographs
    counts = replace(DOMAINS["imagenet12"], num_classes=3, sizes=(9, 4, 5))
    monkeypatch.setitem(DOMAINS, "imagenet12", counts)
    result = prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert any("recorded as unofficial" in m for m in result.messages if "photographs" in m)
    info = open_store(tmp_path / "data").domains["imagenet12"]
    assert not info.official
    assert info.mean != counts.mean
    made.write()
    prepare(made.folder, tmp_path / "official", jobs=0)
    assert open_store(tmp_path / "official").domains["imagenet12"].official


@pytest.mark.parametrize("what", ["lacking", "damaged", "empty"])
def test_missing_or_damaged_photographs(
    photographs: tuple[Official, Path], tmp_path: Path, what: str
) -> None:
    made, folder = photographs
    path = next((folder / "train" / WNIDS[0]).iterdir())
    if what == "lacking":
        path.unlink()
        told = f"photographs of {WNIDS[0]}, the annotations name"
    elif what == "damaged":
        path.write_bytes(b"no photograph")
        told = f"{path.name}: no image that can be read"
    else:
        shutil.rmtree(folder / "train")
        told = "has no ILSVRC-2012 training photographs; give a folder with"
    with pytest.raises(DataError, match=told):
        prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    assert not list((tmp_path / "data").rglob("*.h5"))


def test_all_damaged_photographs_are_listed(
    photographs: tuple[Official, Path], tmp_path: Path
) -> None:
    made, folder = photographs
    wrong = [next((folder / "train" / wnid).iterdir()) for wnid in WNIDS]
    for path in wrong[:2]:
        path.write_bytes(b"no photograph")
    copy = folder / "train" / WNIDS[0] / wrong[2].name
    shutil.copy(wrong[2], copy)
    with pytest.raises(DataError) as caught:
        prepare(made.folder, tmp_path / "data", imagenet=folder, jobs=0)
    for path in wrong[:2]:
        assert f"{path}: no image that can be read" in str(caught.value)
    assert f"{wrong[2]}: is there twice, also as {WNIDS[0]}/{copy.name}" in str(caught.value)


def test_photographs_are_found_and_turned_upright(
    photographs: tuple[Official, Path], tmp_path: Path
) -> None:
    made, folder = photographs
    prepare(made.folder, tmp_path / "one", imagenet=folder, jobs=0)
    exif = Image.Exif()
    exif[274] = 6
    for path in list(folder.glob("train/*/*.JPEG")):
        lying = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        lying.save(path.with_suffix(".jpg"), "JPEG", exif=exif, quality=98)
        path.unlink()
    for litter in ("@eaDir", ".ipynb_checkpoints"):
        shutil.copytree(folder / "train" / WNIDS[0], folder / "train" / litter)
    prepare(made.folder, tmp_path / "two", imagenet=folder, jobs=0)
    one, other = (open_store(tmp_path / n).images("imagenet12", ["train"]) for n in ("one", "two"))
    assert one.heights.tolist() == other.heights.tolist()
    for k in range(len(one)):
        assert np.abs(one.pixels(k).astype(int) - other.pixels(k)).mean() < 8


SIZES = st.tuples(st.integers(70, 74), st.integers(70, 74))


@given(st.lists(SIZES, max_size=12), st.lists(SIZES, max_size=4), st.randoms())
@settings(max_examples=60)
def test_every_entry_gets_a_photograph_of_its_own(entries, extra, random) -> None:
    sizes = [*entries, *extra]
    random.shuffle(sizes)
    photos = [Photograph(str(k), size) for k, size in enumerate(sizes)]
    given_ = assign(entries, photos)
    assert len(set(given_)) == len(given_) == len(entries)


@given(st.lists(SIZES, max_size=12), st.data())
@settings(max_examples=60)
def test_a_sequence_is_found_wherever_it_is(sizes, data) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    entries = [size for size, keep in zip(sizes, kept, strict=True) if keep]
    photos = [Photograph(f"{k:03d}", size) for k, size in enumerate(sizes)]
    found = embed(entries, photos)
    assert found is not None
    assert found == sorted(found)
    assert len(found) == len(entries)
    assert embed([*entries, (300, 300)], photos) is None
