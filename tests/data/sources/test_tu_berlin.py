"""TU-Berlin's sketches: layouts and lists."""

import shutil

import pytest

from decathlon.common.errors import DataError
from tests.data import fine_grained as made
from tests.data.fine_grained import Fine
from tests.data.prepared import counts, entry, images, prepare, same


def test_sketches(fine: Fine) -> None:
    made.add_sketches(fine)
    fine.write()
    prepare(fine)
    assert entry(fine, "sketches").class_names == ["bear (animal)", "cup"]
    assert images(fine, "sketches", "test").labels.tolist() == [0, 0, 1, 1]
    for inside in ("", "sketches_png", "sketches"):
        shutil.rmtree(fine.folder)
        fine.unpack(inside)
        prepare(fine, f"tree{inside}")
        same(fine, "sketches", f"tree{inside}")


def test_a_list_of_sketches_is_followed(fine: Fine) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    content["png/cup/99.png"] = made.sketch(3)
    fine.write()
    assert "does not name 1 images: left out" in "\n".join(prepare(fine).messages)
    assert sum(counts(fine, "sketches").values()) == 20
    del content["png/cup/12.png"]
    fine.write()
    with pytest.raises(DataError, match=r"lacks 1 sketches that filelist\.txt names: cup/12\.png"):
        prepare(fine, "other")
    del content["png/filelist.txt"]
    fine.write()
    prepare(fine, "unlisted")
    assert sum(counts(fine, "sketches", "unlisted").values()) == 20


@pytest.mark.parametrize("form", ["png/{}", "png\\{}", "./{}"])
def test_a_list_of_sketches_may_name_folders(fine: Fine, form: str) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    lines = content["png/filelist.txt"].decode().splitlines()
    content["png/filelist.txt"] = "".join(f"{form.format(line)}\r\n" for line in lines).encode()
    fine.write()
    prepare(fine)
    assert sum(counts(fine, "sketches").values()) == 20


def test_of_two_lists_of_sketches_the_first_counts(fine: Fine) -> None:
    made.add_sketches(fine)
    content = fine.zips["sketches_png.zip"]
    fine.zips["sketches_png.zip"] = content | {f"z{k}/filelist.txt": b"a/1.png" for k in range(9)}
    fine.write()
    prepare(fine)
    assert sum(counts(fine, "sketches").values()) == 20
