"""The labels of test images as officially published: ``<domain>_test.json`` for each domain.

The files are annotations in the layout of the Visual Decathlon, in a zip archive
(``labels_test.zip``) or a folder.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError, UsageError
from decathlon.common.oserrors import explained
from decathlon.common.text import megabytes
from decathlon.common.zipped import opened
from decathlon.data.shard import Int64
from decathlon.data.sources.annotations import UNKNOWN, read_annotations
from decathlon.data.sources.streaming import Readable, reading
from decathlon.suites.base import Suite

MAX_BYTES = 100_000_000
"""Ten times the largest official file."""
_ENDING = "_test.json"


@dataclass(frozen=True)
class Labels:
    """The labels of one domain.

    Attributes:
        domain: The domain.
        image_ids: Ids of all test images, ascending.
        category_ids: The category of each.
        categories: Ids of all categories, ascending.
        class_names: Names by category id.
        where: The file, for messages.
        sha256: Digest of the file's bytes.
        published: :attr:`digest` of the official labels; empty if there are none.
    """

    domain: str
    image_ids: Int64
    category_ids: Int64
    categories: Int64
    class_names: Mapping[int, str] = field(default_factory=dict)
    where: str = ""
    sha256: str = ""
    published: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the ids and categories, however the file is written.

        Of the image ids in ascending order, the category of each, and all category ids, as
        little-endian 64-bit integers.
        """
        parts = (self.image_ids, self.category_ids, self.categories)
        return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()

    @property
    def official(self) -> bool:
        """True if these are the official labels, by their content."""
        return self.published == self.digest

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of shards, of which there are none."""
        return {}


@dataclass(frozen=True)
class LabelsFile:
    """The labels of ``labels_test.zip`` or of a folder of its files, as answers for an audit.

    Attributes:
        where: The archive or folder.
        labels: Labels by domain.
    """

    where: Path
    labels: Mapping[str, Labels]

    def key(self, domain: str, split: str) -> Labels | None:
        """Returns the labels of a domain, or None without any.

        Raises:
            UsageError: The split is not test.
        """
        if split != "test":
            raise UsageError(
                f"--labels {self.where}: holds labels of the test split, not of {split}; check the"
                f" {split} split with --data"
            )
        return self.labels.get(domain)


def read_labels(
    path: Path, suite: Suite, domains: Sequence[str] | None = None
) -> dict[str, Labels]:
    """Reads test labels.

    Args:
        path: ``labels_test.zip``, or a folder of its files.
        suite: Knows the digests of the official labels.
        domains: Domains to read, which may have no labels; None for all of the suite, of which
            one has to have some.

    Returns:
        Labels by domain, in the order of ``domains`` or of the suite.

    Raises:
        DataError: Labels are damaged or cannot be read, or an image has none; without
            ``domains``, also if there are no labels or two domains share an id.
    """
    if not path.exists():
        raise DataError(
            f"{path}: cannot be read: there is no such file; the official labels_test.zip comes"
            " with the residual_adapters code (https://github.com/srebuffi/residual_adapters)"
        )
    wanted = list(suite.domains if domains is None else domains)
    found: dict[str, Labels] = {}
    read = _folder if path.is_dir() else _archive
    try:
        for labels in read(path, wanted, suite):
            if labels.domain in found:
                raise DataError(
                    f"{path}: holds the labels of {labels.domain} twice; fetch it again"
                )
            found[labels.domain] = labels
    except OSError as error:
        other = "name another file with --labels"
        raise DataError(explained(error, path, other, "cannot be read")) from None
    if domains is None:
        if not found:
            raise DataError(
                f"{path}: holds no <domain>{_ENDING}; --labels takes the official labels_test.zip"
                " or a folder of its files"
            )
        _check_disjoint(list(found.values()), path)
    return {name: found[name] for name in wanted if name in found}


def _folder(path: Path, domains: Sequence[str], suite: Suite) -> Iterator[Labels]:
    for domain in domains:
        where = path / f"{domain}{_ENDING}"
        if where.is_file():
            size = where.stat().st_size
            if size > MAX_BYTES:
                raise DataError(f"{where}: {megabytes(size)} are too many for labels")
            with reading(where) as file:
                yield _labels(file, domain, str(where), suite)


def _archive(path: Path, domains: Sequence[str], suite: Suite) -> Iterator[Labels]:
    with opened(path, DataError) as archive:
        for info in archive.infolist():
            # Some programs for Windows write backslashes.
            name = info.filename.replace("\\", "/").rsplit("/", 1)[-1]
            domain = name.removesuffix(_ENDING)
            if domain not in domains or domain == name:
                continue
            where = f"{path}: {info.filename}"
            # No more than the declared size is ever unpacked.
            if info.file_size > MAX_BYTES:
                limit = megabytes(MAX_BYTES)
                raise DataError(f"{where} unpacks to more than {limit}; it is refused")
            with archive.open(info) as file:
                yield _labels(file, domain, where, suite)


def _labels(file: Readable, domain: str, where: str, suite: Suite) -> Labels:
    annotations = read_annotations(file, where, named=False)
    if not len(annotations):
        raise DataError(f"{where}: has no images; fetch it again")
    if (annotations.categories == UNKNOWN).any():
        raise DataError(
            f"{where}: not an annotation file with labels: images and annotations do not match one"
            " to one; images without a category"
        )
    known = suite.domains.get(domain)
    order = np.argsort(annotations.image_ids)
    return Labels(
        domain,
        annotations.image_ids[order],
        annotations.categories[order],
        np.array(sorted(annotations.class_names), np.int64),
        annotations.class_names,
        where,
        annotations.sha256,
        known.labels_sha256 if known is not None else "",
    )


def _check_disjoint(labels: list[Labels], path: Path) -> None:
    for ids in ("image_ids", "categories"):
        together = np.concatenate([getattr(one, ids) for one in labels])
        if len(np.unique(together)) < len(together):
            raise DataError(f"{path}: two domains share {ids.replace('_', ' ')}")
