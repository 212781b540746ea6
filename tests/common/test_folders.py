"""Folders that appear complete or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from decathlon.common import folders
from decathlon.common.errors import UsageError
from decathlon.common.folders import new_folder, replacing_folder


def fill(path: Path, text: str) -> None:
    with replacing_folder(path) as part:
        (part / "inner").mkdir()
        (part / "inner" / "file").write_text(text)


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    fill(out, "one")
    fill(out, "two")
    assert (out / "inner" / "file").read_text() == "two"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out", "one")
    assert (tmp_path / "out" / "inner" / "file").exists()


def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "out", "one")
    with pytest.raises(KeyError), replacing_folder(tmp_path / "out") as part:
        {}[(part / "file").write_text("two")]
    assert (tmp_path / "out" / "inner" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("change", ["edit", "add", "link", "listing", "hidden"])
def test_what_others_wrote_is_kept(tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    fill(out, "one")
    name = {"edit": "inner/file", "add": "more", "link": "more", "listing": "files.json"}.get(
        change, ".git/config"
    )
    (out / name).parent.mkdir(exist_ok=True)
    if change == "link":
        (out / name).symlink_to(out / "inner" / "file")
    else:
        (out / name).write_text("mine")
    with pytest.raises(UsageError, match="which this command did not write"):
        fill(out, "two")
    assert (out / name).read_text() == ("one" if change == "link" else "mine")


def test_places_that_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    for name in ("file", "link", "file/inner"):
        with pytest.raises(UsageError, match=r"file|link"):
            fill(tmp_path / name, "one")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the folder that you are in"):
        fill(Path(), "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_new_folder_is_new(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as part:
        (part / "file").write_text("one")
        assert not (tmp_path / "out").exists()
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "file"]
    with pytest.raises(UsageError, match="is not empty"), new_folder(tmp_path / "out"):
        pass


def test_a_new_folder_may_be_the_one_we_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), new_folder(Path()) as part:
        {}[(part / "file").write_text("one")]
    assert not any(tmp_path.iterdir())
    with new_folder(Path()) as part:
        (part / ".hidden").mkdir()
    assert list(Path.cwd().iterdir()) == [tmp_path / ".hidden"]


def test_what_came_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "one")
    with pytest.raises(UsageError, match="holds notes"), replacing_folder(out):
        (out / "notes").write_text("mine")
    assert (out / "notes").read_text() == "mine"
    assert (out / "inner" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_that_write_one_folder_leave_one_whole(tmp_path: Path) -> None:
    """The first to finish is replaced by the second, as if they had run one after the other."""
    out = tmp_path / "out"
    fill(out, "one")
    with replacing_folder(out) as part:
        (part / "file").write_text("two")
        command = f"""
from pathlib import Path
from tests.common.test_folders import fill
fill(Path({str(out)!r}), "three")
"""
        subprocess.run([sys.executable, "-c", command], check=True)
        assert (out / "inner" / "file").read_text() == "three"
    assert sorted(path.name for path in out.iterdir()) == ["file", "files.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupt_while_folders_are_swapped_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    fill(out, "one")

    def interrupted(folder: Path) -> str:
        if ".old." in folder.name and folder.exists():
            monkeypatch.undo()
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(folders, "_foreign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(out, "two")
    assert (out / "inner" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_path_may_end_above_itself(tmp_path: Path) -> None:
    fill(tmp_path / "out", "one")
    (tmp_path / "out" / "empty").mkdir()
    fill(tmp_path / "out" / "empty" / "..", "two")
    assert (tmp_path / "out" / "inner" / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_messages_name_the_folder_that_was_asked_for() -> None:
    with pytest.raises(UsageError, match=r"^/proc/decathlon: "):
        fill(Path("/proc/decathlon"), "one")
