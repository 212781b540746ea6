"""Which archives are needed, and what to say where they are missing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from decathlon.domains import ARCHIVES, DEVKIT, IMAGENET, NINE, SOURCE_DOMAIN, Archive
from decathlon.errors import DataError


def archive_of(domain: str) -> Archive:
    """Returns the archive that holds a domain's images."""
    return IMAGENET if domain == SOURCE_DOMAIN else NINE


def require(folder: Path, domains: Iterable[str]) -> None:
    """Checks that the archives of some domains are there.

    Raises:
        DataError: Some are not: says of each what it is, its size and where it is had,
            and which domains can be prepared without it.
    """
    needed = dict.fromkeys([DEVKIT, *map(archive_of, domains)])
    missing = [archive for archive in needed if not (folder / archive.file).is_file()]
    if missing:
        raise DataError(_message(folder, missing))


def _message(folder: Path, missing: Sequence[Archive]) -> str:
    lines = [f"archives are missing in {folder}:"]
    if not folder.is_dir():
        lines = [f"there is no folder {folder}, which should hold:"]
    for archive in missing:
        note = f" ({archive.note})" if archive.note else ""
        lines.append(f"  {archive.file}: {archive.text}, {archive.size / 1e6:,.0f} MB")
        lines.append(f"    from {archive.url}{note}")
        without = [
            name
            for other in ARCHIVES
            for name in other.domains
            if other is not archive and archive is not DEVKIT
        ]
        lines.append(f"    without it can be prepared: {', '.join(without) or 'nothing'}")
    possible = [
        name
        for archive in ARCHIVES
        for name in archive.domains
        if DEVKIT not in missing and archive not in missing
    ]
    lines.append("put them there, or name the folder that holds them with --archives")
    if possible:
        options = " ".join(f"--domain {name}" for name in possible)
        lines.append(f"or prepare what is there: decathlon prepare {options}")
    return "\n".join(lines)
