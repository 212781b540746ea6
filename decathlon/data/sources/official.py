"""Domains in the layout of the Visual Decathlon: annotations, and archives or folders of images.

A folder holds the suite's archives under their official names, or the tree that they unpack to.
The tree begins at ``decathlon-1.0/`` in the folder or in the folder itself::

    annotations/<domain>_{train,val,test_stripped}.json
    data/<domain>/...       or <domain>.tar, as the archive of several domains holds it

Archives are preferred if both are there, because their digests can be compared.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.data.manifest import SourceEntry
from decathlon.data.sources.annotations import (
    MOST_CLASSES,
    MOST_IMAGES,
    Annotations,
    read_annotations,
)
from decathlon.data.sources.image_archive import ArchiveSupply, archive_entry
from decathlon.data.sources.image_folder import FolderSupply, digest_over
from decathlon.data.sources.plan import DOMAIN_NAME, DomainPlan, domain_plan
from decathlon.data.sources.readers import archive_lines
from decathlon.data.sources.streaming import Hashed, reading, unpacked
from decathlon.data.sources.supply import Supply
from decathlon.data.sources.tar import Tar, objection
from decathlon.suites.base import SPLITS, Archive, Suite

ANNOTATIONS = "annotations"
"""Folder of the annotations in the unpacked tree."""
MOST_DOMAINS = 1000
"""Domains whose annotations one archive holds."""
_ROOTS = ("decathlon-1.0", "")
_FILE = re.compile(rf"({DOMAIN_NAME.pattern})_(train|val|test_stripped|test)\.json", re.ASCII)
"""An annotation file: domain, split."""
_MEMBER = re.compile(rf"(?:.*/)?annotations/{_FILE.pattern}", re.ASCII)


def has_annotations(folder: Path, suite: Suite) -> bool:
    """Returns True if a folder has annotations in either form."""
    return _annotations_archive(folder, suite) is not None or bool(_annotation_files(folder))


def known_domains(folder: Path, suite: Suite) -> list[str]:
    """Returns the domains that a folder's annotations describe.

    Raises:
        DataError: The archive of the annotations is damaged.
    """
    path = _annotations_archive(folder, suite)
    if path is None:
        return list(dict.fromkeys(match[1] for match, _ in _annotation_files(folder)))
    names: dict[str, None] = {}
    with reading(path) as file:
        tar = Tar(unpacked(Hashed(file), path.name), path.name)
        for member in tar.members():
            if match := _MEMBER.fullmatch(member.name):
                names[match[1]] = None
                _check_totals(path, len(names))
    return list(names)


def images_of(folder: Path, suite: Suite, domain: str) -> Path | None:
    """Returns the archive or the folder that holds a domain's images, None without one."""
    archive = archive_of(suite, domain)
    if archive is not None and (folder / archive.file).is_file():
        return folder / archive.file
    for root in _ROOTS:
        path = folder / root / "data" / domain
        # A folder of that name may as well hold shards.
        if any((path / split).is_dir() for split in SPLITS):
            return path
        for tar in (folder / root / "data" / f"{domain}.tar", folder / root / f"{domain}.tar"):
            if tar.is_file():
                return tar
    return None


def archive_of(suite: Suite, domain: str) -> Archive | None:
    """Returns the archive with a domain's images; the first for a domain that none lists."""
    listed = [archive for archive in suite.archives if domain in archive.domains]
    return next(iter(listed or suite.archives), None)


def read_plans(
    folder: Path, suite: Suite, wanted: Iterable[str] | None
) -> tuple[dict[str, DomainPlan], SourceEntry]:
    """Reads the annotations of a folder.

    Args:
        folder: Holds the archive of the annotations or the unpacked tree.
        suite: Names the archive.
        wanted: Domains to read, or None for all.

    Returns:
        (plans by domain, what they were read from).

    Raises:
        DataError: An annotation file is damaged.
    """
    names = None if wanted is None else set(wanted)
    path = _annotations_archive(folder, suite)
    found, entry = _of_tree(folder, names) if path is None else _of_archive(path, suite, names)
    return {name: domain_plan(name, splits) for name, splits in found.items()}, entry


def supplies(folder: Path, suite: Suite, domains: Sequence[str]) -> list[tuple[Supply, list[str]]]:
    """Returns where the images of some domains are, and which domains each supply has.

    Args:
        folder: Holds archives or the unpacked tree.
        suite: Names the archives.
        domains: Domains whose images are there.
    """
    by_path: dict[Path, list[str]] = {}
    for name in domains:
        path = images_of(folder, suite, name)
        assert path is not None, f"no images of {name}"
        by_path.setdefault(path, []).append(name)
    return [(_supply(path, suite, names), names) for path, names in by_path.items()]


def _supply(path: Path, suite: Suite, names: Sequence[str]) -> Supply:
    if path.is_dir():
        # Names begin with the domain's own folder.
        return FolderSupply(path.parent, f"data/{names[0]}")
    return ArchiveSupply(path, {f"{name}.tar" for name in names}, official=suite.official)


def missing_archives(
    folder: Path,
    suite: Suite,
    domains: Sequence[str],
    images: Iterable[str],
    annotated: bool,
    possible: Iterable[str],
) -> str:
    """Returns a message on missing archives: what each is, its size, and where to download it.

    Args:
        folder: Where the archives should be.
        suite: Whose archives they are.
        domains: The domains that cannot be prepared.
        images: Those of them whose images are missing.
        annotated: True if the annotations are there.
        possible: Domains that can be prepared instead, if nothing was done.
    """
    needed: dict[Archive, list[Path]] = {}
    if suite.annotations is not None and not annotated:
        needed[suite.annotations] = []
    for name in images:
        if (archive := archive_of(suite, name)) is not None:
            needed.setdefault(archive, []).extend(_tree_folders(folder, name))
    names = ", ".join(domains)
    lines = [f"{folder}: missing archives, needed for {names}:"]
    if not folder.is_dir():
        lines = [f"{folder}: no such folder. It should hold these archives, for {names}:"]
    for archive, paths in needed.items():
        lines += archive_lines(archive)
        lines += [f"    or the images themselves in {path}" for path in paths]
    lines.append("Put them there, or name their folder with --archives.")
    lines.append("'decathlon prepare --download' downloads the free ones.")
    if any(suite.photographs in archive.domains for archive in needed):
        lines.append("You can also use the original ILSVRC-2012 photographs: --imagenet DIR.")
    options = " ".join(f"--domain {name}" for name in possible)
    if options:
        lines.append(f"Or prepare only what is there: decathlon prepare {options}")
    return "\n".join(lines)


def _tree_folders(folder: Path, domain: str) -> list[Path]:
    """Returns where a domain's images belong in the unpacked tree, nothing without a tree."""
    roots = [root for root in _ROOTS if (folder / root / ANNOTATIONS).is_dir()]
    return [folder / root / "data" / domain for root in roots[:1]]


def _annotations_archive(folder: Path, suite: Suite) -> Path | None:
    if suite.annotations is not None and (folder / suite.annotations.file).is_file():
        return folder / suite.annotations.file
    return None


def _annotation_files(folder: Path) -> list[tuple[re.Match[str], Path]]:
    """Returns the annotation files of the unpacked tree, nothing without a tree."""
    for root in _ROOTS:
        inside = folder / root / ANNOTATIONS
        if inside.is_dir():
            matches = [(_FILE.fullmatch(path.name), path) for path in sorted(inside.iterdir())]
            return [(match, path) for match, path in matches if match]
    return []


def _of_tree(
    folder: Path, names: set[str] | None
) -> tuple[dict[str, dict[str, Annotations]], SourceEntry]:
    """Reads the annotation files of the unpacked tree."""
    found: dict[str, dict[str, Annotations]] = {}
    size, digests = 0, []
    for match, path in _annotation_files(folder):
        if names is not None and match[1] not in names:
            continue
        if _split(match) in found.setdefault(match[1], {}):
            raise DataError(f"{_second(str(path), match)}; leave only one")
        if not path.is_file():
            raise DataError(f"{path}: is no regular file; put the annotation file there")
        with reading(path) as file:
            annotations = read_annotations(file, str(path))
        found[match[1]][_split(match)] = annotations
        size += path.stat().st_size
        digests.append((path.name, annotations.sha256))
    entry = SourceEntry(file=ANNOTATIONS, size=size, sha256=digest_over(digests), official=False)
    return found, entry


def _of_archive(
    path: Path, suite: Suite, names: set[str] | None
) -> tuple[dict[str, dict[str, Annotations]], SourceEntry]:
    """Reads the archive of the annotations as a stream."""
    found: dict[str, dict[str, Annotations]] = {}
    with reading(path) as file:
        source = Hashed(file)
        tar = Tar(unpacked(source, path.name), path.name)
        problem, images, classes = "", 0, 0
        for member in tar.members():
            problem = problem or objection(path.name, member)
            match = _MEMBER.fullmatch(member.name)
            if not match or (names is not None and match[1] not in names):
                continue
            where = f"{path.name}: {member.name}"
            if member.kind != "file":
                raise DataError(f"{where}: is a {member.kind}, not a file; fetch it again")
            if _split(match) in found.setdefault(match[1], {}):
                raise DataError(_second(where, match))
            annotations = read_annotations(tar, where)
            found[match[1]][_split(match)] = annotations
            images += len(annotations)
            classes += len(annotations.class_names)
            _check_totals(path, len(found), images, classes)
        digest = source.finish()
    entry = archive_entry(path.name, source.count, digest, suite.official)
    if problem and not entry.official:
        raise DataError(problem)
    return found, entry


def _split(match: re.Match[str]) -> str:
    return "test" if match[2] == "test_stripped" else match[2]


def _second(where: str, match: re.Match[str]) -> str:
    return f"{where}: a second annotation file of {match[1]} {_split(match)}"


def _check_totals(path: Path, domains: int, images: int = 0, classes: int = 0) -> None:
    """Checks that what has been read of an archive takes no more memory than it should."""
    # The three splits of a domain have the same classes.
    if domains > MOST_DOMAINS or images > MOST_IMAGES or classes > 3 * MOST_CLASSES:
        raise DataError(
            f"{path.name}: describes more than {MOST_DOMAINS} domains, {MOST_IMAGES:,} images or"
            f" {3 * MOST_CLASSES:,} classes of all splits; fetch the official file"
        )
