"""Writes domains into a data folder: their shards, then the manifest that lists them."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import digest_of
from decathlon.common.limits import cores
from decathlon.common.progress import progress
from decathlon.common.text import file_size
from decathlon.data.image import LIBRARIES
from decathlon.data.manifest import (
    FILE,
    Manifest,
    SourceEntry,
    intact,
    read_manifest,
    write_manifest,
)
from decathlon.data.preparing.decoding import Pool
from decathlon.data.preparing.domain_job import DomainJob, same_plan
from decathlon.data.preparing.filling import Filling
from decathlon.data.preparing.shard_writer import ShardWriter, temporary_files
from decathlon.data.preparing.verify import examine, marked
from decathlon.data.sources.file_names import archive_stem
from decathlon.data.sources.official import ANNOTATIONS
from decathlon.data.sources.plan import DomainPlan
from decathlon.data.sources.supply import Supply
from decathlon.suites.base import Suite

FEW = 2000
"""Images below which starting processes takes longer than decoding."""
IMAGE_BYTES = 5000
"""Size of an image file of the official archives, roughly."""
MOST_JOBS = 4
"""Decoding processes a core; more take memory and no less time."""


class FolderWriter:
    """A data folder into which domains are written.

    Args:
        archives: Folder of the archives, None without one.
        data: The data folder.
        suite: The suite that it is prepared for.
        processes: Decoding processes; None for one a core, 0 to decode in this process.

    Attributes:
        manifest: What the data folder holds.
        written: By domain and split, the number of images of shards that were written.
        messages: What the user should be told.

    Raises:
        UsageError: The folder holds data of another suite.
    """

    def __init__(
        self, archives: Path | None, data: Path, suite: Suite, processes: int | None
    ) -> None:
        self.archives, self.data, self.suite = archives, data, suite
        self._asked = processes
        self.written: dict[str, dict[str, int]] = {}
        self.messages: list[str] = []
        self._pool: Pool | None = None
        self.manifest = self._rechecked()

    def same_archives(self, sources: Sequence[SourceEntry]) -> bool:
        """Returns True if the archives that are there can be those that data was made of."""
        if self.archives is None:
            return True
        paths = [(self.archives / source.file, source.size) for source in sources]
        return all(not path.is_file() or path.stat().st_size == size for path, size in paths)

    @contextmanager
    def starting(self, size: int) -> Iterator[None]:
        """Starts the decoding processes: they import while annotations are read.

        Args:
            size: Bytes of the image files to decode first, roughly.
        """
        images = size // IMAGE_BYTES
        if images <= FEW:
            yield
            return
        # The first write() within takes the processes over and ends them sooner.
        with Pool(self._processes(images)) as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    def write(
        self,
        supplies: Sequence[Supply],
        plans: Sequence[DomainPlan],
        annotations: list[SourceEntry],
    ) -> None:
        """Writes the missing shards of some domains, and lists them in the manifest.

        Args:
            supplies: Where the images are.
            plans: The domains.
            annotations: What the annotations were read from.
        """
        jobs = []
        for plan in plans:
            entry = self.manifest.domains.get(plan.name)
            # Shards of two archives are not mixed.
            kept = (
                entry is not None
                and entry.splits.keys() == plan.splits.keys()
                and same_plan(entry, plan)
                and self.same_archives(entry.sources[len(annotations) :])
            )
            jobs.append(DomainJob(self.data, plan, self.suite, entry if kept else None))
        sources = self._fill(supplies, jobs)
        digests = [source.sha256 for source in sources]
        # The archive turns out to be another one than that of the shards that stayed.
        mixed = [
            job
            for job in jobs
            if job.entry
            and [source.sha256 for source in job.entry.sources[len(annotations) :]] != digests
        ]
        if mixed:
            for job in mixed:
                job.entry = None
            sources = self._fill(supplies, jobs)
        for source in sources:
            self.tell(source)
        self._publish(jobs, [*annotations, *sources])
        for (name, remark), count in self._remarks.items():
            self.messages.append(f"{name}: {remark}: {count:,}")

    def tell(self, source: SourceEntry) -> None:
        """Adds a message if a source is not the official file of its name."""
        stem = archive_stem(source.file)
        if any(archive_stem(a.file) == stem and a.sha256 for a in self.suite.official):
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

    def _rechecked(self) -> Manifest:
        """Reads the manifest, and examines the shards that were touched after it was written."""
        manifest = read_manifest(self.data)
        if manifest is None or not manifest.domains:
            return Manifest(suite=self.suite.name, domains={})
        if manifest.suite != self.suite.name:
            raise UsageError(
                f"{self.data}: is prepared for suite '{manifest.suite}', not"
                f" '{self.suite.name}'; name another folder with --data"
            )
        written = (self.data / FILE).stat().st_mtime_ns
        found = {
            listed.shard.file: examine(self.data, listed)
            for listed in manifest.shards()
            if intact(self.data, listed.shard)
            and (self.data / listed.shard.file).stat().st_mtime_ns > written
        }
        if found:
            manifest = marked(manifest, found)
            write_manifest(self.data, manifest)
        return manifest

    def _fill(self, supplies: Sequence[Supply], jobs: Sequence[DomainJob]) -> list[SourceEntry]:
        """Decodes all images into the shards to write; returns what each supply was."""
        size = sum(job.size for job in jobs)
        free = shutil.disk_usage(self.data).free
        started = any(any(temporary_files(job.folder)) for job in jobs)
        if size > free and not started:
            raise DataError(
                f"{self.data}: needs {file_size(size)}, {file_size(free)} are free;"
                " make room or name another folder with --data"
            )
        splits = [notes for job in jobs for notes in job.plan.splits.values()]
        identity = [supply.identity(splits) for supply in supplies]
        for job in jobs:
            job.begin(digest_of([*identity, LIBRARIES]))
        pool, self._pool = self._pool, None
        with pool or Pool(self._processes(sum(map(len, splits)))) as pool:
            filling = Filling(jobs, self.suite.side, pool)
            self._remarks = filling.remarks
            return filling.run(supplies)

    def _processes(self, images: int) -> int:
        if self._asked is not None:
            return min(self._asked, images, MOST_JOBS * cores())
        return cores() if images > FEW else 0

    def _publish(self, jobs: Sequence[DomainJob], sources: list[SourceEntry]) -> None:
        writers = [writer for job in jobs for writer in job.open_writers()]
        finished = {}
        with (
            progress("checking what was written", len(writers), "shards") as bar,
            ThreadPoolExecutor(max(1, min(8, self._processes(FEW + 1)))) as threads,
        ):
            # Threads suffice: checksums are computed outside the interpreter's lock.
            entries = threads.map(ShardWriter.finish, writers)
            for writer, entry in zip(writers, entries, strict=True):
                finished[writer] = entry
                bar.advance()
        domains = dict(self.manifest.domains)
        # A reader must not find an old manifest beside new shards.
        replaced = [job.plan.name for job in jobs if job.entry is None]
        if any(domains.pop(name, None) is not None for name in replaced):
            write_manifest(self.data, Manifest(suite=self.suite.name, domains=domains))
        for job in jobs:
            name = job.plan.name
            domains[name] = job.publish(finished, sources)
            counts = {
                split: domains[name].splits[split].num_images
                for split, opened in job.writers.items()
                if any(opened)
            }
            if counts:
                self.written[name] = counts
            self._tell_lost_labels(name, counts)
        # In the suite's order, then the user's own by name.
        ordered = {name: domains[name] for name in self.suite.in_order(domains)}
        self.manifest = Manifest(suite=self.suite.name, domains=ordered)
        write_manifest(self.data, self.manifest)
        for job in jobs:
            job.clean()

    def _tell_lost_labels(self, name: str, counts: dict[str, int]) -> None:
        before = self.manifest.domains.get(name)
        if before is None:
            return
        for split in before.splits.keys() & counts.keys():
            if before.splits[split].labels_sha256:
                self.messages.append(
                    f"{name}: the {split} split was rebuilt without labels; run"
                    " 'decathlon prepare --labels' to fill them in again"
                )
