"""Where the official data is in a folder: as archives, or as the tree they unpack to.

The tree is recognised at ``decathlon-1.0/`` in the folder, or where the folder is
``decathlon-1.0`` itself::

    annotations/<domain>_{train,val,test_stripped}.json
    data/<domain>/...       or <domain>.tar, as the large archive holds it

Archives are preferred where both are there, because their digests can be compared.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.data.manifest import SourceEntry
from decathlon.data.preparing.plan import (
    FILE_NAME,
    DomainPlan,
    devkit_domains,
    domain_plan,
    read_devkit,
)
from decathlon.data.sources.annotations import Annotations, read_annotations
from decathlon.data.sources.missing import archive_of
from decathlon.data.sources.opening import reading
from decathlon.data.sources.supply import (
    ArchiveSupply,
    FolderSupply,
    Supply,
    digest_over,
    source_entry,
)
from decathlon.suites.base import SPLITS
from decathlon.suites.visual_decathlon import DEVKIT

ANNOTATIONS = "annotations"
"""Folder of the annotations in the unpacked tree."""
_ROOTS = ("decathlon-1.0", "")


def _annotation_files(folder: Path) -> list[tuple[re.Match[str], Path]]:
    """Returns the annotation files of the unpacked tree, none where there is none."""
    for root in _ROOTS:
        place = folder / root / ANNOTATIONS
        if place.is_dir():
            files = sorted(path for path in place.iterdir())
            matches = [(FILE_NAME.fullmatch(path.name), path) for path in files]
            return [(match, path) for match, path in matches if match]
    return []


def images_of(folder: Path, domain: str) -> Path | None:
    """Returns the archive or the folder that holds a domain's images, None without one."""
    archive = folder / archive_of(domain).file
    if archive.is_file():
        return archive
    for root in _ROOTS:
        place = folder / root / "data" / domain
        # A folder of that name may as well hold shards.
        if any((place / split).is_dir() for split in SPLITS):
            return place
        for tar in (folder / root / "data" / f"{domain}.tar", folder / root / f"{domain}.tar"):
            if tar.is_file():
                return tar
    return None


def tree_place(folder: Path, domain: str) -> Path | None:
    """Returns where a domain's images belong in the unpacked tree, None where there is none."""
    for root in _ROOTS:
        if (folder / root / ANNOTATIONS).is_dir():
            return folder / root / "data" / domain
    return None


def has_annotations(folder: Path) -> bool:
    """Whether a folder has annotations in either form."""
    return (folder / DEVKIT.file).is_file() or bool(_annotation_files(folder))


def known_domains(folder: Path) -> list[str]:
    """Returns the domains that a folder's annotations describe.

    Raises:
        DataError: The devkit is damaged.
    """
    devkit = folder / DEVKIT.file
    if devkit.is_file():
        return devkit_domains(devkit)
    return list(dict.fromkeys(match[1] for match, _ in _annotation_files(folder)))


def read_plans(
    folder: Path, wanted: Iterable[str] | None
) -> tuple[dict[str, DomainPlan], SourceEntry]:
    """Reads the annotations of a folder.

    Args:
        folder: Holds the devkit or the unpacked tree.
        wanted: Domains to read, or None for all.

    Returns:
        (plans by domain, what they were read from).

    Raises:
        DataError: An annotation file is damaged.
    """
    devkit = folder / DEVKIT.file
    if devkit.is_file():
        plans, sha256, size = read_devkit(devkit, wanted)
        return plans, source_entry(DEVKIT.file, size, sha256)
    names = None if wanted is None else set(wanted)
    found: dict[str, dict[str, Annotations]] = {}
    size, digests = 0, []
    for match, path in _annotation_files(folder):
        if names is not None and match[1] not in names:
            continue
        split = "test" if match[2] == "test_stripped" else match[2]
        splits = found.setdefault(match[1], {})
        if split in splits:
            raise DataError(
                f"{path}: a second annotation file of {match[1]} {split}; leave only one"
            )
        splits[split] = _read(path)
        size += path.stat().st_size
        digests.append((path.name, splits[split].sha256))
    plans = {name: domain_plan(name, splits) for name, splits in found.items()}
    entry = SourceEntry(file=ANNOTATIONS, size=size, sha256=digest_over(digests), official=False)
    return plans, entry


def _read(path: Path) -> Annotations:
    if not path.is_file():
        raise DataError(f"{path}: is no regular file; put the annotation file there")
    with reading(path) as file:
        return read_annotations(file, str(path))


def supplies(folder: Path, domains: Sequence[str]) -> list[tuple[Supply, list[str]]]:
    """Returns where the images of some domains are, and which domains each place holds.

    Args:
        folder: Holds archives or the unpacked tree.
        domains: Domains whose images are there.
    """
    by_place: dict[Path, list[str]] = {}
    for name in domains:
        place = images_of(folder, name)
        assert place is not None, f"no images of {name}"
        by_place.setdefault(place, []).append(name)
    return [(_supply(place, names), names) for place, names in by_place.items()]


def _supply(place: Path, names: Sequence[str]) -> Supply:
    if place.is_dir():
        # Names begin with the domain's own folder.
        return FolderSupply(place.parent, f"data/{names[0]}")
    return ArchiveSupply(place, {f"{name}.tar" for name in names})
