"""Which archives are needed, and what to say where they are missing."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from decathlon.domains import DEVKIT, IMAGENET, NINE, SOURCE_DOMAIN, Archive


def archive_of(domain: str) -> Archive:
    """Returns the archive that holds a domain's images."""
    return IMAGENET if domain == SOURCE_DOMAIN else NINE


def told_missing(
    folder: Path,
    domains: Sequence[str],
    images: Mapping[str, Path | None],
    annotated: bool,
    possible: Iterable[str],
) -> str:
    """Lists the archives that some domains need: contents, size and where to download each.

    Args:
        folder: Where it should be.
        domains: What cannot be prepared.
        images: Those of the domains whose images are missing, and where the folder of each
            belongs in the unpacked tree, None where there is no tree.
        annotated: Whether the annotations are there.
        possible: Domains that can be prepared instead, where nothing is done.
    """
    needed: dict[Archive, list[Path]] = {} if annotated else {DEVKIT: []}
    for name, place in images.items():
        needed.setdefault(archive_of(name), []).extend([place] if place else [])
    names = ", ".join(domains)
    lines = [f"archives are missing in {folder}, needed for {names}:"]
    if not folder.is_dir():
        lines = [f"there is no folder {folder}, which should hold, for {names}:"]
    for archive, places in needed.items():
        note = f" ({archive.note})" if archive.note else ""
        lines.append(f"  {archive.file}: {archive.text}, {archive.size / 1e6:,.0f} MB")
        lines.append(f"    from {archive.url}{note}")
        lines += [f"    or the images themselves in {place}" for place in places]
    lines.append("put them there, or name the folder that holds them with --archives;")
    lines.append("'decathlon prepare --download' downloads those that are freely available")
    if IMAGENET in needed:
        lines.append("original ILSVRC-2012 photographs will do too: --imagenet DIR")
    options = " ".join(f"--domain {name}" for name in possible)
    if options:
        lines.append(f"or prepare what is there: decathlon prepare {options}")
    return "\n".join(lines)
