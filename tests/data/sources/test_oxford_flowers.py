"""Oxford Flowers 102: layouts and splits."""

import shutil

import numpy as np
import pytest

from decathlon.common.errors import DataError
from tests.data import fine_grained as made
from tests.data.fine_grained import Fine
from tests.data.prepared import entry, images, prepare, same


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
