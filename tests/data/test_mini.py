"""The sample of real images: every pixel, every count, every label."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decathlon.common.errors import DataError
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import Store, open_store
from decathlon.suites.visual_decathlon import DOMAINS


@pytest.fixture(scope="module")
def data(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    prepare(mini, folder)
    return folder


@pytest.fixture(scope="module")
def notes(mini: Path) -> dict[tuple[str, str], dict]:
    found = {}
    with tarfile.open(mini / "decathlon-1.0-devkit.tar.gz") as tar:
        for member in tar:
            name = Path(member.name).name.removesuffix(".json").removesuffix("_stripped")
            domain, split = name.rsplit("_", 1)
            found[domain, split] = json.load(tar.extractfile(member))
    return found


def real_images(mini: Path) -> Iterator[tuple[str, np.ndarray]]:
    def walk(tar: tarfile.TarFile) -> Iterator[tuple[str, np.ndarray]]:
        for member in tar:
            if member.name.endswith(".tar"):
                with tarfile.open(fileobj=tar.extractfile(member), mode="r|") as inner:
                    yield from walk(inner)
            else:
                file = io.BytesIO(tar.extractfile(member).read())
                yield f"data/{member.name}", np.asarray(Image.open(file).convert("RGB"))

    for name in ("decathlon-1.0-data.tar.gz", "decathlon-1.0-data-imagenet.tar"):
        with tarfile.open(mini / name, "r|*") as tar:
            yield from walk(tar)


def test_counts_ids_and_labels_are_the_annotations(data: Path, notes: dict) -> None:
    store = open_store(data)
    assert list(store.domains) == list(DOMAINS)
    for (domain, split), value in notes.items():
        images = store.images(domain, [split])
        first = min(category["id"] for category in value["categories"])
        labels = {a["image_id"]: a["category_id"] - first for a in value.get("annotations", [])}
        ids = [image["id"] for image in value["images"]]
        assert images.image_ids.tolist() == ids
        assert images.labels.tolist() == [labels.get(key, -1) for key in ids]
        assert store.domains[domain].class_names == [c["name"] for c in value["categories"]]
        assert not store.domains[domain].official
    assert (store.images("gtsrb", ["test"]).labels == -1).all()


def test_every_pixel_is_pillows(data: Path, notes: dict, mini: Path) -> None:
    store = open_store(data)
    place = {
        image["file_name"]: (domain, split, k)
        for (domain, split), value in notes.items()
        for k, image in enumerate(value["images"])
    }
    opened = {key: store.images(key[0], [key[1]]) for key in notes}
    count = 0
    for name, pixels in real_images(mini):
        domain, split, k = place[name]
        found = opened[domain, split].pixels(k)
        assert found.shape == pixels.shape, name
        assert found.tobytes() == pixels.tobytes(), name
        count += 1
    assert count == len(place) == 36663


def test_it_verifies_and_is_done(data: Path, mini: Path) -> None:
    assert verify(data).images == 36663
    assert prepare(mini, data).done
    assert not list(data.rglob("*.part"))


def test_mean_and_std_are_near_the_official_ones(data: Path) -> None:
    store: Store = open_store(data)
    # Where the sample is drawn from the same set, the statistics are alike.
    for name in ("dtd", "gtsrb"):
        np.testing.assert_allclose(store.domains[name].mean, DOMAINS[name].mean, atol=0.03)
        np.testing.assert_allclose(store.domains[name].std, DOMAINS[name].std, atol=0.03)


def test_the_official_test_labels_are_of_other_images(
    data: Path, mini: Path, labels_zip: Path
) -> None:
    with pytest.raises(DataError, match="these are labels of other images"):
        prepare(mini, data, domains=["dtd"], labels=labels_zip)
    assert not open_store(data).domains["dtd"].splits["test"].labelled
