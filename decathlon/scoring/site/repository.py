"""``decathlon new-leaderboard``: a leaderboard's repository, from the files in ``template``."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from decathlon import __version__
from decathlon.common.folders import new_folder

VERSION = "@VERSION@"
"""Stands for the version of this program in the files."""
DOT = "dot-"
"""Stands for the dot of hidden names, which packages leave out."""


def write_repository(folder: Path) -> list[Path]:
    """Writes the files of a leaderboard's repository, all or none.

    Args:
        folder: Where; missing or empty.

    Returns:
        The files.

    Raises:
        UsageError: The folder is not empty, or cannot be written.
    """
    files = _files(resources.files("decathlon.scoring.site").joinpath("template"), Path())
    with new_folder(folder) as part:
        for name, file in files.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8").replace(VERSION, __version__)
            path.write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def _files(folder: Traversable, place: Path) -> dict[Path, Traversable]:
    """Returns the files of a folder by the path that they get."""
    found: dict[Path, Traversable] = {}
    for item in sorted(folder.iterdir(), key=lambda one: one.name):
        path = place / (
            f".{item.name.removeprefix(DOT)}" if item.name.startswith(DOT) else item.name
        )
        found |= _files(item, path) if item.is_dir() else {path: item}
    return found
