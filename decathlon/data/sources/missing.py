"""Which archives are needed, and the message that lists missing ones."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from decathlon.common.text import megabytes
from decathlon.suites.base import Archive
from decathlon.suites.visual_decathlon import DEVKIT, IMAGENET, NINE
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN


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
    """Returns a message on missing archives: what each is, its size, and where to download it.

    Args:
        folder: Where the archives should be.
        domains: The domains that cannot be prepared.
        images: The domains whose images are missing, each with its folder in the unpacked tree,
            or None if there is no tree.
        annotated: True if the annotations are there.
        possible: Domains that can be prepared instead, if nothing was done.
    """
    needed: dict[Archive, list[Path]] = {} if annotated else {DEVKIT: []}
    for name, place in images.items():
        needed.setdefault(archive_of(name), []).extend([place] if place else [])
    names = ", ".join(domains)
    lines = [f"{folder}: missing archives, needed for {names}:"]
    if not folder.is_dir():
        lines = [f"{folder}: no such folder. It should hold these archives, for {names}:"]
    for archive, places in needed.items():
        note = f" ({archive.note})" if archive.note else ""
        lines.append(f"  {archive.file}: {archive.text}, {megabytes(archive.size)}")
        lines.append(f"    from {archive.url}{note}")
        lines += [f"    or the images themselves in {place}" for place in places]
    lines.append("Put them there, or name their folder with --archives.")
    lines.append("'decathlon prepare --download' downloads the free ones.")
    if IMAGENET in needed:
        lines.append("You can also use the original ILSVRC-2012 photographs: --imagenet DIR.")
    options = " ".join(f"--domain {name}" for name in possible)
    if options:
        lines.append(f"Or prepare only what is there: decathlon prepare {options}")
    return "\n".join(lines)
