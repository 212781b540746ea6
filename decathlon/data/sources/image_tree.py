"""Images in folders of folders, ``<folder>/<image>``: in a zip archive, or unpacked."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.data.sources.file_names import last_part, last_two
from decathlon.data.sources.folder_scan import LITTER, SUFFIXES
from decathlon.data.sources.image_folder import FolderSupply
from decathlon.data.sources.readers import Place
from decathlon.data.sources.streaming import reading, unreadable
from decathlon.data.sources.supply import PHOTOGRAPHS, Supply
from decathlon.data.sources.zip_archive import ZipSupply, zip_names, zip_text

_MOST_TEXT = 32 << 20
"""Bytes of a text file."""


@dataclass(frozen=True)
class ImageTree:
    """Images that were found.

    Attributes:
        path: The archive or folder.
        archive: True for an archive.
        names: ``<folder>/<image>`` of each, in order of their bytes.
        supply: Gives the images by these names.
        texts: Path in the archive or folder of other files, by file name.
    """

    path: Path
    archive: bool
    names: list[str]
    supply: Supply
    texts: dict[str, str]

    def text(self, name: str) -> str | None:
        """Returns the text of a file beside the folders, None without one.

        Raises:
            DataError: It is too large or no UTF-8.
        """
        inside = self.texts.get(name)
        if inside is None:
            return None
        if self.archive:
            content = zip_text(self.path, inside, _MOST_TEXT)
        else:
            with reading(self.path / inside) as file:
                content = file.read(_MOST_TEXT)
        try:
            return content.decode()
        except UnicodeError:
            raise DataError(f"{self.path}: {inside} is no text; fetch it again") from None


def find_tree(place: Place, archive: str, folders: Sequence[str]) -> ImageTree | None:
    """Looks for images, None if there are none.

    Args:
        place: Where to look.
        archive: A zip archive, which is preferred.
        folders: Folders that it may be unpacked to.

    Raises:
        DataError: The archive is damaged or holds no such images, or two have one name.
    """
    path = place.find(archive)
    if path is not None:
        names, texts = _split([name for name in zip_names(path) if not _is_litter(name)])
        if not names:
            raise DataError(f"{path}: holds no images in folders; fetch it again")
        found: dict[str, str] = {}
        for name in names:
            if found.setdefault(last_two(name), name) != name:
                raise DataError(
                    f"{path}: {last_two(name)!r} is there twice, as {found[last_two(name)]!r} and"
                    f" {name!r}; fetch it again"
                )
        supply = ZipSupply(path, _key, official=place.suite.official, name=place.name_of(path))
        return ImageTree(path, True, _ordered(found), supply, texts)
    for name in (*folders, *(f"{place.domain}/{name}" for name in folders)):
        folder = place.folder / name
        if folder.is_dir() and (names := _inside(folder)):
            texts = {entry.name: entry.name for entry in _entries(folder) if entry.is_file()}
            return ImageTree(
                folder, False, _ordered(names), FolderSupply(folder, name, PHOTOGRAPHS), texts
            )
    return None


def _key(name: str) -> str:
    """Returns the name of an image by which it is looked for, of other files one that is not."""
    return name if _is_litter(name) else last_two(name)


def _split(names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Parts images in folders from other files, of which the first of each name counts."""
    images: list[str] = []
    texts: dict[str, str] = {}
    for name in names:
        if name.lower().endswith(SUFFIXES) and "/" in name:
            images.append(name)
        else:
            texts.setdefault(last_part(name), name)
    return images, texts


def _is_litter(name: str) -> bool:
    return any(part.startswith(".") or part in LITTER for part in name.split("/"))


def _inside(folder: Path) -> list[str]:
    return [
        f"{outer.name}/{inner.name}"
        for outer in _entries(folder)
        if outer.is_dir() and not _is_litter(outer.name)
        for inner in _entries(Path(outer.path))
        if inner.name.lower().endswith(SUFFIXES) and not _is_litter(inner.name)
    ]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise unreadable(folder, error) from None


def _ordered(names: "Sequence[str] | dict[str, str]") -> list[str]:
    return sorted(names, key=os.fsencode)
