"""``DATA/manifest.json``: what is prepared. Written last, and what readers trust.

The file holds a digest of all its other fields: a change that no shard shows (mean, std,
sources) is noticed. Manifests of earlier versions without a digest are read too; the next
``prepare`` that writes the manifest adds one.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from decathlon.common.errors import DataError, UnreadableError, UsageError, fault_lines, listed
from decathlon.common.files import digest_of, write_json
from decathlon.common.oserrors import explained
from decathlon.common.strict import Count, Sha256, StrictModel
from decathlon.data.shard import shard_names
from decathlon.suites.base import SPLITS, Suite
from decathlon.suites.registry import DEFAULT, find

FILE = "manifest.json"
FORMAT: Literal[1] = 1
DIGEST = "digest"
"""Field of the file with the digest of all others."""
NEW = ("split_folders", "skipped", "boxes", "held_out")
"""Fields of a domain that earlier versions do not know; written only if they are not empty."""
MOST_LISTED = 10
"""Broken images that a remark names."""

SplitName = Annotated[str, Field(pattern="^(train|val|test)$")]
Channel = Annotated[float, Field(ge=0, le=1)]


class ShardEntry(StrictModel):
    """One shard file.

    Attributes:
        file: Its path relative to DATA.
        num_images: Images in it.
        size: Bytes of the file.
        sha256: Digest of the file.
        damaged: Ranges of damaged images, first and last, as ``verify`` found them; None if the
            shard is undamaged.
        coming: Digest that the file has when the labels that are being filled in are there. A
            call that is killed meanwhile leaves a file with one digest or the other.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[a-z][\w.-]*\.h5$")]
    num_images: Annotated[int, Field(ge=1)]
    size: Count
    sha256: Sha256
    damaged: list[tuple[int, int]] | None = None
    coming: Sha256 | None = None


class SplitEntry(StrictModel):
    """One split.

    Attributes:
        num_images: Images in it.
        labelled: True if the labels are known.
        annotations_sha256: Digest of the annotation file.
        labels_sha256: Digest of the file its labels came from, if they came later.
        shards: Its shards in order.
    """

    num_images: Annotated[int, Field(ge=1)]
    labelled: bool
    annotations_sha256: Sha256
    labels_sha256: Sha256 | None = None
    shards: Annotated[list[ShardEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        images = sum(shard.num_images for shard in self.shards)
        if images != self.num_images:
            raise ValueError(f"its shards hold {images} images, not {self.num_images}")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the shard, or of the shards' digests if there are several."""
        if len(self.shards) == 1:
            return self.shards[0].sha256
        return digest_of([shard.sha256 for shard in self.shards])


class SourceEntry(StrictModel):
    """A file that data was prepared from.

    Attributes:
        file: Its name.
        size: Its bytes.
        sha256: Its digest.
        official: True if size and digest are those of the official file.
        folder: Path of the folder, if it was a folder of image files.
        state: Digest of names, sizes and times of those files, by which a change is
            noticed without reading them; None if it was no folder.
    """

    file: str
    size: Count
    sha256: Sha256
    official: bool
    folder: str = ""
    state: Sha256 | None = None


class DomainEntry(StrictModel):
    """One domain.

    Attributes:
        official: True if classes, split sizes and images are those of the suite's domain.
        class_names: Name by label; ``""`` for a label that no category has.
        category_ids: Category id by label.
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1].
        statistics: Where mean and std come from.
        resize: Library and version that resized images, ``""`` if none was resized.
        sources: The files it was prepared from: annotations, images.
        splits: Its splits.
        left_out: Annotated splits whose images were not found: by split, where they were sought.
        split_folders: Shares of train, val and test by which a folder without splits was
            divided, see :mod:`decathlon.data.sources.stratified`; ``""`` if it had splits.
        skipped: Why image files were left out, by their paths in the folder.
        boxes: True if the shards hold bounding boxes.
        held_out: Share of the training images of each class that val was made of; 0 if the images
            came with a val.
    """

    official: bool
    class_names: Annotated[list[str], Field(min_length=1)]
    category_ids: Annotated[list[int], Field(min_length=1)]
    mean: tuple[Channel, Channel, Channel]
    std: tuple[Channel, Channel, Channel]
    statistics: Literal["official", "computed on train", "of the suite"]
    resize: str
    sources: list[SourceEntry]
    splits: dict[SplitName, SplitEntry]
    left_out: dict[SplitName, str] = {}
    split_folders: Annotated[str, Field(pattern=r"^([\d.e-]+(/[\d.e-]+){2})?$")] = ""
    skipped: dict[str, str] = {}
    boxes: bool = False
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def num_classes(self) -> int:
        """Number of labels, which is the width of a classifier."""
        return len(self.category_ids)

    @property
    def first_category(self) -> int:
        """The category id of label 0."""
        return self.category_ids[0]

    @property
    def own(self) -> bool:
        """True if it was made of one folder, without annotations, as a user's own domain is."""
        return len(self.sources) == 1 and self.sources[0].state is not None

    @property
    def remarks(self) -> list[str]:
        """What a user should know of how the domain was prepared."""
        told = []
        if self.split_folders:
            told.append(
                f"has no folders train, val and test, and is divided {self.split_folders} by the"
                " names of the images (--split-folders)"
            )
        told += self._lacking()
        if self.skipped:
            lines = [f"{name}: {reason}" for name, reason in self.skipped.items()]
            text = listed(lines, "\n  ", MOST_LISTED)
            told.append(f"{len(self.skipped):,} broken images are left out:\n  {text}")
        return told

    def _lacking(self) -> list[str]:
        """Returns what the domain cannot be used for, as it lacks a split."""
        lacking = {s for s in SPLITS if s not in self.splits and s not in self.left_out}
        if "train" in lacking:
            return ["has no train split: it can be shown, but not trained on"]
        if lacking == {"val", "test"}:
            return ["has a train split alone: it can be shown, but 'run' needs val or test"]
        if "val" in lacking:
            return ["has no val split: 'run --split test' trains on train alone"]
        return ["has no test split: use 'run --split val'"] if lacking else []

    @model_validator(mode="after")
    def _has_names_for_ids(self) -> Self:
        names, ids = len(self.class_names), self.category_ids
        if ids != list(range(ids[0], ids[0] + names)):
            raise ValueError(f"its {names} class_names need as many category_ids in a row")
        return self


class Manifest(StrictModel):
    """What DATA holds.

    Attributes:
        format: Version of this schema.
        suite: Name of the suite; earlier versions knew one suite and did not write it.
        domains: By name.
    """

    format: Literal[1] = FORMAT
    suite: str = DEFAULT.name
    domains: dict[str, DomainEntry]

    @model_validator(mode="after")
    def _lists_own_files(self) -> Self:
        for name, domain in self.domains.items():
            for split, entry in domain.splits.items():
                files = [shard.file for shard in entry.shards]
                if files != [f"{name}/{file}" for file in shard_names(split, len(files))]:
                    raise ValueError(f"the shards of {name} {split} are {', '.join(files)}")
        return self

    @property
    def remarks(self) -> list[str]:
        """What a user should know of how domains were prepared."""
        return [f"{name}: {text}" for name, entry in self.domains.items() for text in entry.remarks]

    def shards(self) -> Iterator["Listed"]:
        """Yields all shards."""
        for name, domain in self.domains.items():
            for split, entry in domain.splits.items():
                for shard in entry.shards:
                    yield Listed(name, split, domain, shard)

    def changed(self, change: Callable[[ShardEntry], ShardEntry]) -> "Manifest":
        """Returns a manifest whose shard entries are ``change`` of this one's."""
        domains = {}
        for name, domain in self.domains.items():
            splits = {
                split: entry.model_copy(update={"shards": [change(s) for s in entry.shards]})
                for split, entry in domain.splits.items()
            }
            domains[name] = domain.model_copy(update={"splits": splits})
        return self.model_copy(update={"domains": domains})


@dataclass(frozen=True)
class Listed:
    """A shard and what the manifest says it is part of.

    Attributes:
        name: The domain.
        split: The split.
        domain: The domain's entry.
        shard: The shard's entry.
    """

    name: str
    split: str
    domain: DomainEntry
    shard: ShardEntry


def read_manifest(data: Path) -> Manifest | None:
    """Reads DATA's manifest, None if there is none.

    Raises:
        DataError: It cannot be read or is not valid; names every field at fault.
    """
    path = data / FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        other = "name another folder with --data"
        raise UnreadableError(explained(error, path, other, "cannot be read")) from None
    mend = "delete it and run 'decathlon prepare' again"
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); {mend}") from None
    digest = value.pop(DIGEST, None) if isinstance(value, dict) else None
    if isinstance(value, dict) and value.get("format", FORMAT) != FORMAT:
        raise DataError(
            f"{path}: has format version {value['format']!r}, this program reads {FORMAT};"
            " prepare the data again with this version"
        )
    try:
        manifest = Manifest.model_validate_json(json.dumps(value))
    except ValidationError as error:
        problems = fault_lines(error.errors(include_url=False), "manifest")
        raise DataError(f"{path}: not a valid manifest:\n{problems}\n{mend}") from None
    if digest not in (None, digest_of(value)):
        raise DataError(
            f"{path}: was changed after 'decathlon prepare' had written it (its digest is"
            f" another); put the original back, or {mend}, which rebuilds all shards"
        )
    return manifest


def intact(data: Path, shard: ShardEntry) -> bool:
    """Returns True if a shard has its full size and is not known to be damaged."""
    path = data / shard.file
    return shard.damaged is None and path.is_file() and path.stat().st_size == shard.size


def whole(data: Path, domain: DomainEntry) -> bool:
    """Returns True if all shards of a domain are intact."""
    return all(intact(data, shard) for split in domain.splits.values() for shard in split.shards)


def suite_of(data: Path, manifest: Manifest | None) -> Suite:
    """Returns the suite that a data folder was prepared for; the default one if it has none yet.

    Raises:
        DataError: The suite is not installed here, or cannot be imported.
    """
    if manifest is None:
        return DEFAULT
    try:
        return find(manifest.suite)
    except UsageError as error:
        raise DataError(
            f"{data / FILE}: prepared for suite '{manifest.suite}', which cannot be used: {error};"
            " install the package that provides it"
        ) from None


def write_manifest(data: Path, manifest: Manifest) -> None:
    """Writes DATA's manifest, whole or not at all."""
    value: dict[str, Any] = manifest.model_dump(mode="json")
    for entry in value["domains"].values():
        for key in NEW:  # so that earlier versions can read manifests that do not need them
            if not entry[key]:
                del entry[key]
    write_json(data / FILE, {**value, DIGEST: digest_of(value)})
