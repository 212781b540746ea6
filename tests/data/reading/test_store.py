"""What users read: the store, the data set, and where the data folder is."""

import errno
import fcntl
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import decathlon
from decathlon.common.errors import DataError, UnreadableError, UsageError
from decathlon.data import shard
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading import store
from decathlon.data.reading.batches import Batches
from decathlon.data.reading.store import data_folder, open_store
from decathlon.data.sources.annotations import Annotations, Names
from decathlon.data.sources.plan import DomainPlan
from decathlon.suites.base import SPLITS, View
from decathlon.suites.visual_decathlon import DOMAINS, SUITE
from tests.data.official import Official


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    made = Official(folder / "archives")
    made.add("dtd")
    prepare(made.write(), folder / "data", jobs=0)
    return folder / "data"


def test_the_folder_is_the_option_or_the_variable_or_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DECATHLON_DATA", raising=False)
    assert data_folder(None) == Path("data")
    monkeypatch.setenv("DECATHLON_DATA", "/some/where")
    assert data_folder(None) == Path("/some/where")
    assert data_folder(Path("here")) == Path("here")


def test_a_missing_folder_says_how_to_get_data(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError) as caught:
            open_store(folder)
        for text in ("decathlon prepare", "decathlon demo", "--data", "DECATHLON_DATA"):
            assert text in str(caught.value)


def test_domains_and_splits_are_described(data: Path) -> None:
    info = open_store(data).domains["dtd"]
    assert (info.num_classes, info.first_category) == (3, 40000001)
    assert {split: found.num_images for split, found in info.splits.items()} == {
        "train": 9,
        "val": 4,
        "test": 5,
    }
    assert [info.splits[split].labelled for split in SPLITS] == [True, True, False]


def test_splits_are_joined_in_the_order_given(data: Path) -> None:
    store = open_store(data)
    train, val = (store.images("dtd", [split]) for split in ("train", "val"))
    both = store.images("dtd", ["val", "train"])
    assert len(both) == 13
    np.testing.assert_array_equal(both.image_ids, [*val.image_ids, *train.image_ids])
    np.testing.assert_array_equal(both.labels, [*val.labels, *train.labels])
    for k in range(13):
        expected = val.pixels(k) if k < 4 else train.pixels(k - 4)
        np.testing.assert_array_equal(both.pixels(k), expected)
    assert both.digests == {**val.digests, **train.digests}
    assert len(set(both.digests.values())) == 2


def test_pixels_are_a_view_that_cannot_be_written(data: Path) -> None:
    pixels = open_store(data).images("dtd", ["train"]).pixels(0)
    assert pixels.dtype == np.uint8
    assert pixels.base is not None
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def flags(path: Path) -> set[str]:
    """Of this process's memory map of a file, as Linux tells them."""
    found: set[str] = set()
    here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split(" ", 1)[0].endswith(":"):
            found |= set(line.split()[1:]) if here and line.startswith("VmFlags") else set()
        else:
            here = line.endswith(str(path))
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
def test_only_what_fits_into_memory_is_read_ahead(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data / "dtd" / "train.h5"
    kept = open_store(data).images("dtd", ["train"])
    assert kept.maps[0].nbytes
    assert flags(path)
    assert "rr" not in flags(path)
    del kept
    monkeypatch.setattr(store, "memory", lambda: path.stat().st_size)
    large = open_store(data).images("dtd", ["train"])
    assert "rr" in flags(path)
    np.testing.assert_array_equal(large.pixels(0).shape, (72, 96, 3))


def test_unknown_names_are_refused(data: Path) -> None:
    store = open_store(data)
    with pytest.raises(UsageError, match=r"no domain 'dtt' .*did you mean 'dtd'"):
        store.images("dtt", ["train"])
    with pytest.raises(DataError, match="no split 'training'"):
        store.images("dtd", ["training"])


def test_a_missing_shard_is_told(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "copy")
    (tmp_path / "copy" / "dtd" / "val.h5").unlink()
    with pytest.raises(DataError, match=r"val\.h5: missing; run 'decathlon prepare'"):
        open_store(tmp_path / "copy").images("dtd", ["val"])


def test_load_is_a_torch_dataset(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECATHLON_DATA", str(data))
    found = decathlon.load("dtd", "train")
    assert isinstance(found, torch.utils.data.Dataset)
    assert len(found) == 9
    images = open_store(data).images("dtd", ["train"])
    for k, (image, label) in enumerate(found[i] for i in range(9)):
        assert image.dtype == torch.uint8
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), images.pixels(k))
        assert label == images.labels[k]
    assert found.classes == ["class 0", "class 1", "class 2"]
    assert found.category_ids[found[0][1]] == 40000002
    np.testing.assert_array_equal(found[-1][0], found[8][0])
    found[0][0].zero_()  # a copy: neither the file nor the next reader is touched
    np.testing.assert_array_equal(found[0][0].permute(1, 2, 0).numpy(), images.pixels(0))
    with pytest.raises(IndexError):
        found[9]
    assert [label for _, label in found] == images.labels.tolist()


def test_load_works_in_a_data_loader(data: Path) -> None:
    found = decathlon.load("dtd", "test", data=str(data))
    loader = DataLoader(found, batch_size=None)
    assert [label for _, label in loader] == [-1] * 5


@pytest.mark.parametrize("kind", ["dataset", "images", "batches", "store"])
def test_a_pickle_holds_paths_and_no_pixels(
    data: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(data.parent)
    opened = open_store(Path("data"))
    images = opened.images("dtd", ["train", "val"])
    made = {
        "dataset": decathlon.load("dtd", "train", data="data"),
        "images": images,
        "batches": Batches(images, View(64), 4, domain="dtd", seed=0),
        "store": opened,
    }[kind]
    if isinstance(made, Batches):
        next(map(made.gather, made.cuts(0)))
    text = pickle.dumps(made)
    assert len(text) < 3 * 72 * 72
    if kind != "store":
        monkeypatch.chdir("/")
    again = pickle.loads(text)
    if kind == "dataset":
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(made, again, strict=True))
        assert again.labels.tolist() == made.labels.tolist()
    elif kind == "batches":
        pairs = zip(made.cuts(1), again.cuts(1), strict=True)
        assert all(np.array_equal(made.gather(a), again.gather(b)) for a, b in pairs)
    else:
        found = again if kind == "images" else again.images("dtd", ["train", "val"])
        assert found.digests == images.digests
        assert np.array_equal(found.maps[1], images.maps[1])


def test_a_subset_is_of_the_images_at_its_positions(data: Path) -> None:
    whole = open_store(data).images("dtd", ["train", "val"])
    whole.boxes = np.arange(52, dtype=np.float32).reshape(13, 4)
    chosen = whole.subset(np.array([11, 2, 5, 2])).subset(np.array([2, 0, 1]))
    assert len(chosen) == 3
    for k, original in enumerate([5, 11, 2]):
        np.testing.assert_array_equal(chosen.pixels(k), whole.pixels(original))
        np.testing.assert_array_equal(chosen.boxes[k], whole.boxes[original])
        for name in ("labels", "image_ids", "heights", "widths"):
            assert getattr(chosen, name)[k] == getattr(whole, name)[original]
    assert chosen.digests == whole.digests
    assert len(whole) == 13
    again = pickle.loads(pickle.dumps(chosen))
    assert again.image_ids.tolist() == chosen.image_ids.tolist()
    np.testing.assert_array_equal(again.pixels(1), whole.pixels(11))


def test_spawned_workers_give_the_same_images(data: Path) -> None:
    found = decathlon.load("dtd", "train", data=data)
    loader = DataLoader(found, 1, num_workers=2, multiprocessing_context="spawn")
    for (image, label), (expected, known) in zip(loader, found, strict=True):
        assert torch.equal(image[0], expected)
        assert label.tolist() == [known]


def test_a_worker_does_not_mix_in_other_images(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "copy")
    found = decathlon.load("dtd", "train", data=tmp_path / "copy")
    text = pickle.dumps(found)
    shutil.copyfile(data / "dtd" / "val.h5", tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "copy" / "dtd" / "train.h5")
    with pytest.raises(DataError, match=r"train\.h5: was replaced while it was in use"):
        pickle.loads(text)
    assert len(list(found)) == 9  # its own map stays


@pytest.mark.parametrize("variable", ["TRUE", "BEST_EFFORT"])
def test_reading_needs_no_lock_of_hdf5(data: Path, variable: str) -> None:
    """As where a file system has no locks: another process holds all of them."""
    program = (
        "import sys; from pathlib import Path\n"
        "from decathlon.data.reading.store import open_store\n"
        "print(len(open_store(Path(sys.argv[1])).images('dtd', ['train'])))"
    )
    env = {**os.environ, "HDF5_USE_FILE_LOCKING": variable}
    with (data / "dtd" / "train.h5").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        command = [sys.executable, "-c", program, data]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES, 524])
def test_what_cannot_be_read_is_not_called_damaged(
    data: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    before = (data / "manifest.json").read_bytes()
    monkeypatch.setattr(shard, "_read", refuse)
    with pytest.raises(UnreadableError) as told:
        open_store(data).images("dtd", ["train"])
    assert "prepare" not in str(told.value)
    with pytest.raises(DataError, match=r"3 of 3 shards cannot be read:\n  .*train\.h5: ") as told:
        verify(data)
    assert "prepare" not in str(told.value)
    assert (data / "manifest.json").read_bytes() == before


def annotations(count: int, classes: int) -> Annotations:
    zeros = np.zeros(count, np.int64)
    return Annotations(
        where="x",
        names=Names(b"", zeros),
        image_ids=np.arange(count),
        categories=zeros + 1,
        heights=zeros,
        widths=zeros,
        class_names={k + 1: str(k) for k in range(classes)},
        sha256="0" * 64,
    )


@pytest.mark.parametrize("change", [None, "images", "classes", "gap", "split", "name"])
def test_official_is_what_has_the_official_counts(change: str | None) -> None:
    domain = DOMAINS["vgg-flowers"]
    sizes = [size + (change == "images" and k == 1) for k, size in enumerate(domain.sizes)]
    classes = domain.num_classes - (change == "classes")
    names = tuple("" if change == "gap" and k == 5 else str(k) for k in range(classes))
    splits = {split: annotations(size, classes) for split, size in zip(SPLITS, sizes, strict=True)}
    if change == "split":
        del splits["test"]
    name = "dtd" if change == "name" else "vgg-flowers"
    plan = DomainPlan(name, names, tuple(range(1, classes + 1)), splits)
    assert plan.official(SUITE) == (change is None)
