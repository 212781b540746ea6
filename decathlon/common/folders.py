"""Folders that appear complete or not at all."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from decathlon.common.errors import UsageError
from decathlon.common.files import check_folder, part_name, sha256, write_json
from decathlon.common.oserrors import of_the_system

OTHER = "name another folder with --out"
LISTING = "files.json"
"""Lists the files of a folder with their digests: what may be replaced."""


def check_replaceable(path: Path) -> None:
    """Checks that a folder can be written as a whole, in the place of an earlier one.

    Raises:
        UsageError: It cannot be written, or holds anything that is not as it was written.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path}: is not a folder; {OTHER}")
    check_folder(path.absolute().parent, OTHER)
    if path.exists() and Path.cwd().is_relative_to(path.resolve()):
        raise UsageError(f"{path}: is or holds the folder that you are in; {OTHER}")
    if path.is_dir():
        _check_ours(path, path)


def _check_ours(folder: Path, path: Path) -> None:
    """Raises UsageError if a folder, which messages call ``path``, holds anything of others."""
    if foreign := _foreign(folder):
        raise UsageError(
            f"{path}: holds {foreign}, which this command did not write; move it away, or {OTHER}"
        )


def _foreign(folder: Path) -> str:
    """Returns the first file of a folder that is not as its listing says; empty if all are."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    listed = _listed(folder / LISTING)
    for path in found:
        name = path.relative_to(folder).as_posix()
        if name == LISTING and listed:
            continue
        if path.is_symlink() or not path.is_file() or listed.get(name) != sha256(path):
            return name
    return ""


def _listed(path: Path) -> dict[str, str]:
    """Returns the digests in a listing by name; nothing if it is no listing."""
    try:
        value = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        return {}
    files = value.get("files") if isinstance(value, dict) else None
    return files if isinstance(files, dict) else {}


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of ``path`` when the block ends.

    It stands beside ``path`` until then, under a name ending in ``.part``. A listing of its files
    is added, by which the next call knows what it may replace.

    Args:
        path: The folder; see :func:`check_replaceable`.

    Raises:
        UsageError: It cannot be written, or holds anything that is not as it was written.
    """
    check_replaceable(path)
    target = path.resolve()  # of a path that ends in '..', the name
    part = target.with_name(part_name(target.name))
    with _moved(part, path, lambda: _swap(part, target), OTHER):
        yield part
        files = sorted(file for file in part.rglob("*") if file.is_file())
        digests = {file.relative_to(part).as_posix(): sha256(file) for file in files}
        write_json(part / LISTING, {"schema": 1, "files": digests})


@contextmanager
def new_folder(path: Path, other: str = "name another folder") -> Iterator[Path]:
    """Yields an empty folder whose files are those of ``path`` when the block ends.

    Args:
        path: The folder, which is missing or empty; it may be the one that the user is in.
        other: How to choose another one, such as ``"name another folder with --dir"``.

    Raises:
        UsageError: It is neither, or cannot be written.
    """
    check_folder(path, other)
    target = path.resolve()
    there = target.is_dir()
    if there and any(target.iterdir()):
        raise UsageError(f"{path}: is not empty; {other}")
    part = (target if there else target.parent) / part_name(target.name)

    def move() -> None:
        if not there:
            part.rename(target)
            return
        for entry in list(part.iterdir()):
            entry.rename(target / entry.name)

    with _moved(part, path, move, other):
        yield part


@contextmanager
def _moved(part: Path, path: Path, move: Callable[[], None], other: str) -> Iterator[None]:
    """Makes a folder for the block, and moves it to its place, ``path``, when the block ends."""
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield
        move()
    except OSError as error:
        error.filename = str(path) if error.filename is not None else None
        raise of_the_system(error, other) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _swap(part: Path, target: Path) -> None:
    """Moves a folder to its place; what was there comes back if that fails.

    Raises:
        UsageError: Something else has come to the place since it was checked.
    """
    old = target.with_name(part_name(f"{target.name}.old"))
    try:
        if target.exists():
            target.rename(old)
            _check_ours(old, target)
        part.rename(target)
    except BaseException:
        with suppress(OSError):  # nothing was there, or another process has put its own there
            old.rename(target)
        raise
    finally:
        if not _foreign(old):
            shutil.rmtree(old, ignore_errors=True)
