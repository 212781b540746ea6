"""Class folders in the place of an archive."""

from pathlib import Path

import pytest

from decathlon.data.preparing.prepare import prepare as prepare_any
from decathlon.data.reading.store import open_store
from decathlon.suites.fine_grained import MEAN, SUITE
from tests.data import fine_grained as made
from tests.data.fine_grained import Fine
from tests.data.prepared import counts, entry, prepare, same


def class_folders(folder: Path, splits: tuple[str, ...] = ("train", "test")) -> Path:
    for s, split in enumerate(splits):
        for c in range(2):
            for k in range(6):
                path = folder / split / f"class {c}" / f"{s}-{k}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(made.photo(1000 + 100 * s + 10 * c + k))
    return folder


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("cubs", "cubs_cropped"),
        ("stanford-cars", "stanford_cars_cropped"),
        *((name, name) for name in SUITE.domains),
    ],
)
def test_class_folders(fine: Fine, domain: str, name: str) -> None:
    folder = class_folders(fine.folder / name)
    found = prepare(fine, domains=[domain])
    assert counts(fine, domain) == {"train": 10, "val": 2, "test": 12}
    assert ("images cut to their boxes" in "\n".join(found.messages)) == (name != domain)
    assert not prepare(fine, domains=[domain]).written
    prepare_any(
        None, fine.folder.parent / "own", suite=SUITE, folders={domain: folder}, jobs=0
    )  # --folder
    same(fine, domain, "own")
    (folder / "train" / "class 0" / "new.jpg").write_bytes(made.photo(7))
    assert domain in prepare(fine, domains=[domain]).written


def test_a_folder_with_a_val_keeps_it(fine: Fine) -> None:
    folder = class_folders(fine.folder / "flowers", ("train", "val", "test"))
    prepare(fine, domains=["flowers"])
    assert counts(fine, "flowers") == {"train": 12, "val": 12, "test": 12}
    assert entry(fine, "flowers").held_out == 0
    data = fine.folder.parent / "own"
    prepare_any(None, data, suite=SUITE, folders={"mine": folder}, jobs=0)
    assert open_store(data).domains["mine"].mean == MEAN


def test_archives_do_not_replace_a_folder_of_the_users(fine: Fine, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "own")
    data = tmp_path / "data"
    prepare_any(None, data, suite=SUITE, folders={"cubs": folder}, jobs=0)
    made.add_cub(fine)
    fine.write()
    assert not prepare(fine).written
    assert entry(fine, "cubs").own
