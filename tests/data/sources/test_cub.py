"""CUB-200-2011: layouts, lists and boxes."""

import shutil
from collections.abc import Callable

import numpy as np
import pytest

from decathlon.common.errors import DataError
from tests.data import fine_grained as made
from tests.data.fine_grained import BOX, Fine
from tests.data.prepared import entry, images, prepare, same


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
