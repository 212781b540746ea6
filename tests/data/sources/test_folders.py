"""Folders of photographs as people have them."""

import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decathlon.common.errors import DataError, UsageError
from decathlon.data.manifest import DomainEntry, read_manifest
from decathlon.data.preparing.prepare import Prepared, prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.data.sources.folder_scan import scan
from decathlon.data.sources.stratified import Shares, parse_shares
from tests.data.official import encoded, picture

JPEG = encoded(picture(np.random.default_rng(1), 72, 80))


def photos(root: Path, *places: str) -> Path:
    """Puts a small photograph at each place."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return root


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    places = (f"{s}/{c}/{k}.jpg" for s in ("train", "val", "test") for c in "ab" for k in (1, 2))
    return photos(tmp_path / "birds", *places)


def make(tmp_path: Path, birds: Path, **options: object) -> Prepared:
    return prepare(None, tmp_path / "data", folders={"birds": birds}, jobs=0, **options)  # type: ignore[arg-type]


def entry(tmp_path: Path) -> DomainEntry:
    manifest = read_manifest(tmp_path / "data")
    assert manifest is not None
    return manifest.domains["birds"]


def counts(tmp_path: Path) -> dict[str, int]:
    return {split: found.num_images for split, found in entry(tmp_path).splits.items()}


def told(tmp_path: Path, birds: Path) -> str:
    with pytest.raises(DataError) as caught:
        make(tmp_path, birds)
    assert not (tmp_path / "data" / "manifest.json").exists()
    return str(caught.value)


def test_what_systems_leave_behind_is_no_class_and_no_image(tmp_path: Path, birds: Path) -> None:
    photos(
        birds,
        "@eaDir/a/x.jpg",
        "__MACOSX/train/a/._1.jpg",
        ".ipynb_checkpoints/a/1.jpg",
        "train/@eaDir/x.jpg",
        "train/a/@eaDir/1.jpg",
        "train/.ipynb_checkpoints/1.jpg",
        "train/a/.ipynb_checkpoints/1.jpg",
        "train/a/._1.jpg",
        "train/a/.DS_Store",
    )
    for name in ("train/a/Thumbs.db", "train/desktop.ini", "README.txt"):
        (birds / name).write_text("text")
    (birds / "val" / "empty").mkdir()
    (birds / "train" / "empty").mkdir()
    (message,) = make(tmp_path, birds).messages
    assert entry(tmp_path).class_names == ["a", "b"]
    assert counts(tmp_path) == {"train": 4, "val": 4, "test": 4}
    for name in (
        "@eaDir",
        "__MACOSX",
        "train/@eaDir",
        "train/a/@eaDir",
        "train/a/Thumbs.db",
        "train/desktop.ini",
        "README.txt",
        "val/empty (no images)",
        "train/empty (no images)",
    ):
        assert name in message
    assert "checkpoints" not in message


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_without_training_images_is_refused(
    tmp_path: Path, birds: Path, split: str
) -> None:
    photos(birds, f"{split}/hawk/1.jpg", f"{split}/A/1.jpg")
    (birds / "train" / "hawk").mkdir()
    message = told(tmp_path, birds)
    assert f"{birds / split}: has classes without training images: 'A'" in message
    assert "'hawk'" in message


KINDS = {
    "1.jfif": "JPEG",
    "2.JPG": "JPEG",
    "3.tif": "TIFF",
    "4.TIFF": "TIFF",
    "5.bmp": "BMP",
    "6.webp": "WEBP",
    "7.gif": "GIF",
    "8": "JPEG",
    "9.backup": "PNG",
    "n01440764_9973": "TIFF",
}


def test_images_are_known_by_their_content(tmp_path: Path, birds: Path) -> None:
    image = picture(np.random.default_rng(2), 72, 80)
    shutil.rmtree(birds / "train" / "a")
    for name, kind in KINDS.items():
        path = birds / "train" / "a" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(image, kind))
    (birds / "train" / "a" / "notes").write_text("BM and other text")
    (message,) = make(tmp_path, birds).messages
    assert message.endswith("train/a/notes")
    assert counts(tmp_path)["train"] == len(KINDS) + 2


def test_all_broken_images_are_listed_and_can_be_left_out(tmp_path: Path, birds: Path) -> None:
    broken = [f"train/a/x{k}.jpg" for k in range(3)]
    for name in broken:
        (birds / name).write_bytes(JPEG[:200])
    (birds / "val" / "b" / "y.png").write_bytes(b"")
    os.mkfifo(birds / "test" / "b" / "z.jpg")
    message = told(tmp_path, birds)
    assert message.startswith("5 images cannot be used:")
    assert message.endswith("--skip-broken")
    for name in (*broken, "val/b/y.png", "test/b/z.jpg"):
        assert message.count(f"{birds / name}: ") == 1
    assert "z.jpg: is no regular file\n" in message
    made = make(tmp_path, birds, skip_broken=True)
    assert made.written == {"birds": {"train": 4, "val": 4, "test": 4}}
    assert sorted(entry(tmp_path).skipped) == sorted([*broken, "val/b/y.png", "test/b/z.jpg"])
    remark = "birds: 5 broken images are left out:\n  "
    assert made.messages[-1].startswith(remark)
    assert verify(tmp_path / "data").remarks[0].startswith(remark)
    assert not list((tmp_path / "data").rglob("*.part"))
    assert make(tmp_path, birds, skip_broken=True).done
    with pytest.raises(DataError, match="5 images cannot be used"):
        make(tmp_path, birds)
    # One is mended, one removed.
    (birds / broken[0]).write_bytes(JPEG)
    (birds / broken[1]).unlink()
    assert make(tmp_path, birds, skip_broken=True).written["birds"]["train"] == 5
    assert len(entry(tmp_path).skipped) == 3


def test_a_class_of_broken_images_is_none(tmp_path: Path, birds: Path) -> None:
    for path in (birds / "train" / "b").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="has classes without training images: 'b'"):
        make(tmp_path, birds, skip_broken=True)


def test_many_broken_images_are_not_all_named(tmp_path: Path, birds: Path) -> None:
    for k in range(100):
        (birds / "train" / "a" / f"x{k:02}.jpg").write_bytes(b"x")
    message = told(tmp_path, birds)
    assert message.startswith("100 images cannot be used:")
    assert "and 80 more" in message
    assert len(message.splitlines()) == 23


def test_plain_classes_are_divided_by_a_fixed_rule(tmp_path: Path) -> None:
    names = [f"{kind}/{k:03}.jpg" for kind in ("crow", "owl", "two words") for k in range(20)]
    birds = photos(tmp_path / "birds", *names)
    (message,) = make(tmp_path, birds).messages
    assert "divided 0.8/0.1/0.1" in message
    assert entry(tmp_path).split_folders == "0.8/0.1/0.1"
    store = open_store(tmp_path / "data")
    for split, each in (("train", 16), ("val", 2), ("test", 2)):
        assert np.bincount(store.images("birds", [split]).labels).tolist() == [each] * 3
    assert make(tmp_path, birds).done
    assert make(tmp_path, birds, split_folders="0.5/0.25/0.25").written
    assert counts(tmp_path) == {"train": 30, "val": 15, "test": 15}
    # What was asked for before holds until something else is asked for.
    assert make(tmp_path, birds).done
    assert verify(tmp_path / "data").remarks[0].startswith("birds: has no folders train, val and")


def test_classes_may_be_called_like_splits(tmp_path: Path) -> None:
    names = [f"{kind}/{k}.jpg" for kind in ("train", "bus", "car") for k in range(5)]
    make(tmp_path, photos(tmp_path / "birds", *names))
    assert entry(tmp_path).class_names == ["bus", "car", "train"]
    assert counts(tmp_path) == {"train": 9, "val": 3, "test": 3}


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("a", "dev")])
def test_a_misspelt_split_is_no_class(tmp_path: Path, names: tuple[str, str]) -> None:
    birds = photos(tmp_path / "birds", *(f"{name}/crow/1.jpg" for name in names))
    assert "looks like a split; call it train, val or test" in told(tmp_path, birds)


def test_the_option_does_not_divide_what_is_divided(tmp_path: Path, birds: Path) -> None:
    messages = make(tmp_path, birds, split_folders="0.6/0.2/0.2").messages
    assert any("has splits of its own" in message for message in messages)
    assert entry(tmp_path).split_folders == ""


shares = st.builds(
    lambda a, b, c: Shares(a / (a + b + c), b / (a + b + c), c / (a + b + c)),
    st.integers(1, 99),
    st.integers(0, 99),
    st.integers(0, 99),
)


@given(shares, st.integers(1, 60))
def test_every_share_is_given(rule: Shares, count: int) -> None:
    names = [b"crow/%d.jpg" % k for k in range(count)]
    parts = rule.divide(names)
    assert sorted(name for part in parts.values() for name in part) == sorted(names)
    assert parts["train"]
    for split in ("val", "test"):
        share = getattr(rule, split)
        if count < 3 or share == 0:
            assert not parts[split]
        else:
            assert len(parts[split]) >= (len(parts["train"]) > 1)
            assert len(parts[split]) <= max(1, share * count + 1)


@given(st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=40, unique=True))
def test_a_new_image_moves_at_most_one_at_either_end(texts: list[str]) -> None:
    names = [text.encode(errors="surrogateescape") for text in texts]
    before = {n: s for s, part in Shares().divide(names[:-1]).items() for n in part}
    after = {n: s for s, part in Shares().divide(names).items() for n in part}
    moved = [(before[name], after[name]) for name in before if before[name] != after[name]]
    assert len(moved) <= 2
    assert all("train" in pair for pair in moved)


@pytest.mark.parametrize(
    "text", ["", "0.8", "0.8/0.2", "0.8/0.1/0.2", "a/b/c", "0/0.5/0.5", "1.2/-0.1/-0.1", "nan/1/0"]
)
def test_shares_have_to_add_up(text: str) -> None:
    with pytest.raises(UsageError, match="add up to 1"):
        parse_shares(text)
    assert parse_shares("0.9/0/0.1") == Shares(0.9, 0.0, 0.1)


def test_names_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Zaunkönig") for form in ("NFC", "NFD"))
    birds = photos(
        tmp_path / "birds",
        f"train/{composed}/1.jpg",
        f"train/{apart}/2.jpg",
        "train/crow/1.jpg",
        f"val/{apart}/1.jpg",
        "val/crow/1.jpg",
    )
    make(tmp_path, birds)
    assert entry(tmp_path).class_names == [composed, "crow"]
    labels = open_store(tmp_path / "data").images("birds", ["train"]).labels
    assert np.bincount(labels).tolist() == [2, 1]
    assert open_store(tmp_path / "data").images("birds", ["val"]).labels.tolist() == [0, 1]


def test_names_that_are_nearly_alike_are_told(tmp_path: Path, birds: Path) -> None:
    photos(birds, "train/A/1.jpg", "train/two words/1.jpg", "train/two words./1.jpg")
    messages = make(tmp_path, birds).messages
    pairs = "'A' and 'a', 'two words' and 'two words.'"
    assert messages == [f"{birds}: taken for different classes: {pairs}"]
    assert entry(tmp_path).class_names == ["A", "a", "b", "two words", "two words."]


def broken_link(birds: Path) -> None:
    (birds / "train" / "a" / "x.jpg").symlink_to("nowhere")


def loop(birds: Path) -> None:
    (birds / "train" / "x").symlink_to("x")


def cycle(birds: Path) -> None:
    (birds / "train" / "a" / "x").symlink_to(birds)


def latin(birds: Path) -> None:
    photos(birds, os.fsdecode(b"train/\xe9/1.jpg"))


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (broken_link, "train/a/x.jpg: cannot be read"),
    (loop, "train/x: cannot be read"),
    (cycle, "train/a/x: is a folder within a class"),
    (latin, r"train/\xe9: has no printable name in UTF-8"),
    (lambda birds: photos(birds, "train/x.jpg"), "train/x.jpg: is in no folder of a class"),
    (lambda birds: photos(birds, "x.jpg"), "x.jpg: is in no folder of a class"),
    (lambda birds: photos(birds, "train/a/deep/1.jpg"), "train/a/deep: is a folder within a"),
    (lambda birds: photos(birds, "dev/a/1.jpg"), "dev: is none of train, val and test"),
    (lambda birds: photos(birds, "valid/a/1.jpg"), "valid: is a second val; make them one folder"),
]


@pytest.mark.parametrize(("spoil", "text"), WRONG)
def test_what_is_wrong_is_told(
    tmp_path: Path, birds: Path, spoil: Callable[[Path], object], text: str
) -> None:
    spoil(birds)
    assert text in told(tmp_path, birds)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, birds: Path) -> None:
    for spoil, _ in WRONG:
        spoil(birds)
    message = told(tmp_path, birds)
    for _, text in WRONG:
        assert text in message


def test_image_names_may_have_any_bytes(tmp_path: Path, birds: Path) -> None:
    for name in (b"\xe9.jpg", b"a b .jpg", b"x\n.jpg"):
        Path(os.fsdecode(os.fsencode(birds / "train" / "a") + b"/" + name)).write_bytes(JPEG)
    Path(os.fsdecode(os.fsencode(birds / "train" / "a") + b"/\xe8.jpg")).write_bytes(b"")
    make(tmp_path, birds, skip_broken=True)
    assert counts(tmp_path)["train"] == 7
    assert list(entry(tmp_path).skipped) == ["train/a/\\xe8.jpg"]
    assert make(tmp_path, birds, skip_broken=True).done


@pytest.mark.parametrize(
    "spelling",
    [
        lambda birds: birds / ".." / birds.name,
        lambda birds: Path(f"{birds}/"),
        lambda birds: Path(os.path.relpath(birds)),
        lambda birds: birds.with_name("link"),
    ],
)
def test_a_folder_is_known_however_it_is_spelled(
    tmp_path: Path, birds: Path, monkeypatch: pytest.MonkeyPatch, spelling: Callable[[Path], Path]
) -> None:
    birds.with_name("link").symlink_to(birds)
    make(tmp_path, birds)
    before = (tmp_path / "data" / "manifest.json").stat()

    def read_again(*_: object) -> None:
        raise AssertionError("images are read again")

    monkeypatch.setattr("decathlon.data.sources.image_folder.read_regular", read_again)
    assert make(tmp_path, spelling(birds)).done
    after = (tmp_path / "data" / "manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_names_that_differ_by_case_only_are_refused(tmp_path: Path, birds: Path) -> None:
    with pytest.raises(UsageError, match="differs from the domain 'birds' by case only"):
        prepare(None, tmp_path / "data", folders={"Birds": birds, "birds": birds}, jobs=0)
    make(tmp_path, birds)
    with pytest.raises(UsageError, match="differs from the domain 'birds' by case only"):
        prepare(None, tmp_path / "data", folders={"BIRDS": birds}, jobs=0)
    # One folder may have two names.
    prepare(None, tmp_path / "data", folders={"fowl": birds}, jobs=0)
    assert list(open_store(tmp_path / "data").domains) == ["birds", "fowl"]


def test_photographs_that_were_prepared_by_another_rule_are_prepared_again(
    tmp_path: Path, birds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("decathlon.data.sources.image_folder._RULE", b"")
        make(tmp_path, birds)
    assert make(tmp_path, birds).written
    assert make(tmp_path, birds).done


def test_an_ordinary_manifest_has_no_new_fields(tmp_path: Path, birds: Path) -> None:
    make(tmp_path, birds)
    text = (tmp_path / "data" / "manifest.json").read_text()
    assert "skipped" not in text
    assert "split_folders" not in text


def test_an_archive_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "birds.zip").write_bytes(b"PK")
    assert "is a file; unpack it" in told(tmp_path, tmp_path / "birds.zip")


def test_names_are_shown_on_any_terminal(tmp_path: Path) -> None:
    birds = photos(tmp_path / "birds", *(f"train/Zaunkönig/{k}.jpg" for k in range(3)))
    (birds / "train" / "Zaunkönig" / "1.jpg").write_bytes(b"")
    make(tmp_path, birds, skip_broken=True)
    for command in ("verify", "domains"):
        done = subprocess.run(
            [sys.executable, "-m", "decathlon", command, "--data", tmp_path / "data"],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
            cwd=Path(__file__).parents[3],
        )
        assert done.returncode == 0, done.stderr
        assert "\n  train/Zaunkonig/1.jpg: no image that can be read" in done.stdout


def test_a_scan_reads_no_pixels_of_named_images(
    birds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "decathlon.data.sources.folder_scan.recognised", lambda path: pytest.fail(str(path))
    )
    assert not scan(birds).passed
