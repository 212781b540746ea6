"""``prepare``: official archives to shards, doing only what is not done yet."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from decathlon.data.build import Build
from decathlon.data.convert import convert, source_entry
from decathlon.data.labels import SPLIT, add_labels
from decathlon.data.manifest import (
    DomainEntry,
    Manifest,
    ShardEntry,
    SourceEntry,
    SplitEntry,
    read_manifest,
    write_manifest,
)
from decathlon.data.plan import DomainPlan, read_devkit
from decathlon.data.shard import UNKNOWN, open_shard
from decathlon.data.statistics import mean_and_std
from decathlon.domains import ARCHIVES, DEVKIT, DOMAINS, IMAGENET, NINE, SOURCE_DOMAIN, Archive
from decathlon.errors import DataError, UsageError, nearest

FEW = 2000
"""Images below which starting processes takes longer than decoding."""


@dataclass
class Prepared:
    """What :func:`prepare` found and did.

    Attributes:
        written: By domain and split, the number of images written in this call.
        present: By domain and split, the number of images that were there already.
        messages: What the user should be told, one sentence or two each.
    """

    written: dict[str, dict[str, int]] = field(default_factory=dict)
    present: dict[str, dict[str, int]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether nothing had to be done."""
        return not self.written


def prepare(
    archives: Path,
    data: Path,
    *,
    domains: Sequence[str] | None = None,
    jobs: int | None = None,
    labels: Path | None = None,
) -> Prepared:
    """Converts official archives to shards in ``data``, as far as they are not there.

    Args:
        archives: Folder that holds the archives under their official names.
        data: Folder of the shards and their manifest; made when missing.
        domains: Domains to prepare, or None for all that the annotations describe.
        jobs: Decoding processes, or None for one a core; 0 decodes in this process.
        labels: The official ``labels_test.zip``, to fill in the labels of the test
            splits.

    Returns:
        What was done.

    Raises:
        DataError: An archive is missing, damaged or does not fit the annotations; the
            data folder cannot be written; labels are of other images.
        UsageError: A domain that the annotations do not describe.
    """
    result = Prepared()
    with _exclusive(data):
        manifest = read_manifest(data) or Manifest(domains={})
        wanted = list(domains) if domains is not None else None
        if not _nothing_to_do(manifest, archives, data, wanted):
            manifest = _convert_missing(manifest, archives, data, wanted, jobs, result)
        for name in wanted if wanted is not None else manifest.domains:
            for split, entry in manifest.domains[name].splits.items():
                if split not in result.written.get(name, {}):
                    result.present.setdefault(name, {})[split] = entry.num_images
        if labels is not None:
            _label(data, manifest, labels, wanted or list(manifest.domains), result)
    return result


def _label(
    data: Path, manifest: Manifest, labels: Path, wanted: Sequence[str], result: Prepared
) -> None:
    manifest, done, without = add_labels(data, manifest, labels, wanted)
    for name in done:
        result.present.get(name, {}).pop(SPLIT, None)
        count = manifest.domains[name].splits["test"].num_images
        result.written.setdefault(name, {})[SPLIT] = count
    for name in without:
        result.messages.append(
            f"{labels.name} has no {name}_test.json: the test labels of {name} stay as they were"
        )


@contextmanager
def _exclusive(data: Path) -> Iterator[None]:
    """Holds the data folder for this process alone."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        handle = os.open(data, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{data}: cannot be used as data folder ({error.strerror})") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataError(
            f"{data}: another 'decathlon prepare' is at work on it; wait until it has ended"
        ) from None
    finally:
        os.close(handle)


def archive_of(domain: str) -> Archive:
    """Returns the archive that holds a domain's images."""
    return IMAGENET if domain == SOURCE_DOMAIN else NINE


def _intact(data: Path, shard: ShardEntry) -> bool:
    path = data / shard.file
    return shard.damaged is None and path.is_file() and path.stat().st_size == shard.size


def _same_source(archives: Path, sources: Sequence[SourceEntry]) -> bool:
    """Whether the archives, where they are there, can be those that were prepared."""
    paths = [(archives / source.file, source.size) for source in sources]
    return all(not path.is_file() or path.stat().st_size == size for path, size in paths)


def _nothing_to_do(
    manifest: Manifest, archives: Path, data: Path, wanted: Sequence[str] | None
) -> bool:
    names = wanted if wanted is not None else list(DOMAINS)
    return all(
        name in manifest.domains
        and _same_source(archives, manifest.domains[name].sources)
        and all(
            _intact(data, shard)
            for split in manifest.domains[name].splits.values()
            for shard in split.shards
        )
        for name in names
    )


def _missing(archives: Path, needed: Sequence[Archive]) -> DataError:
    missing = [archive for archive in needed if not (archives / archive.file).is_file()]
    lines = [f"archives are missing in {archives}:"]
    for archive in missing:
        note = f" ({archive.note})" if archive.note else ""
        lines.append(f"  {archive.file}: {archive.text}, {archive.size / 1e6:,.0f} MB")
        lines.append(f"    from {archive.url}{note}")
    possible = [
        name
        for archive in ARCHIVES
        for name in archive.domains
        if DEVKIT not in missing and archive not in missing
    ]
    if not archives.is_dir():
        lines[0] = f"there is no folder {archives}, which should hold:"
    if possible:
        options = " ".join(f"--domain {name}" for name in possible)
        lines.append(f"without them these domains can be prepared: {', '.join(possible)}")
        lines.append(f"  (decathlon prepare {options})")
    else:
        lines.append("without them no domain can be prepared")
    lines.append("put them there, or name the folder that holds them with --archives")
    return DataError("\n".join(lines))


def _convert_missing(
    manifest: Manifest,
    archives: Path,
    data: Path,
    wanted: Sequence[str] | None,
    jobs: int | None,
    result: Prepared,
) -> Manifest:
    needed = list(ARCHIVES) if wanted is None else [DEVKIT, *map(archive_of, wanted)]
    if not all((archives / archive.file).is_file() for archive in needed):
        raise _missing(archives, list(dict.fromkeys(needed)))
    plans, sha256, size = read_devkit(archives / DEVKIT.file, wanted)
    for name in wanted or ():
        if name not in plans:
            raise UsageError(
                f"{DEVKIT.file} does not describe a domain '{name}'{nearest(name, plans)}"
            )
    devkit = source_entry(DEVKIT.file, size, sha256)
    by_archive: dict[str, list[DomainPlan]] = {}
    for name, plan in plans.items():
        if not _up_to_date(manifest, archives, data, plan, devkit):
            by_archive.setdefault(archive_of(name).file, []).append(plan)
    if by_archive:
        _tell(devkit, result)
    for file, group in by_archive.items():
        manifest = _prepare_archive(manifest, archives / file, data, group, devkit, jobs, result)
    return manifest


def _up_to_date(
    manifest: Manifest, archives: Path, data: Path, plan: DomainPlan, devkit: SourceEntry
) -> bool:
    entry = manifest.domains.get(plan.name)
    return (
        entry is not None
        and _same_plan(entry, plan)
        and _same_source(archives, entry.sources[1:])
        and all(_intact(data, s) for split in entry.splits.values() for s in split.shards)
    )


def _same_plan(entry: DomainEntry, plan: DomainPlan) -> bool:
    return {split: e.annotations_sha256 for split, e in entry.splits.items()} == {
        split: notes.sha256 for split, notes in plan.splits.items()
    }


def _tell(source: SourceEntry, result: Prepared) -> None:
    if not source.official:
        result.messages.append(
            f"{source.file} ({source.size:,} bytes, SHA-256 {source.sha256[:12]}...) is not the"
            " official file of that name: prepared, and recorded as unofficial"
        )


def _prepare_archive(
    manifest: Manifest,
    archive: Path,
    data: Path,
    plans: Sequence[DomainPlan],
    devkit: SourceEntry,
    jobs: int | None,
    result: Prepared,
) -> Manifest:
    builds: dict[tuple[str, str], list[Build | None]] = {
        (plan.name, split): [Build(data / plan.name, shard) for shard in plan.shards(split)]
        for plan in plans
        for split in plan.splits
    }
    total = sum(len(notes) for plan in plans for notes in plan.splits.values())
    if jobs is None:
        jobs = len(os.sched_getaffinity(0)) if total > FEW else 0
    source = convert(archive, plans, builds, jobs)
    _tell(source, result)
    # Whoever reads meanwhile must not find old promises beside new shards.
    names = {plan.name for plan in plans}
    kept = {name: entry for name, entry in manifest.domains.items() if name not in names}
    if len(kept) < len(manifest.domains):
        write_manifest(data, Manifest(domains=kept))
    for plan in plans:
        kept[plan.name] = _publish(data, plan, builds, [devkit, source])
        result.written[plan.name] = {s: len(notes) for s, notes in plan.splits.items()}
    order = {name: place for place, name in enumerate(DOMAINS)}
    manifest = Manifest(
        domains=dict(sorted(kept.items(), key=lambda item: (order.get(item[0], 99), item[0])))
    )
    write_manifest(data, manifest)
    return manifest


def _publish(
    data: Path,
    plan: DomainPlan,
    builds: dict[tuple[str, str], list[Build | None]],
    sources: list[SourceEntry],
) -> DomainEntry:
    splits: dict[str, SplitEntry] = {}
    resize = ""
    for split, notes in plan.splits.items():
        shards = []
        for build in builds[plan.name, split]:
            assert build is not None
            shards.append(build.finish())
            build.publish()
            resize = resize or build.resize
        splits[split] = SplitEntry(
            num_images=len(notes),
            labelled=bool((notes.categories != UNKNOWN).all()),
            annotations_sha256=notes.sha256,
            shards=shards,
        )
    if plan.official:
        mean, std = DOMAINS[plan.name].mean, DOMAINS[plan.name].std
    else:
        first = splits.get("train") or next(iter(splits.values()))
        mean, std = mean_and_std(open_shard(data / shard.file) for shard in first.shards)
    return DomainEntry.model_validate(
        {
            "official": plan.official,
            "class_names": list(plan.class_names),
            "category_ids": list(plan.category_ids),
            "mean": mean,
            "std": std,
            "statistics": "official" if plan.official else "computed on train",
            "resize": resize,
            "sources": sources,
            "splits": splits,
        }
    )
