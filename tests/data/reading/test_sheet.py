"""Contact sheets: the stored pixels, spread over the classes, in one PNG or none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading import sheet
from decathlon.data.reading.sheet import chosen, laid_out, show, written
from decathlon.data.reading.store import Store, open_store
from tests.data.official import Official


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("sheet")
    made = Official(folder / "archives")
    made.add("dtd", (40, 7, 5), classes=4)
    for notes in made.notes.values():
        notes["categories"] = [
            {**category, "name": f"a class_with a very long name {k}"}
            for k, category in enumerate(notes["categories"])
        ]
    prepare(made.write(), folder / "data", jobs=0)
    return open_store(folder / "data")


def test_the_sheet_holds_the_stored_pixels(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert show(store, "dtd", "train", 12, out) == 12
    drawn = np.asarray(Image.open(out).convert("RGB"))
    images = store.images("dtd", ["train"])
    tiles, width, height = laid_out(images, chosen(images, 12))
    assert drawn.shape == (height, width, 3)
    for tile in tiles:
        pixels = images.pixels(tile.index)
        high, wide, _ = pixels.shape
        part = drawn[tile.top : tile.top + high, tile.left : tile.left + wide]
        np.testing.assert_array_equal(part, pixels)
        name = drawn[tile.top + high : tile.top + high + 26, tile.left : tile.left + wide]
        assert name.min() < 128  # something is written there


def test_letters_of_other_scripts_are_drawn() -> None:
    font = sheet._font()
    names = ["Zaunkönig", "żółw łódź", "κύκνος", "ворона", "naïve œuf"]
    assert [written(name, font) for name in names] == names
    boxes = bytes(font.getmask(chr(0xFFFF) * 2))
    assert all(bytes(font.getmask(name[:2])) != boxes for name in names)
    assert written("鳥 of prey", font) == r"\u9ce5 of prey"


def test_another_font_will_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.get_data_path", lambda: "/nowhere")
    font = sheet._font()
    assert "a" in written("aκ", font)
    assert bytes(font.getmask(written("κ", font))) != bytes(font.getmask(chr(0xFFFF)))


def test_images_do_not_overlap(store: Store) -> None:
    images = store.images("dtd", ["train"])
    tiles, width, height = laid_out(images, range(40))
    taken = np.zeros((height, width), bool)
    for tile in tiles:
        high, wide = images.heights[tile.index], images.widths[tile.index]
        part = taken[tile.top : tile.top + high, tile.left : tile.left + wide]
        assert part.shape == (high, wide)
        assert not part.any()
        part[:] = True


def test_images_are_spread_over_the_classes(store: Store) -> None:
    images = store.images("dtd", ["train"])
    assert sorted(set(images.labels[chosen(images, 8)])) == [0, 1, 2, 3]
    assert sorted(chosen(images, 1000)) == list(range(40))


def test_withheld_labels_are_no_obstacle(store: Store, tmp_path: Path) -> None:
    assert show(store, "dtd", "test", 60, tmp_path / "sheet.png") == 5


@pytest.mark.parametrize(
    ("domain", "split", "count", "name", "told"),
    [
        ("dtt", "train", 5, "x.png", "did you mean 'dtd'"),
        ("dtd", "vall", 5, "x.png", "did you mean 'val'"),
        ("dtd", "val", 0, "x.png", "from 1 to 2000"),
        ("dtd", "val", 5, "x.jpg", r"name it x\.png"),
    ],
)
def test_wrong_arguments_are_told(
    store: Store, tmp_path: Path, domain: str, split: str, count: int, name: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        show(store, domain, split, count, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotADirectoryError, match=r"sheet\.png"):
        show(store, "dtd", "val", 5, tmp_path / "file" / "sheet.png")


def test_the_command(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["show", "dtd", "--split", "val", "--n", "3", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--data", str(store.data)])
    assert done.exit_code == 0, done.output
    assert "3 images of dtd val" in done.output
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
