"""Domains that were found in folders or by readers: which are out of date, and writing them."""

from collections.abc import Callable

from decathlon.common.text import printable_name
from decathlon.data.manifest import DomainEntry, whole
from decathlon.data.preparing.domain_job import same_plan
from decathlon.data.preparing.filling import BrokenError
from decathlon.data.preparing.folder_writer import FolderWriter
from decathlon.data.sources.readers import Offer

MOST_SKIPPED = 10_000
"""Broken images of a domain that are left out at most."""


def write_offer(
    folder: FolderWriter, offered: Callable[[dict[str, str]], Offer], skip_broken: bool
) -> None:
    """Writes a domain, without broken images if ``skip_broken``.

    Args:
        folder: The data folder.
        offered: Returns the domain without images that are known to be broken.
        skip_broken: True to leave out those that turn out to be.

    Raises:
        BrokenError: Images are broken and not to be skipped, or there are too many.
    """
    skipped: dict[str, str] = {}
    while True:  # once more if images turn out to be broken
        found = offered(skipped)
        try:
            folder.write(found.supplies, [found.plan], found.annotations)
        except BrokenError as error:
            skipped |= {printable_name(image): reason for image, reason in error.images.items()}
            if not skip_broken or len(skipped) > MOST_SKIPPED:
                raise
        else:
            break
    name = found.plan.name
    remarks = [f"{name}: {remark}" for remark in folder.manifest.domains[name].remarks]
    folder.messages += [*found.messages, *remarks]


def is_current(folder: FolderWriter, entry: DomainEntry, found: Offer) -> bool:
    """Returns True if a domain is prepared from what its source holds now."""
    notes, count = found.annotations, len(found.annotations)
    splits = list(found.plan.splits.values())
    return (
        whole(folder.data, entry)
        and same_plan(entry, found.plan)
        and [note.sha256 for note in notes] == [s.sha256 for s in entry.sources[:count]]
        and len(found.supplies) == len(entry.sources) - count
        and all(
            supply.unchanged(source, splits)
            for supply, source in zip(found.supplies, entry.sources[count:], strict=True)
        )
    )


def damaged(name: str, entry: DomainEntry) -> str:
    """Returns a message on how to rebuild a domain whose source is not at hand."""
    source = entry.sources[0] if entry.own else None
    how = f" --folder {name}={source.folder or 'DIR'}" if source else " --archives DIR"
    how += " --skip-broken" * bool(entry.skipped)
    return (
        f"{name}: shards are missing or damaged; run 'decathlon prepare{how}' with what they"
        " were made of"
    )
