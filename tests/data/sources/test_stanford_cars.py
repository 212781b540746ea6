"""Stanford Cars: every layout that it is found in, its labels and boxes."""

import shutil

import numpy as np
import pytest

from decathlon.common.errors import DataError
from decathlon.data.preparing.verify import verify
from tests.data import fine_grained as made
from tests.data.fine_grained import BOX, Fine
from tests.data.prepared import counts, entry, images, pixels, prepare, same


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
