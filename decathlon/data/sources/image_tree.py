"""Images in folders, ``<folder>/<image>`` at any depth: in a zip archive, or unpacked."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.data.sources.file_names import last_part, last_two
from decathlon.data.sources.folder_scan import SUFFIXES, is_litter
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
            return content.decode("utf-8-sig")
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
        found, texts = _split(path, zip_names(path))
        if not found:
            raise DataError(f"{path}: holds no images in folders; fetch it again")
        official, name = place.suite.official, place.name_of(path)
        supply = ZipSupply(path, PHOTOGRAPHS, official=official, key=_key, name=name)
        return ImageTree(path, True, _ordered(found), supply, texts)
    for name in (*folders, *(f"{place.domain}/{name}" for name in folders)):
        folder = place.folder / name
        if not folder.is_dir() or (folder / "train").is_dir():
            continue
        found, texts = _split(folder, _files(folder))
        if found:
            paths = {key.encode(errors="surrogateescape"): os.fsencode(found[key]) for key in found}
            images = FolderSupply(folder, name, PHOTOGRAPHS, path_of=paths.__getitem__)
            return ImageTree(folder, False, _ordered(found), images, texts)
    return None


def _key(name: str) -> str:
    """Returns the name of an image by which it is looked for, of other files one that is not."""
    return name if is_litter(name) else last_two(name)


def _split(where: Path, names: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parts images in folders from other files.

    Args:
        where: The archive or folder.
        names: Paths in it.

    Returns:
        Paths of images by ``<folder>/<image>``, and of other files by file name; of these the first
        of each name.

    Raises:
        DataError: Two images have one name.
    """
    images: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name in names:
        if is_litter(name):
            continue
        if not (name.lower().endswith(SUFFIXES) and "/" in name):
            texts.setdefault(last_part(name), name)
        elif images.setdefault(last_two(name), name) != name:
            raise DataError(
                f"{where}: {last_two(name)!r} is there twice, as {images[last_two(name)]!r} and"
                f" {name!r}; fetch it again"
            )
    return images, texts


def _files(folder: Path) -> Iterator[str]:
    """Yields the paths of the files in a folder, at any depth, those of fewest folders first."""
    inside = [""]
    for prefix in inside:
        try:
            with os.scandir(folder / prefix) as entries:
                ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise unreadable(folder / prefix, error) from None
        for entry in ordered:
            if not entry.is_dir():
                yield f"{prefix}{entry.name}"
            elif not is_litter(entry.name):
                inside.append(f"{prefix}{entry.name}/")


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=os.fsencode)
