"""The sample of real images of the fine-grained sets: every count, label and box."""

import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import Images, Store, open_store
from decathlon.suites.fine_grained import SUITE
from tests.data.conftest import at_hand


@pytest.fixture(scope="module")
def mini_fine() -> Path:
    return at_hand("mini-fine", "the sample of fine-grained images is not")


@pytest.fixture(scope="module")
def store(mini_fine: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("mini-fine")
    prepare(mini_fine, folder, suite=SUITE)
    return open_store(folder)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]


def whole(store: Store, domain: str) -> Images:
    return store.images(domain, ["train", "val", "test"])


def test_counts(store: Store) -> None:
    assert {
        name: [split.num_images for split in entry.splits.values()]
        for name, entry in store.domains.items()
    } == {
        "cubs": [224, 32, 256],
        "stanford-cars": [154, 14, 168],
        "flowers": [192, 24, 216],
        "wikiart": [334, 37, 96],
        "sketches": [325, 35, 90],
    }
    assert [len(store.domains[name].class_names) for name in store.domains] == [32, 14, 12, 5, 5]


def test_it_verifies_and_is_done(store: Store, mini_fine: Path) -> None:
    assert verify(store.data).images == 2197
    assert prepare(mini_fine, store.data, suite=SUITE).done
    assert not list(store.data.rglob("*.part"))


def test_birds_are_the_lists(store: Store, mini_fine: Path) -> None:
    files = members(mini_fine / "CUB_200_2011.tgz")

    def rows(name: str) -> dict[int, list[str]]:
        lines = files[f"CUB_200_2011/{name}.txt"].decode().splitlines()
        return {int(line.split(" ")[0]): line.split(" ")[1:] for line in lines}

    labels, boxes = rows("image_class_labels"), rows("bounding_boxes")
    trained, paths = rows("train_test_split"), rows("images")
    test = store.images("cubs", ["test"])
    assert set(test.image_ids.tolist()) == {k for k, (flag,) in trained.items() if flag == "0"}
    found = whole(store, "cubs")
    assert found.boxes is not None
    for k, key in enumerate(found.image_ids.tolist()):
        assert found.labels[k] + 1 == int(labels[key][0])
        image = Image.open(io.BytesIO(files[f"CUB_200_2011/images/{' '.join(paths[key])}"]))
        height, width = found.pixels(k).shape[:2]
        assert min(height, width) == 256
        scale = np.array([width / image.width, height / image.height] * 2)
        np.testing.assert_allclose(
            found.boxes[k], np.array(list(map(float, boxes[key]))) * scale, rtol=1e-5, atol=1e-3
        )


def test_cars_are_the_lists(store: Store, mini_fine: Path) -> None:
    lists = loadmat(mini_fine / "cars_test_annos_withlabels.mat", squeeze_me=True)["annotations"]
    files = members(mini_fine / "cars_test.tgz")
    test = store.images("stanford-cars", ["test"])
    assert test.boxes is not None
    assert test.labels.tolist() == [int(label) - 1 for label in lists["class"]]
    for k, row in enumerate(lists):
        image = Image.open(io.BytesIO(files[f"cars_test/{row['fname']}"]))
        scale = test.widths[k] / image.width
        right = (test.boxes[k][0] + test.boxes[k][2]) / scale
        assert right == pytest.approx(min(int(row["bbox_x2"]), image.width), abs=1e-2)
        assert test.boxes[k][1] / scale == pytest.approx(int(row["bbox_y1"]) - 1, abs=0.5)


def test_flowers_are_the_lists(store: Store, mini_fine: Path) -> None:
    sets = loadmat(mini_fine / "setid.mat", squeeze_me=True)
    labels = loadmat(mini_fine / "imagelabels.mat", squeeze_me=True)["labels"]
    trained = store.images("flowers", ["train", "val"]).image_ids.tolist()
    assert sorted(trained) == sorted([*sets["trnid"].tolist(), *sets["valid"].tolist()])
    found = whole(store, "flowers")
    assert (found.labels + 1).tolist() == labels[found.image_ids - 1].tolist()


def test_paintings_and_sketches_are_divided_by_class(store: Store, mini_fine: Path) -> None:
    with zipfile.ZipFile(mini_fine / "wikiart.zip") as archive:
        artists = Counter(n.rsplit("/")[-1].split("_")[0] for n in archive.namelist())
    with zipfile.ZipFile(mini_fine / "sketches_png.zip") as archive:
        drawn = Counter(n.split("/")[1] for n in archive.namelist() if n.endswith(".png"))
    for domain, counts in (("wikiart", artists), ("sketches", drawn)):
        names = store.domains[domain].class_names
        test = Counter(names[k] for k in store.images(domain, ["test"]).labels.tolist())
        assert test == {name: count - 4 * count // 5 for name, count in counts.items()}
    train, test = (store.images("wikiart", [split]) for split in ("train", "test"))
    seen = {train.pixels(k).tobytes() for k in range(len(train))}
    assert not any(test.pixels(k).tobytes() in seen for k in range(len(test)))
