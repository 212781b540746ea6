"""Which archives are needed, and what to say where they are missing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from decathlon.domains import ARCHIVES, DEVKIT, IMAGENET, NINE, SOURCE_DOMAIN, Archive
from decathlon.errors import DataError


def archive_of(domain: str) -> Archive:
    """Returns the archive that holds a domain's images."""
    return IMAGENET if domain == SOURCE_DOMAIN else NINE


def require(folder: Path, domains: Iterable[str], annotated: bool, there: Iterable[str]) -> None:
    """Checks that what some domains need is there.

    Args:
        folder: Where it should be.
        domains: What is to be prepared.
        annotated: Whether the annotations are there.
        there: Domains whose images are there.

    Raises:
        DataError: Something is missing: says of each archive what it is, its size and
            where it is had, and which domains can be prepared without it.
    """
    have = set(there)
    lacking = [] if annotated else [DEVKIT]
    lacking += [archive_of(name) for name in domains if name not in have]
    missing = list(dict.fromkeys(lacking))
    if missing:
        raise DataError(_message(folder, missing, have if annotated else ()))


def _message(folder: Path, missing: Sequence[Archive], possible: Iterable[str]) -> str:
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
    lines.append("put them there, or name the folder that holds them with --archives;")
    lines.append("'decathlon prepare --download' fetches what is freely had")
    if IMAGENET in missing:
        lines.append("original ILSVRC-2012 photographs will do too: --imagenet DIR")
    options = " ".join(f"--domain {name}" for name in possible)
    if options:
        lines.append(f"or prepare what is there: decathlon prepare {options}")
    return "\n".join(lines)
