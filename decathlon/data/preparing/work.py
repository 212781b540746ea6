"""What has to be built of one domain, and its entry in the manifest when it is done."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from decathlon.data.image import RESIZE
from decathlon.data.manifest import DomainEntry, ShardEntry, SourceEntry, SplitEntry
from decathlon.data.preparing.build import Build
from decathlon.data.preparing.leftovers import parts, shards
from decathlon.data.preparing.plan import DomainPlan, ShardPlan
from decathlon.data.preparing.statistics import Channels, mean_and_std, sums_of
from decathlon.data.shard import UNKNOWN, open_shard
from decathlon.suites.visual_decathlon import DOMAINS, SUITE


def intact(data: Path, shard: ShardEntry) -> bool:
    """Whether a shard is there in its full size and not known to be damaged."""
    path = data / shard.file
    return shard.damaged is None and path.is_file() and path.stat().st_size == shard.size


def same_plan(entry: DomainEntry, plan: DomainPlan) -> bool:
    """Whether a domain was prepared from the same annotations, as far as it could be."""
    return {split: e.annotations_sha256 for split, e in entry.splits.items()} == {
        split: notes.sha256 for split, notes in plan.splits.items() if split not in entry.left_out
    } and entry.skipped.keys() == plan.skipped.keys()


@dataclass
class Work:
    """One domain to be built, wholly or in part.

    Attributes:
        data: The data folder.
        plan: The domain.
        entry: Its entry in the manifest where only some shards are to be rebuilt, None
            where all are.
        builds: By split, the shards to build; None in the place of one that is intact.
    """

    data: Path
    plan: DomainPlan
    entry: DomainEntry | None
    builds: dict[str, list[Build | None]] = field(default_factory=dict)
    _plans: dict[str, list[ShardPlan]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The domain's folder."""
        return self.data / self.plan.name

    @property
    def size(self) -> int:
        """Bytes on the disk that will be needed, as far as the annotations tell sizes."""
        total = 0
        for split, notes in self.plan.splits.items():
            # Pixels of unknown size are spilled first, then laid out anew; and most are more
            # than the square that their place in the file is made for.
            copies = 1 if notes.heights.all() and notes.widths.all() else 3
            for k, shard in enumerate(self._shards(split)):
                if not self._kept(split, k):
                    total += copies * int(shard.columns.size.sum())
        return total

    def begin(self, source: str) -> None:
        """Opens the shards to build; see :class:`decathlon.data.preparing.build.Build`."""
        for split in self.plan.splits:
            self.builds[split] = [
                None
                if self._kept(split, k)
                else Build(self.folder, shard, source, split == self._summed)
                for k, shard in enumerate(self._shards(split))
            ]

    def counts(self, split: str) -> list[int]:
        """Returns the number of images of each shard of a split."""
        return [len(shard.columns.height) for shard in self._shards(split)]

    def all_builds(self) -> list[Build]:
        """Returns the shards to build."""
        return [build for builds in self.builds.values() for build in builds if build is not None]

    def publish(self, finished: dict[Build, ShardEntry], sources: list[SourceEntry]) -> DomainEntry:
        """Gives all finished shards their final names and returns the domain's entry."""
        splits: dict[str, SplitEntry] = {}
        for split in self.plan.splits:
            shards = []
            for k, build in enumerate(self.builds[split]):
                if build is None:
                    shards.append(self._listed(split)[k])
                else:
                    build.publish()
                    shards.append(finished[build])
            splits[split] = self._split_entry(split, shards)
        mean, std = self._statistics(splits)
        official = self.plan.official
        return DomainEntry(
            official=official,
            class_names=list(self.plan.class_names),
            category_ids=list(self.plan.category_ids),
            mean=mean,
            std=std,
            statistics="official" if official else "computed on train",
            resize=RESIZE if self._resized() else "",
            sources=sources,
            splits=splits,
            left_out=self.plan.left_out,
            split_folders=self.plan.split_folders,
            skipped=self.plan.skipped,
        )

    def clean(self) -> None:
        """Removes what is temporary or left from an earlier preparation."""
        for build in self.all_builds():
            build.clean()
        listed = {shard.file for split in self.plan.splits for shard in self._shards(split)}
        for path in [*parts(self.folder), *shards(self.folder)]:
            if path.name not in listed:
                path.unlink()

    def _shards(self, split: str) -> list[ShardPlan]:
        if split not in self._plans:
            self._plans[split] = self.plan.shards(split, SUITE.side)
        return self._plans[split]

    def _listed(self, split: str) -> Sequence[ShardEntry]:
        return self.entry.splits[split].shards if self.entry is not None else ()

    def _kept(self, split: str, k: int) -> bool:
        """Whether a shard stays as it is."""
        if self.entry is not None and self.entry.splits[split].labels_sha256:
            # A shard is built without labels that came later: then all are.
            return all(self._intact(split, j) for j in range(len(self._shards(split))))
        return self._intact(split, k)

    def _intact(self, split: str, k: int) -> bool:
        listed = self._listed(split)
        if k >= len(listed) or not intact(self.data, listed[k]):
            return False
        shard = self._shards(split)[k]
        same = (f"{self.plan.name}/{shard.file}", len(shard.columns.height))
        return (listed[k].file, listed[k].num_images) == same

    def _resized(self) -> bool:
        before = self.entry is not None and bool(self.entry.resize)
        return before or any(build.resized for build in self.all_builds())

    def _split_entry(self, split: str, shards: list[ShardEntry]) -> SplitEntry:
        notes = self.plan.splits[split]
        before = self.entry.splits[split] if self.entry is not None else None
        if before is not None and not any(self.builds[split]):
            return before
        return SplitEntry(
            num_images=len(notes),
            labelled=bool((notes.categories != UNKNOWN).all()),
            annotations_sha256=notes.sha256,
            shards=shards,
        )

    @property
    def _summed(self) -> str | None:
        """The split whose pixels give mean and std, None where the official ones do."""
        if self.plan.official:
            return None
        return "train" if "train" in self.plan.splits else next(iter(self.plan.splits))

    def _statistics(self, splits: dict[str, SplitEntry]) -> tuple[Channels, Channels]:
        split = self._summed
        if split is None:
            return DOMAINS[self.plan.name].mean, DOMAINS[self.plan.name].std
        return mean_and_std(
            build.sums
            if build is not None and build.sums is not None
            else sums_of(open_shard(self.data / shard.file))
            for build, shard in zip(self.builds[split], splits[split].shards, strict=True)
        )
