"""What a bundle is: a zip archive with a card and a results folder of one name.

    card.json
    results/<name>/<domain>/<split>[+<subset>]/seed<k>/{record.json, predictions.json, ...}
    results/sources/<sha256>.safetensors

Anyone may have made one. Members that are none of these, links, names that occur twice and members
that unpack to more than any honest one are refused. Weights have to be stored as they are, so that
they take no more space unpacked than packed.
"""

import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from decathlon.common.errors import ResultError
from decathlon.common.text import megabytes
from decathlon.common.zipped import member, opened
from decathlon.results.card import CARD, Card, read_card
from decathlon.results.records import LOG, PREDICTIONS, RECORD, ROUTING, WEIGHTS, is_name

RESULTS = "results"
SOURCES = "sources"
MAX_UNPACKED = 2_000_000_000
"""Bytes of all members but weights: twenty seeds of a complete submission take a tenth."""
FREE, LARGEST_RATIO = 64_000_000, 200
"""Bytes beyond the first that they may unpack to, for each of the archive's; JSON takes twenty."""
LIMITS = {RECORD: 1_000_000, PREDICTIONS: 64_000_000, ROUTING: 10_000_000, LOG: 10_000_000}
"""Most bytes of the members of a trial, ten times those of an honest one at least."""
MAX_CARD = 1_000_000
_PIECE = 1 << 22
_UNIX = 3
_REGULAR = (0, stat.S_IFREG)
_ENCRYPTED = 0x1
_SEED = re.compile(r"seed(0|[1-9]\d{0,17})", re.ASCII)
_SOURCE = re.compile(r"[0-9a-f]{64}\.safetensors", re.ASCII)


def unpack(path: Path, folder: Path, weights: bool = False) -> Card:
    """Unpacks a bundle into an empty folder.

    Args:
        path: The bundle.
        folder: Where its ``card.json`` and ``results`` are to be; it exists.
        weights: Unpack networks too.

    Returns:
        The card.

    Raises:
        ResultError: It is no bundle, is damaged, or was made to do harm.
    """
    if path.is_dir():
        raise ResultError(
            f"{path}: is a folder, not a bundle; `decathlon bundle` packs a row of a results folder"
        )
    for name, piece in _pieces(path, weights):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as file:
            file.write(piece)
    return read_card((folder / CARD).read_bytes(), f"{path}: {CARD}")


def _pieces(path: Path, weights: bool) -> Iterator[tuple[str, bytes]]:
    """Yields the members' names and bytes, those of large members in several pieces."""
    with opened(path, ResultError) as archive:
        members = _members(archive, path)
        left = min(MAX_UNPACKED, FREE + LARGEST_RATIO * path.stat().st_size)
        for name, info in members.items():
            if is_network(name):
                yield from _pieces_of(archive, info) if weights else ()
                continue
            limit = min(MAX_CARD if name == CARD else LIMITS[name.rpartition("/")[2]], left)
            content = member(archive, name, limit, path, ResultError)
            left -= len(content)
            yield name, content


def _pieces_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[tuple[str, bytes]]:
    yield info.filename, b""  # an empty member is a file too
    with archive.open(info) as file:
        while piece := file.read(_PIECE):
            yield info.filename, piece


def is_network(name: str) -> bool:
    """Returns whether a member is a network's weights."""
    return name.endswith(".safetensors")


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the members by name.

    Raises:
        ResultError: They are not those of a bundle.
    """
    if CARD not in archive.namelist():
        raise ResultError(
            f"{path}: holds no {CARD}, so it is no bundle; `decathlon bundle` writes one, and"
            " `decathlon evaluate` scores official submissions"
        )
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if problem := _problem(info):
            raise ResultError(f"{path}: {name!r} {problem}; `decathlon bundle` writes bundles")
        if name in found:
            raise ResultError(f"{path}: {name!r} is there twice; it is refused")
        found[name] = info
    packed = sum(info.compress_size for info in found.values())
    if packed > path.stat().st_size:
        raise ResultError(
            f"{path}: its members overlap: they have {megabytes(packed)} in all, more than the"
            " archive; it is refused"
        )
    _check_whole(found, path)
    return found


def _problem(info: zipfile.ZipInfo) -> str:
    """Returns what is wrong with one member, if anything."""
    if not _belongs(info.filename):
        return "is no part of a bundle"
    if info.create_system == _UNIX and stat.S_IFMT(info.external_attr >> 16) not in _REGULAR:
        return "is a link or a device, not a file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if is_network(info.filename) and info.compress_type != zipfile.ZIP_STORED:
        return "is compressed, but weights have to be stored as they are"
    return ""


def _belongs(name: str) -> bool:
    """Returns whether a bundle can have a member of that name."""
    if name == CARD:
        return True
    top, *parts = name.split("/")
    if top != RESULTS:
        return False
    if len(parts) == 2:
        return parts[0] == SOURCES and bool(_SOURCE.fullmatch(parts[1]))
    if len(parts) != 5 or not all(is_name(part) for part in parts):
        return False
    reported = parts[2].partition("+")[0] in ("val", "test")
    return reported and bool(_SEED.fullmatch(parts[3])) and parts[4] in (*LIMITS, WEIGHTS)


def _check_whole(members: dict[str, zipfile.ZipInfo], path: Path) -> None:
    """Raises ResultError if there is no record, a trial without one, or a second name."""
    trials = dict.fromkeys(name.rpartition("/")[0] for name in members if name.count("/") == 5)
    if not trials:
        raise ResultError(f"{path}: holds no records; `decathlon bundle` writes bundles")
    for trial in trials:
        if f"{trial}/{RECORD}" not in members:
            raise ResultError(f"{path}: {trial} has no {RECORD}; bundle the row again")
    names = list(dict.fromkeys(trial.split("/")[1] for trial in trials))
    if len(names) > 1:
        raise ResultError(
            f"{path}: holds records of '{names[0]}' and '{names[1]}'; a bundle is of one name,"
            " bundle each on its own"
        )
