"""``verify``: reads every shard from end to end and compares it with the manifest."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError, UnreadableError
from decathlon.common.locks import exclusive
from decathlon.common.oserrors import explained
from decathlon.common.progress import progress
from decathlon.data.manifest import (
    FILE,
    Listed,
    Manifest,
    ShardEntry,
    read_manifest,
    write_manifest,
)
from decathlon.data.preparing.checking import Check, check
from decathlon.data.shard import MOVE, UNKNOWN, Shard, open_shard


@dataclass(frozen=True)
class Verified:
    """What :func:`verify` read and found undamaged.

    Attributes:
        shards: Number of shards.
        images: Number of images.
        size: Bytes of all shards.
        remarks: What a user should know of how domains were prepared.
    """

    shards: int
    images: int
    size: int
    remarks: list[str]


@dataclass(frozen=True)
class Finding:
    """Result of examining one shard.

    Attributes:
        damaged: See :class:`decathlon.data.manifest.ShardEntry`.
        problem: What is wrong, for the user; ``""`` if nothing is.
        unread: True if the system did not let us read it: its contents are not known.
    """

    damaged: list[tuple[int, int]] | None
    problem: str
    unread: bool = False


WHOLE = Finding(None, "")


def _ranges(damaged: list[int]) -> list[tuple[int, int]]:
    """Joins neighbouring positions to ranges (first, last)."""
    runs = np.split(damaged, np.flatnonzero(np.diff(damaged) > 1) + 1)
    return [(int(run[0]), int(run[-1])) for run in runs if len(run)]


def _told(found: Check, ranges: list[tuple[int, int]]) -> str:
    if not ranges:
        return "its contents have changed, though not the pixels"
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges[:5])
    more = f" and {len(ranges) - 5} more ranges" if len(ranges) > 5 else ""
    noun = "image" if len(found.damaged) == 1 else "images"
    return f"{noun} {shown}{more} (counted from 0 in the shard) damaged"


def differences(listed: Listed, shard: Shard) -> list[str]:
    """Returns in what a shard differs from the manifest, without reading pixels."""
    header, domain = shard.header, listed.domain
    split = domain.splits[listed.split]
    pairs: dict[str, tuple[object, object]] = {
        "domain": (header.domain, listed.name),
        "split": (header.split, listed.split),
        "class names": (list(header.class_names), domain.class_names),
        "category ids": (list(header.category_ids), domain.category_ids),
        "boxes": (shard.columns.box is not None, domain.boxes),
        "annotations": (header.annotations_sha256, split.annotations_sha256),
        "number of images": (len(shard), listed.shard.num_images),
        "size": (shard.path.stat().st_size, listed.shard.size),
    }
    if listed.shard.coming is None:
        labelled = bool((shard.columns.label != UNKNOWN).all())
        pairs["labels"] = (labelled, split.labelled)
    return [name for name, (found, listed_) in pairs.items() if found != listed_]


def examine(data: Path, listed: Listed) -> Finding:
    """Reads one shard and compares it with what the manifest says."""
    path = data / listed.shard.file
    try:
        shard = open_shard(path)
        found = check(shard)
    except UnreadableError as error:
        return Finding(listed.shard.damaged, str(error), unread=True)
    except DataError as error:
        return Finding([], str(error))
    except OSError as error:
        return Finding(listed.shard.damaged, explained(error, path, MOVE), unread=True)
    if found.sha256 not in (listed.shard.sha256, listed.shard.coming):
        ranges = _ranges(found.damaged)
        return Finding(ranges, f"{path}: {_told(found, ranges)}")
    if other := differences(listed, shard):
        return Finding([], f"{path}: is not what {FILE} says ({', '.join(other)})")
    return WHOLE


def marked(manifest: Manifest, findings: Mapping[str, Finding]) -> Manifest:
    """Returns a manifest in which damage is marked as found; ``findings`` are by shard file."""

    def changed(shard: ShardEntry) -> ShardEntry:
        found = findings.get(shard.file)
        return shard.model_copy(update={"damaged": found.damaged}) if found else shard

    return manifest.changed(changed)


def verify(data: Path) -> Verified:
    """Reads every shard of a data folder again.

    Damage is marked in the manifest if that can be written, so that readers refuse the damaged
    shards and ``prepare`` rebuilds them.

    Args:
        data: The data folder.

    Raises:
        DataError: Shards are missing or differ from what was written; names each and
            the range of images.
    """
    manifest = _read(data)
    shards = list(manifest.shards())
    findings: dict[str, Finding] = {}
    with progress("verifying", sum(listed.shard.size for listed in shards) / 1e6, "MB") as bar:
        for listed in shards:
            findings[listed.shard.file] = examine(data, listed)
            bar.advance(listed.shard.size / 1e6, listed.shard.file)
    mend = "run 'decathlon prepare' with the same archives: it rebuilds just these"
    if any(findings[listed.shard.file].damaged != listed.shard.damaged for listed in shards):
        try:
            findings = _mark(data, shards, findings)
        except DataError as error:  # the folder is busy, or cannot be locked
            mend = f"this is not noted ({error}); then run 'decathlon verify' again"
    told = []
    for unread, what, then in ((False, "are damaged", f"\n{mend}"), (True, "cannot be read", "")):
        problems = [f.problem for f in findings.values() if f.problem and f.unread == unread]
        if problems:
            lines = "\n  ".join(problems)
            told.append(f"{len(problems)} of {len(findings)} shards {what}:\n  {lines}{then}")
    if told:
        raise DataError("\n".join(told))
    return Verified(
        shards=len(shards),
        images=sum(listed.shard.num_images for listed in shards),
        size=sum(listed.shard.size for listed in shards),
        remarks=manifest.remarks,
    )


def _read(data: Path) -> Manifest:
    manifest = read_manifest(data)
    if manifest is None:
        raise DataError(f"{data} holds no prepared data (no {FILE}); run 'decathlon prepare'")
    return manifest


def _mark(
    data: Path, shards: Iterable[Listed], findings: Mapping[str, Finding]
) -> dict[str, Finding]:
    """Marks damage in the manifest as it is now.

    A ``prepare`` may have finished since the manifest was read: shards that are new, or were
    damaged and may have been rebuilt, are examined again.

    Returns:
        Findings on the shards that are listed now, by file.
    """
    before = {listed.shard.file: listed for listed in shards}
    with exclusive(data, "data folder", "--data"):
        manifest = _read(data)
        found = {
            listed.shard.file: WHOLE
            if before.get(listed.shard.file) == listed and findings[listed.shard.file] == WHOLE
            else examine(data, listed)
            for listed in manifest.shards()
        }
        # A read-only folder can be verified too: the message names all damage.
        with suppress(OSError):
            if (now := marked(manifest, found)) != manifest:
                write_manifest(data, now)
    return found
