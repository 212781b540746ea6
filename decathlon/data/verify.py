"""``verify``: reads every shard from end to end and compares it with the manifest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from decathlon.data.manifest import FILE, Manifest, ShardEntry, read_manifest, write_manifest
from decathlon.data.shard import Check, check, open_shard
from decathlon.errors import DataError
from decathlon.progress import progress


@dataclass
class Verified:
    """What :func:`verify` read and found whole.

    Attributes:
        shards: Number of shards.
        images: Number of images.
        size: Bytes of all shards.
    """

    shards: int = 0
    images: int = 0
    size: int = 0


@dataclass(frozen=True)
class Finding:
    """What examining one shard found.

    Attributes:
        entry: The manifest's entry with what was found damaged.
        problem: What is wrong, for the user; ``""`` where it is whole.
    """

    entry: ShardEntry
    problem: str = field(default="")


def _ranges(damaged: list[int]) -> list[tuple[int, int]]:
    """Joins neighbouring positions to ranges (first, last)."""
    ranges: list[tuple[int, int]] = []
    for index in damaged:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], index)
        else:
            ranges.append((index, index))
    return ranges


def _told(found: Check, ranges: list[tuple[int, int]]) -> str:
    if not ranges:
        return "its contents have changed, though not the pixels"
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges[:5])
    more = f" and {len(ranges) - 5} more ranges" if len(ranges) > 5 else ""
    noun = "image" if len(found.damaged) == 1 else "images"
    return f"{noun} {shown}{more} (counted from 0 in the shard) damaged"


def examine(data: Path, entry: ShardEntry) -> Finding:
    """Reads one shard and compares it with its entry in the manifest."""
    path = data / entry.file
    try:
        shard = open_shard(path)
        found = check(shard)
    except DataError as error:
        return Finding(entry.model_copy(update={"damaged": []}), str(error))
    except OSError as error:
        return Finding(entry.model_copy(update={"damaged": []}), f"{path}: {error.strerror}")
    if found.sha256 == entry.sha256:
        return Finding(entry.model_copy(update={"damaged": None}))
    ranges = _ranges(found.damaged)
    problem = f"{path}: {_told(found, ranges)}"
    return Finding(entry.model_copy(update={"damaged": ranges}), problem)


def with_shards(manifest: Manifest, change: Callable[[ShardEntry], ShardEntry]) -> Manifest:
    """Returns a manifest whose shard entries are ``change`` of the given one's."""
    domains = {}
    for name, domain in manifest.domains.items():
        splits = {
            split: entry.model_copy(update={"shards": [change(shard) for shard in entry.shards]})
            for split, entry in domain.splits.items()
        }
        domains[name] = domain.model_copy(update={"splits": splits})
    return Manifest(domains=domains)


def verify(data: Path) -> Verified:
    """Re-reads every shard of a data folder.

    What is damaged is noted in the manifest where that can be written, so that readers
    refuse it and ``prepare`` rebuilds just those shards.

    Args:
        data: The data folder.

    Raises:
        DataError: Shards are missing or differ from what was written; names each and
            the range of images.
    """
    manifest = read_manifest(data)
    if manifest is None:
        raise DataError(f"{data} holds no prepared data (no {FILE}); run 'decathlon prepare'")
    entries = [
        shard
        for domain in manifest.domains.values()
        for split in domain.splits.values()
        for shard in split.shards
    ]
    findings: dict[str, Finding] = {}
    result = Verified()
    with progress("verifying", sum(entry.size for entry in entries) / 1e6, "MB") as bar:
        for entry in entries:
            finding = examine(data, entry)
            findings[entry.file] = finding
            result.shards += 1
            result.images += entry.num_images
            result.size += entry.size
            bar.advance(entry.size / 1e6, entry.file)
    problems = [finding.problem for finding in findings.values() if finding.problem]
    noted = with_shards(manifest, lambda shard: findings[shard.file].entry)
    if noted != manifest:
        _note(data, noted)
    if problems:
        lines = "\n  ".join(problems)
        raise DataError(
            f"{len(problems)} of {len(entries)} shards are damaged:\n  {lines}\n"
            "run 'decathlon prepare' with the same archives: it rebuilds just these"
        )
    return result


def _note(data: Path, manifest: Manifest) -> None:
    try:
        write_manifest(data, manifest)
    except OSError:
        # A read-only folder can be verified too; the message below says all.
        return
