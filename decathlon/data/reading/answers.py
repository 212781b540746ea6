"""Labels and ids of prepared data, for auditing results; without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError
from decathlon.data.manifest import FILE, Manifest, read_manifest
from decathlon.data.shard import MEND, UNKNOWN, Int64, open_shard


@dataclass(frozen=True)
class Answer:
    """The answers of one split of a prepared domain.

    Attributes:
        image_ids: Ids of all images, ascending.
        category_ids: The category of each image, or None if labels are unknown.
        categories: Ids of all categories, ascending.
        official: True if the domain is the suite's, unchanged.
        digests: SHA-256 of the domain's shards by split.
    """

    image_ids: Int64
    category_ids: Int64 | None
    categories: Int64
    official: bool
    digests: Mapping[str, str]


@dataclass(frozen=True)
class PreparedAnswers:
    """The answers in a prepared data folder.

    Attributes:
        where: The folder.
        manifest: What it holds.
    """

    where: Path
    manifest: Manifest

    def key(self, domain: str, split: str) -> Answer | None:
        """Returns the answers of a split, or None if it is not prepared.

        Raises:
            DataError: A shard is missing or damaged.
        """
        entry = self.manifest.domains.get(domain)
        if entry is None or split not in entry.splits:
            return None
        shards = [open_shard(self.where / shard.file) for shard in entry.splits[split].shards]
        for shard in shards:
            if list(shard.header.category_ids) != entry.category_ids:
                raise DataError(f"{shard.path}: has other categories than {FILE} lists; {MEND}")
        ids = np.concatenate([shard.columns.image_id for shard in shards])
        label = np.concatenate([shard.columns.label for shard in shards])
        order = np.argsort(ids, kind="stable")
        categories = np.array(entry.category_ids, dtype=np.int64)
        category_ids = None if (label == UNKNOWN).any() else categories[label[order]]
        digests = {name: prepared.digest for name, prepared in entry.splits.items()}
        return Answer(ids[order], category_ids, categories, entry.official, digests)


def open_answers(data: Path) -> PreparedAnswers:
    """Opens the answers of a prepared data folder.

    Raises:
        DataError: Nothing is prepared there, or its manifest is not valid.
    """
    manifest = read_manifest(data)
    if manifest is None:
        raise DataError(
            f"{data}: holds no {FILE}, so it is no prepared data folder; `decathlon prepare"
            f" --data {data}` makes one"
        )
    return PreparedAnswers(data, manifest)
