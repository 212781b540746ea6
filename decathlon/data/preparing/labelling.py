"""Fills in the labels of test splits that are prepared without them."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError
from decathlon.common.files import replacing
from decathlon.data.manifest import DomainEntry, Manifest, ShardEntry, write_manifest
from decathlon.data.preparing.checking import check
from decathlon.data.shard import Int64, open_shard
from decathlon.data.sources.test_labels import Labels, read_labels
from decathlon.suites.base import Suite

SPLIT = "test"


def _ids(values: Int64) -> str:
    return (
        f"{len(values)} images with ids {values.min()} to {values.max()}" if len(values) else "none"
    )


def _new_labels(data: Path, entry: DomainEntry, given: Labels) -> list[Int64] | None:
    """Returns the labels of each shard of a test split, None if they are in already.

    Raises:
        DataError: The labels are of other images or of other classes.
    """
    domain, split = given.domain, entry.splits[SPLIT]
    shards = [open_shard(data / shard.file) for shard in split.shards]
    ids = np.concatenate([shard.columns.image_id for shard in shards])
    if not np.array_equal(np.sort(ids), given.image_ids):
        raise DataError(
            f"{given.where}: these are labels of other images: the prepared test split of"
            f" {domain} has {_ids(ids)}, the labels are of {_ids(given.image_ids)};"
            " prepare without --labels, or from the archives that the labels belong to"
        )
    known = dict(zip(entry.category_ids, entry.class_names, strict=True))
    foreign = set(np.unique(given.category_ids).tolist()) - {key for key in known if known[key]}
    if foreign:
        raise DataError(f"{given.where}: category {min(foreign)} is none of {domain}'s categories")
    for key, name in given.class_names.items():
        if name and known.get(key, name) not in (name, ""):
            raise DataError(
                f"{given.where}: category {key} is {name!r} here and {known[key]!r} in the"
                f" prepared {domain}; prepare from the archives that the labels belong to"
            )
    labels = given.category_ids[np.searchsorted(given.image_ids, ids)]
    labels = labels - entry.category_ids[0]
    present = np.concatenate([shard.columns.label for shard in shards])
    # What a call that was killed has filled in is not known by its file yet.
    settled = split.labels_sha256 == given.sha256 and not any(s.coming for s in split.shards)
    if settled and np.array_equal(labels, present):
        return None
    cuts = np.cumsum([len(shard) for shard in shards])[:-1]
    return np.split(labels, cuts)


def _rewrite(
    data: Path, listed: ShardEntry, labels: Int64, announce: Callable[[ShardEntry], None]
) -> ShardEntry:
    """Replaces the labels of one shard.

    Args:
        data: The data folder.
        listed: The shard.
        labels: Of its images.
        announce: Is given the entry that holds both digests before the file is replaced.

    Returns:
        The shard's new entry.
    """
    path = data / listed.file
    with replacing(path) as part:
        shutil.copyfile(path, part)
        shard = open_shard(part)
        with part.open("r+b") as file:
            file.seek(shard.columns_at["label"])
            file.write(labels.astype(np.int32).tobytes())
        found = check(open_shard(part))
        if found.damaged:
            raise DataError(f"{path}: is damaged; run 'decathlon verify', then 'decathlon prepare'")
        announce(listed.model_copy(update={"coming": found.sha256}))
    return listed.model_copy(update={"sha256": found.sha256, "coming": None})


def add_labels(
    data: Path, manifest: Manifest, labels: Path, suite: Suite, domains: Sequence[str]
) -> tuple[Manifest, list[str], list[str]]:
    """Fills in the labels of the test splits; only the shards of those are rewritten.

    All labels are checked before the first shard is touched.

    Args:
        data: The data folder.
        manifest: What it holds.
        labels: The official ``labels_test.zip``, or a folder of its files.
        suite: The suite that the folder is prepared for.
        domains: Prepared domains to label.

    Returns:
        (the new manifest, domains whose labels were written, domains without labels).

    Raises:
        DataError: Labels are damaged, or of other images or classes.
    """
    wanted = [name for name in domains if SPLIT in manifest.domains[name].splits]
    found = read_labels(labels, suite, wanted)
    changes = {
        name: _new_labels(data, manifest.domains[name], given) for name, given in found.items()
    }
    now = manifest

    def announce(entry: ShardEntry) -> None:
        # A call that is killed leaves the shard with one digest or the other.
        nonlocal now
        now = now.changed(lambda shard: entry if shard.file == entry.file else shard)
        write_manifest(data, now)

    done = []
    for name, change in changes.items():
        if change is None:
            continue
        split = manifest.domains[name].splits[SPLIT]
        shards = [
            _rewrite(data, listed, values, announce)
            for listed, values in zip(split.shards, change, strict=True)
        ]
        split = split.model_copy(
            update={"shards": shards, "labelled": True, "labels_sha256": found[name].sha256}
        )
        entry = now.domains[name]
        entry = entry.model_copy(update={"splits": {**entry.splits, SPLIT: split}})
        now = now.model_copy(update={"domains": {**now.domains, name: entry}})
        write_manifest(data, now)
        done.append(name)
    return now, done, [name for name in wanted if name not in found]
