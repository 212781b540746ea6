"""What has to be written of one domain, and its entry in the manifest when it is done."""

from pathlib import Path
from typing import Literal

from decathlon.data.image import RESIZE
from decathlon.data.manifest import DomainEntry, ShardEntry, SourceEntry, SplitEntry, intact
from decathlon.data.preparing.shard_writer import ShardWriter, shard_files, temporary_files
from decathlon.data.preparing.statistics import mean_and_std, sums_of
from decathlon.data.shard import UNKNOWN, open_shard
from decathlon.data.sources.plan import DomainPlan
from decathlon.suites.base import Channels, Suite


def same_plan(entry: DomainEntry, plan: DomainPlan) -> bool:
    """Returns True if a domain was prepared from the same annotations, as far as it could be."""
    return {split: e.annotations_sha256 for split, e in entry.splits.items()} == {
        split: notes.sha256 for split, notes in plan.splits.items() if split not in entry.left_out
    } and entry.skipped.keys() == plan.skipped.keys()


class DomainJob:
    """One domain to be written, wholly or in part.

    Args:
        data: The data folder.
        plan: The domain.
        suite: The suite that the folder is prepared for.
        entry: The domain's entry in the manifest if its intact shards stay; None to write all.

    Attributes:
        shards: The planned shards by split.
        writers: For each of them, its writer; None if it stays. Filled in by :meth:`begin`.
    """

    def __init__(
        self, data: Path, plan: DomainPlan, suite: Suite, entry: DomainEntry | None
    ) -> None:
        self.data, self.plan, self.entry = data, plan, entry
        self.folder = data / plan.name
        self.shards = {split: plan.shards(split, suite.side) for split in plan.splits}
        self.writers: dict[str, list[ShardWriter | None]] = {}
        self._official = suite.domains[plan.name] if plan.official(suite) else None
        self._normalisation = suite.normalisation
        # The split whose pixels give mean and std, unless the suite does.
        self._summed = None
        if self._official is None and self._normalisation is None:
            self._summed = "train" if "train" in plan.splits else next(iter(plan.splits))

    @property
    def size(self) -> int:
        """Bytes that will be needed on the disk, as far as the annotations tell sizes."""
        total = 0
        for split, notes in self.plan.splits.items():
            # Pixels of unknown size are spilled first, then laid out again; and most images are
            # larger than the square that is reserved for them.
            copies = 1 if notes.heights.all() and notes.widths.all() else 3
            for k, shard in enumerate(self.shards[split]):
                if not self._stays(split, k):
                    total += copies * int(shard.columns.size.sum())
        return total

    def begin(self, source: str) -> None:
        """Opens the shards to write.

        Args:
            source: See :class:`~decathlon.data.preparing.shard_writer.ShardWriter`.
        """
        for split, shards in self.shards.items():
            self.writers[split] = [
                None
                if self._stays(split, k)
                else ShardWriter(self.folder, shard, source, summed=split == self._summed)
                for k, shard in enumerate(shards)
            ]

    def open_writers(self) -> list[ShardWriter]:
        """Returns the writers of all shards to write."""
        return [w for writers in self.writers.values() for w in writers if w is not None]

    def publish(
        self, finished: dict[ShardWriter, ShardEntry], sources: list[SourceEntry]
    ) -> DomainEntry:
        """Gives all finished shards their final names and returns the domain's entry."""
        splits: dict[str, SplitEntry] = {}
        for split, writers in self.writers.items():
            shards = []
            for k, writer in enumerate(writers):
                if writer is None:
                    assert self.entry is not None
                    shards.append(self.entry.splits[split].shards[k])
                else:
                    writer.publish()
                    shards.append(finished[writer])
            splits[split] = self._split_entry(split, shards)
        mean, std, statistics = self._statistics(splits)
        resized = self.entry is not None and bool(self.entry.resize)
        resized = resized or any(writer.resized for writer in self.open_writers())
        plan = self.plan
        return DomainEntry(
            official=self._official is not None,
            class_names=list(plan.class_names),
            category_ids=list(plan.category_ids),
            mean=mean,
            std=std,
            statistics=statistics,
            resize=RESIZE if resized else "",
            sources=sources,
            splits=splits,
            left_out=plan.left_out,
            split_folders=plan.split_folders,
            skipped=plan.skipped,
            boxes=all(notes.boxes is not None for notes in plan.splits.values()),
            held_out=plan.held_out,
        )

    def clean(self) -> None:
        """Removes temporary files and shards of an earlier preparation."""
        for writer in self.open_writers():
            writer.clean()
        planned = {shard.file for shards in self.shards.values() for shard in shards}
        for path in [*temporary_files(self.folder), *shard_files(self.folder)]:
            if path.name not in planned:
                path.unlink()

    def _stays(self, split: str, k: int) -> bool:
        """Returns True if a shard is not written again."""
        if self.entry is not None and self.entry.splits[split].labels_sha256:
            # A shard is written without labels that came later, so that all shards have to be.
            return all(self._intact(split, j) for j in range(len(self.shards[split])))
        return self._intact(split, k)

    def _intact(self, split: str, k: int) -> bool:
        listed = self.entry.splits[split].shards if self.entry is not None else []
        if k >= len(listed) or not intact(self.data, listed[k]):
            return False
        shard = self.shards[split][k]
        planned = (f"{self.plan.name}/{shard.file}", len(shard.columns.height))
        return (listed[k].file, listed[k].num_images) == planned

    def _split_entry(self, split: str, shards: list[ShardEntry]) -> SplitEntry:
        if self.entry is not None and not any(self.writers[split]):
            return self.entry.splits[split]
        notes = self.plan.splits[split]
        return SplitEntry(
            num_images=len(notes),
            labelled=bool((notes.categories != UNKNOWN).all()),
            annotations_sha256=notes.sha256,
            shards=shards,
        )

    def _statistics(
        self, splits: dict[str, SplitEntry]
    ) -> tuple[Channels, Channels, Literal["official", "computed on train", "of the suite"]]:
        if self._normalisation is not None:
            return *self._normalisation, "of the suite"
        if self._official is not None:
            return self._official.mean, self._official.std, "official"
        assert self._summed is not None
        mean, std = mean_and_std(
            (writer and writer.sums) or sums_of(open_shard(self.data / shard.file))
            for writer, shard in zip(
                self.writers[self._summed], splits[self._summed].shards, strict=True
            )
        )
        return mean, std, "computed on train"
