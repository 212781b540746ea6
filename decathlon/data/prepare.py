"""``prepare``: images in any form to shards, doing only what is not done yet."""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from decathlon.data.convert import convert
from decathlon.data.decode import LIBRARIES, RESIZE
from decathlon.data.folder import check_name, own_plan, own_supply
from decathlon.data.imagenet import from_originals
from decathlon.data.labels import SPLIT, add_labels
from decathlon.data.lock import exclusive
from decathlon.data.manifest import (
    FILE,
    DomainEntry,
    Manifest,
    SourceEntry,
    read_manifest,
    write_manifest,
)
from decathlon.data.missing import require
from decathlon.data.plan import DomainPlan
from decathlon.data.sources import (
    ANNOTATIONS,
    has_annotations,
    images_of,
    known_domains,
    read_plans,
    supplies,
)
from decathlon.data.supply import Supply
from decathlon.data.verify import examine, noted
from decathlon.data.work import Work, intact, same_plan
from decathlon.domains import ARCHIVES, DOMAINS, SOURCE_DOMAIN
from decathlon.errors import DataError, UsageError, nearest
from decathlon.files import digest_of
from decathlon.progress import progress

FEW = 2000
"""Images below which starting processes takes longer than decoding."""
MOST_JOBS = 4
"""Decoding processes a core; more take memory and no less time."""


@dataclass
class Prepared:
    """What :func:`prepare` found and did.

    Attributes:
        written: By domain and split, the number of images of shards that were written.
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
    archives: Path | None,
    data: Path,
    *,
    domains: Sequence[str] | None = None,
    jobs: int | None = None,
    labels: Path | None = None,
    folders: Mapping[str, Path] | None = None,
    imagenet: Path | None = None,
) -> Prepared:
    """Converts images to shards in ``data``, as far as they are not there.

    An interrupted call is continued by the next. A shard that was found damaged is
    rebuilt alone.

    Args:
        archives: Folder that holds the archives under their official names, or the tree
            that they unpack to (see :mod:`decathlon.data.sources`); None where only
            ``folders`` are wanted.
        data: Folder of the shards and their manifest; made when missing.
        domains: Domains to prepare, or None for all that the annotations describe.
        jobs: Decoding processes, or None for one a core; 0 decodes in this process. There
            are never more than images, nor than four a core.
        labels: The official ``labels_test.zip``, to fill in the labels of the test
            splits.
        folders: The user's own domains by name: folders ``train|val|test/<class>/<image>``
            (see :mod:`decathlon.data.folder`).
        imagenet: Folder of the original ILSVRC-2012 photographs, for imagenet12 where the
            archive of 72-pixel images is not had (see :mod:`decathlon.data.imagenet`).

    Returns:
        What was done.

    Raises:
        DataError: An archive is missing, damaged or does not fit the annotations; the
            data folder cannot be written, or another call is at work on it; labels are
            of other images.
        UsageError: A domain that the annotations do not describe, or a name that a
            domain cannot have.
    """
    for name in folders or {}:
        check_name(name)
    if jobs is not None and jobs < 0:
        raise UsageError(f"jobs is {jobs}: give the number of decoding processes, 0 or more")
    with exclusive(data, "data folder", "--data"), _writing(data):
        preparation = _Preparation(archives, data, domains, jobs, imagenet)
        if archives is not None:
            preparation.convert()
        for name, folder in (folders or {}).items():
            preparation.own(name, folder)
        if labels is not None:
            preparation.label(labels)
        return preparation.result()


@contextmanager
def _writing(data: Path) -> Iterator[None]:
    """Tells why writing failed, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"{data}: the disk is full; make room or name another folder with --data"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            where = error.filename or data
            what = f"{where}: {error.strerror}; make it accessible, or name another folder"
        else:
            what = f"{error.filename or data}: {error.strerror or error}"
        raise DataError(f"{what}; then run 'decathlon prepare' again, it continues") from None


class _Preparation:
    """One call of :func:`prepare`."""

    def __init__(
        self,
        archives: Path | None,
        data: Path,
        domains: Sequence[str] | None,
        jobs: int | None,
        imagenet: Path | None,
    ) -> None:
        self.imagenet = imagenet
        self.archives, self.data, self.jobs = archives, data, jobs
        self.wanted = list(dict.fromkeys(domains)) if domains is not None else None
        self.manifest = self._rechecked(read_manifest(data) or Manifest(domains={}))
        self.written: dict[str, dict[str, int]] = {}
        self.messages: list[str] = []

    def result(self) -> Prepared:
        """Returns what was done."""
        present: dict[str, dict[str, int]] = {}
        for name, domain in self.manifest.domains.items():
            if self.wanted is not None and name not in {*self.wanted, *self.written}:
                continue
            for split, entry in domain.splits.items():
                if split not in self.written.get(name, {}):
                    present.setdefault(name, {})[split] = entry.num_images
        return Prepared(self.written, present, self.messages)

    def convert(self) -> None:
        """Builds the shards of the official domains that are not there."""
        names = self.wanted if self.wanted is not None else list(DOMAINS)
        if not all(self._complete(name) for name in names):
            self._convert_missing()
        self._sweep(names)

    def own(self, name: str, folder: Path) -> None:
        """Builds the shards of a user's own domain that are not there or out of date."""
        plan, messages = own_plan(name, folder)
        entry = self.manifest.domains.get(name)
        if entry is None or not self._whole(entry) or not same_plan(entry, plan):
            self.messages += messages
            self._build([own_supply(name, folder)], [plan], [])
        self._sweep([name])

    def _convert_missing(self) -> None:
        assert self.archives is not None
        annotated = has_annotations(self.archives)
        known = known_domains(self.archives) if annotated else list(DOMAINS)
        for name in self.wanted or ():
            if name not in known:
                raise UsageError(
                    f"no annotations of a domain '{name}'{nearest(name, known)}"
                    f" (there are those of {', '.join(known)})"
                )
        there = [name for name in known if images_of(self.archives, name) is not None]
        photographs = self.imagenet is not None and SOURCE_DOMAIN not in there
        if photographs:
            there.append(SOURCE_DOMAIN)
        require(self.archives, known if self.wanted is None else self.wanted, annotated, there)
        plans, notes = read_plans(self.archives, self.wanted)
        missing = [
            name
            for name, plan in plans.items()
            if not self._complete(name) or not same_plan(self.manifest.domains[name], plan)
        ]
        if missing:
            self._tell(notes)
        if photographs and self.imagenet is not None and SOURCE_DOMAIN in missing:
            missing.remove(SOURCE_DOMAIN)
            plan, found, messages = from_originals(plans[SOURCE_DOMAIN], self.imagenet)
            self.messages += messages
            self._build(found, [plan], [notes])
        for supply, names in supplies(self.archives, missing):
            self._build([supply], [plans[name] for name in names], [notes])

    def _sweep(self, names: Sequence[str]) -> None:
        """Removes what a call that was killed at its very end has left."""
        for folder in (self.data, *(self.data / name for name in names)):
            for path in folder.glob("*.part"):
                path.unlink()

    def label(self, labels: Path) -> None:
        """Fills in test labels."""
        wanted = self.wanted if self.wanted is not None else list(self.manifest.domains)
        self.manifest, done, without = add_labels(self.data, self.manifest, labels, wanted)
        for name in done:
            count = self.manifest.domains[name].splits[SPLIT].num_images
            self.written.setdefault(name, {})[SPLIT] = count
        for name in without:
            self.messages.append(
                f"{labels.name} has no {name}_test.json: its test labels stay as they were"
            )

    def _rechecked(self, manifest: Manifest) -> Manifest:
        """Re-reads the shards that were touched after the manifest was written."""
        path = self.data / FILE
        if not path.is_file():
            return manifest
        written = path.stat().st_mtime_ns
        found = {
            listed.shard.file: examine(self.data, listed)
            for listed in manifest.shards()
            if intact(self.data, listed.shard)
            and (self.data / listed.shard.file).stat().st_mtime_ns > written
        }
        if found:
            manifest = noted(manifest, found)
            write_manifest(self.data, manifest)
        return manifest

    def _complete(self, name: str) -> bool:
        """Whether a domain is prepared, as far as can be seen without reading archives."""
        entry = self.manifest.domains.get(name)
        return entry is not None and self._same_source(entry.sources) and self._whole(entry)

    def _whole(self, entry: DomainEntry) -> bool:
        """Whether all shards of a domain are there."""
        return all(intact(self.data, s) for split in entry.splits.values() for s in split.shards)

    def _same_source(self, sources: Sequence[SourceEntry]) -> bool:
        """Whether the archives, where they are there, can be those that were prepared."""
        if self.archives is None:
            return True
        paths = [(self.archives / source.file, source.size) for source in sources]
        return all(not path.is_file() or path.stat().st_size == size for path, size in paths)

    def _tell(self, source: SourceEntry) -> None:
        if any(archive.file == source.file for archive in ARCHIVES):
            if not source.official:
                self.messages.append(
                    f"{source.file} ({source.size:,} bytes, SHA-256 {source.sha256[:12]}...) is"
                    " not the official file of that name: prepared, and recorded as unofficial"
                )
        elif source.file == ANNOTATIONS:
            self.messages.append(
                f"{self.archives} holds the unpacked tree, which has no official digest to"
                " compare with: prepared, and recorded as unofficial"
            )

    def _build(
        self, supplies: Sequence[Supply], plans: Sequence[DomainPlan], notes: list[SourceEntry]
    ) -> None:
        works = []
        for plan in plans:
            entry = self.manifest.domains.get(plan.name)
            # Shards of two archives are not mixed.
            keep = (
                entry and same_plan(entry, plan) and self._same_source(entry.sources[len(notes) :])
            )
            works.append(Work(self.data, plan, entry if keep else None))
        sources = self._built(supplies, works)
        digests = [source.sha256 for source in sources]
        mixed = [
            work
            for work in works
            if work.entry and [s.sha256 for s in work.entry.sources[len(notes) :]] != digests
        ]
        if mixed:
            for work in mixed:
                work.entry = None
            sources = self._built(supplies, works)
        for source in sources:
            self._tell(source)
        self._publish(works, [*notes, *sources])

    def _built(self, supplies: Sequence[Supply], works: Sequence[Work]) -> list[SourceEntry]:
        """Builds what is to be built of some domains."""
        size = sum(work.size for work in works)
        free = shutil.disk_usage(self.data).free
        started = any(work.folder.glob("*.part") for work in works if work.folder.is_dir())
        if size > free and not started:
            raise DataError(
                f"{self.data}: needs {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free;"
                " make room or name another folder with --data"
            )
        identity = [supply.identity() for supply in supplies]
        for work in works:
            work.begin(digest_of([*identity, LIBRARIES]))
        total = sum(len(notes) for work in works for notes in work.plan.splits.values())
        return convert(supplies, works, self._jobs(total))

    def _jobs(self, images: int) -> int:
        cores = len(os.sched_getaffinity(0))
        if self.jobs is not None:
            return min(self.jobs, images, MOST_JOBS * cores)
        return cores if images > FEW else 0

    def _publish(self, works: Sequence[Work], sources: list[SourceEntry]) -> None:
        builds = [build for work in works for build in work.all_builds()]
        finished = {}
        with (
            progress("checking what was written", len(builds), "shards") as bar,
            ThreadPoolExecutor(max(1, min(8, self._jobs(FEW + 1)))) as threads,
        ):
            # Threads suffice: checksums are computed outside the interpreter's lock.
            entries = threads.map(lambda build: build.finish(RESIZE), builds)
            for build, entry in zip(builds, entries, strict=True):
                finished[build] = entry
                bar.advance()
        domains = dict(self.manifest.domains)
        # Whoever reads meanwhile must not find old promises beside new shards.
        replaced = [work.plan.name for work in works if work.entry is None]
        if any(domains.pop(name, None) is not None for name in replaced):
            write_manifest(self.data, Manifest(domains=domains))
        for work in works:
            name = work.plan.name
            domains[name] = work.publish(finished, sources)
            self.written[name] = {
                split: domains[name].splits[split].num_images
                for split, builds in work.builds.items()
                if any(builds)
            }
            self._tell_lost_labels(work)
        order = {name: place for place, name in enumerate(DOMAINS)}
        ordered = sorted(domains.items(), key=lambda item: (order.get(item[0], 99), item[0]))
        self.manifest = Manifest(domains=dict(ordered))
        write_manifest(self.data, self.manifest)
        for work in works:
            work.clean()

    def _tell_lost_labels(self, work: Work) -> None:
        before = self.manifest.domains.get(work.plan.name)
        split = before.splits.get(SPLIT) if before is not None else None
        if split is not None and split.labels_sha256 and any(work.builds.get(SPLIT, [])):
            self.messages.append(
                f"{work.plan.name}: the test split was rebuilt without labels; run"
                " 'decathlon prepare --labels' to fill them in again"
            )
