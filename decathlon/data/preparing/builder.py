"""Domains to shards in a data folder, and to the manifest that lists them."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.common.limits import cores
from decathlon.common.progress import progress
from decathlon.common.text import file_size
from decathlon.data.manifest import DomainEntry, Manifest, SourceEntry, write_manifest
from decathlon.data.preparing.convert import convert
from decathlon.data.preparing.decode import LIBRARIES, RESIZE
from decathlon.data.preparing.leftovers import parts
from decathlon.data.preparing.plan import DomainPlan
from decathlon.data.preparing.pool import Pool
from decathlon.data.preparing.work import Work, same_plan
from decathlon.data.sources.labels import SPLIT
from decathlon.data.sources.official import ANNOTATIONS
from decathlon.data.sources.supply import Supply
from decathlon.suites.visual_decathlon import DOMAINS, SUITE

FEW = 2000
"""Images below which starting processes takes longer than decoding."""
IMAGE_BYTES = 5000
"""Size of an image file of the official archives, roughly."""
MOST_JOBS = 4
"""Decoding processes a core; more take memory and no less time."""


def same_source(archives: Path | None, sources: Sequence[SourceEntry]) -> bool:
    """Whether the archives, where they are there, can be those that were prepared."""
    if archives is None:
        return True
    paths = [(archives / source.file, source.size) for source in sources]
    return all(not path.is_file() or path.stat().st_size == size for path, size in paths)


class Builder:
    """Builds domains.

    Args:
        archives: Folder of the archives, None without one.
        data: The data folder.
        manifest: What it holds.
        jobs: Decoding processes, None for one a core, 0 to decode in this one.

    Attributes:
        manifest: What the data folder holds.
        written: By domain and split, the number of images of shards that were written.
        messages: What the user should be told.
    """

    def __init__(
        self, archives: Path | None, data: Path, manifest: Manifest, jobs: int | None
    ) -> None:
        self.archives, self.data, self.manifest, self._jobs = archives, data, manifest, jobs
        self.written: dict[str, dict[str, int]] = {}
        self.messages: list[str] = []
        self._pool: Pool | None = None
        self._remarks: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def starting(self, size: int) -> Iterator[None]:
        """Starts the decoding processes, which import while annotations are read.

        Args:
            size: Bytes of the image files that are to be decoded first, roughly.
        """
        images = size // IMAGE_BYTES
        if images <= FEW:
            yield
            return
        # Code that takes the processes over ends them sooner.
        with Pool(self._processes(images)) as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    def build(
        self, supplies: Sequence[Supply], plans: Sequence[DomainPlan], notes: list[SourceEntry]
    ) -> None:
        """Builds the shards of some domains that are not there, and lists them.

        Args:
            supplies: Where the images are.
            plans: The domains.
            notes: What the annotations were read from.
        """
        works = []
        for plan in plans:
            entry = self.manifest.domains.get(plan.name)
            works.append(Work(self.data, plan, entry if self._kept(entry, plan, notes) else None))
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
            self.tell(source)
        self._publish(works, [*notes, *sources])
        for (name, remark), count in self._remarks.items():
            self.messages.append(f"{name}: {remark}: {count:,}")

    def _kept(
        self, entry: DomainEntry | None, plan: DomainPlan, notes: Sequence[SourceEntry]
    ) -> bool:
        """Whether the shards that are there may stay: those of two archives are not mixed."""
        return (
            entry is not None
            and entry.splits.keys() == plan.splits.keys()
            and same_plan(entry, plan)
            and same_source(self.archives, entry.sources[len(notes) :])
        )

    def tell(self, source: SourceEntry) -> None:
        """Says of a source that it is not the official one."""
        if any(archive.file == source.file for archive in SUITE.official):
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

    def _built(self, supplies: Sequence[Supply], works: Sequence[Work]) -> list[SourceEntry]:
        """Builds what is to be built of some domains."""
        size = sum(work.size for work in works)
        free = shutil.disk_usage(self.data).free
        started = any(any(parts(work.folder)) for work in works)
        if size > free and not started:
            raise DataError(
                f"{self.data}: needs {file_size(size)}, {file_size(free)} are free;"
                " make room or name another folder with --data"
            )
        splits = [notes for work in works for notes in work.plan.splits.values()]
        identity = [supply.identity(splits) for supply in supplies]
        for work in works:
            work.begin(digest_of([*identity, LIBRARIES]))
        pool, self._pool = self._pool, None
        with pool or Pool(self._processes(sum(map(len, splits)))) as pool:
            sources, self._remarks = convert(supplies, works, pool)
        return sources

    def _processes(self, images: int) -> int:
        if self._jobs is not None:
            return min(self._jobs, images, MOST_JOBS * cores())
        return cores() if images > FEW else 0

    def _publish(self, works: Sequence[Work], sources: list[SourceEntry]) -> None:
        builds = [build for work in works for build in work.all_builds()]
        finished = {}
        with (
            progress("checking what was written", len(builds), "shards") as bar,
            ThreadPoolExecutor(max(1, min(8, self._processes(FEW + 1)))) as threads,
        ):
            # Threads suffice: checksums are computed outside the interpreter's lock.
            entries = threads.map(lambda build: build.finish(RESIZE), builds)
            for build, entry in zip(builds, entries, strict=True):
                finished[build] = entry
                bar.advance()
        domains = dict(self.manifest.domains)
        # A reader must not find an old manifest beside new shards.
        replaced = [work.plan.name for work in works if work.entry is None]
        if any(domains.pop(name, None) is not None for name in replaced):
            write_manifest(self.data, Manifest(domains=domains))
        for work in works:
            name = work.plan.name
            domains[name] = work.publish(finished, sources)
            built = [split for split, builds in work.builds.items() if any(builds)]
            if built:
                self.written[name] = {
                    split: domains[name].splits[split].num_images for split in built
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
