"""Domains whose images their readers find among archives and folders."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.common.files import sha256
from decathlon.data.manifest import DomainEntry, SourceEntry, whole
from decathlon.data.preparing.folder_writer import FolderWriter
from decathlon.data.preparing.offers import damaged, is_current, write_offer
from decathlon.data.shard import UNKNOWN
from decathlon.data.sources.image_folder import FolderSupply
from decathlon.data.sources.readers import MissingError, Offer, Place, missing_files, reader_of
from decathlon.data.sources.supply import Supply
from decathlon.suites.base import Archive, Domain

SMALL_FILE = 1 << 20
"""Bytes up to which a source is read again to notice a change; of others the size is compared."""


def write_read(
    folder: FolderWriter, archives: Path, domains: Sequence[Domain], named: bool, skip_broken: bool
) -> list[str]:
    """Writes domains whose images their readers find, if missing or out of date.

    Args:
        folder: The data folder.
        archives: Where readers look.
        domains: Domains that have readers.
        named: True if the user named them: then none may be missing.
        skip_broken: True to leave out broken images.

    Returns:
        Names of domains whose files are missing.

    Raises:
        DataError: Nothing is prepared and nothing can be, or a domain that was named cannot.
    """
    lacking: dict[str, Sequence[Archive]] = {}
    for domain in domains:
        name, entry = domain.name, folder.manifest.domains.get(domain.name)
        if entry is not None and _is_settled(folder, archives, entry):
            continue
        try:
            found = reader_of(domain, folder.suite)(Place(archives, name, folder.suite))
        except MissingError as error:
            if entry is None or not whole(folder.data, entry):
                lacking[name] = error.archives
            continue
        if found is not None and (entry is None or _is_outdated(folder, entry, found)):
            _write(folder, found, skip_broken)
        elif entry is None:
            lacking[name] = [a for a in folder.suite.archives if name in a.domains]
        elif named and not whole(folder.data, entry):
            raise DataError(damaged(name, entry))
    if lacking:
        files = list(dict.fromkeys(file for part in lacking.values() for file in part))
        text = missing_files(archives, list(lacking), files)
        if named or not folder.manifest.domains:
            raise DataError(text)
        folder.messages.append(text)
    return list(lacking)


def _write(folder: FolderWriter, found: Offer, skip_broken: bool) -> None:
    def offered(skipped: Mapping[str, str]) -> Offer:
        return replace(found, plan=found.plan.without(skipped))

    plan = found.plan
    for note in found.annotations:
        folder.tell(note)
    write_offer(folder, offered, skip_broken)
    if any(isinstance(supply, FolderSupply) for supply in found.supplies):
        folder.messages.append(
            f"{plan.name}: is made of unpacked files, which have no official digest to compare with"
        )
    if not plan.official(folder.suite):
        official = folder.suite.domains[plan.name]
        counts = {split: len(notes) for split, notes in plan.splits.items()}
        trained = counts.get("train", 0) + counts.get("val", 0)
        folder.messages.append(
            f"{plan.name}: {trained:,} images to train on and {counts.get('test', 0):,} to test on,"
            f" of {sum(map(bool, plan.class_names))} classes; official are"
            f" {sum(official.sizes[:2]):,}, {official.sizes[2]:,} and"
            f" {official.num_classes}: recorded as unofficial"
        )


def _is_settled(folder: FolderWriter, archives: Path, entry: DomainEntry) -> bool:
    """Returns True if a domain is prepared, as far as can be told without its reader."""
    return (
        whole(folder.data, entry)
        and _labelled(entry)
        and not any(source.folder for source in entry.sources)
        and all(_is_same(archives / source.file, source) for source in entry.sources)
    )


def _is_outdated(folder: FolderWriter, entry: DomainEntry, found: Offer) -> bool:
    """Returns True if a prepared domain is damaged, has changed, or can get labels."""
    if is_current(folder, entry, found):
        return False
    unlabelled = any((part.categories == UNKNOWN).any() for part in found.plan.splits.values())
    if not whole(folder.data, entry) or not (_labelled(entry) or unlabelled):
        return True
    # What was made of other files, which may be gone, stays as it is.
    return any(_same_place(s, source) for s in found.supplies for source in entry.sources)


def _labelled(entry: DomainEntry) -> bool:
    return all(split.labelled for split in entry.splits.values())


def _is_same(path: Path, source: SourceEntry) -> bool:
    """Returns True if a file that data was made of is gone, or the same as far as is looked."""
    if not path.is_file():
        return True
    size = path.stat().st_size
    return size == source.size and (size > SMALL_FILE or sha256(path) == source.sha256)


def _same_place(supply: Supply, source: SourceEntry) -> bool:
    """Returns True if data was made of this archive or folder, whatever it held then."""
    if isinstance(supply, FolderSupply):
        return supply.is_at(source.folder)
    return supply.name == source.file
