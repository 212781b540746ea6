"""The labels of the test images, as officially published: one JSON file a domain.

<domain>_test.json: {"images": [{"id"}], "annotations": [{"image_id", "category_id"}],
                     "categories": [{"id"}]}, in a zip archive or a folder
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from decathlon.common.errors import DataError, UsageError
from decathlon.common.oserrors import explained
from decathlon.common.text import megabytes
from decathlon.common.zipped import member, opened
from decathlon.scoring.predictions import Ids
from decathlon.suites.visual_decathlon import DOMAINS

MAX_BYTES = 100_000_000
"""Ten times the largest official file, that of imagenet12."""
FILES = {f"{name}_test.json": name for name in DOMAINS}


@dataclass(frozen=True)
class Labels:
    """The labels of one domain.

    Attributes:
        domain: The domain.
        image_ids: Ids of all test images, ascending.
        category_ids: The category of each.
        categories: Ids of all categories, ascending.
    """

    domain: str
    image_ids: Ids
    category_ids: Ids
    categories: Ids

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
        """Whether these are the official labels, by their content."""
        domain = DOMAINS.get(self.domain)
        return domain is not None and domain.labels_sha256 == self.digest

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
        """Returns the labels of a domain, or None where there are none.

        Raises:
            UsageError: The split is not test.
        """
        if split != "test":
            raise UsageError(
                f"--labels {self.where}: holds labels of the test split, not of {split}; check the"
                f" {split} split with --data"
            )
        return self.labels.get(domain)


def read_labels(path: Path) -> dict[str, Labels]:
    """Reads the labels of all domains that ``path`` has.

    Args:
        path: ``labels_test.zip``, or a folder of its files.

    Returns:
        Labels by domain, in the order of the paper's columns.

    Raises:
        DataError: There are no labels, they are damaged or cannot be read, or two domains
            share an id.
    """
    try:
        found = dict(_folder(path) if path.is_dir() else _archive(path))
    except OSError as error:
        other = "name another file with --labels"
        raise DataError(explained(error, path, other, "cannot be read")) from None
    if not found:
        raise DataError(
            f"{path}: holds no <domain>_test.json; --labels takes the official labels_test.zip or"
            " a folder of its files"
        )
    _check_disjoint(list(found.values()), path)
    return {name: found[name] for name in DOMAINS if name in found}


def _folder(path: Path) -> list[tuple[str, Labels]]:
    found = []
    for file, domain in FILES.items():
        if (path / file).is_file():
            size = (path / file).stat().st_size
            if size > MAX_BYTES:
                raise DataError(f"{path / file}: {megabytes(size)} are too many for labels")
            found.append((domain, _parse((path / file).read_bytes(), domain, f"{path / file}")))
    return found


def _archive(path: Path) -> list[tuple[str, Labels]]:
    found: dict[str, Labels] = {}
    with opened(path, DataError) as archive:
        for name in archive.namelist():
            domain = FILES.get(PurePosixPath(name).name)
            if domain is None or name.startswith("__MACOSX"):
                continue
            if domain in found:
                raise DataError(f"{path}: holds the labels of {domain} twice")
            raw = member(archive, name, MAX_BYTES, path, DataError)
            found[domain] = _parse(raw, domain, f"{path}: {name}")
    return list(found.items())


def _parse(raw: bytes, domain: str, where: str) -> Labels:
    try:
        value = json.loads(raw)
        images = _ids([image["id"] for image in value["images"]])
        labelled = _ids([note["image_id"] for note in value["annotations"]])
        category_ids = _ids([note["category_id"] for note in value["annotations"]])
        categories = np.unique(_ids([category["id"] for category in value["categories"]]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{where}: not an annotation file with labels ({type(error).__name__}: {error})"
        ) from None
    order = np.argsort(labelled, kind="stable")
    if not np.array_equal(labelled[order], np.sort(images)):
        raise DataError(f"{where}: images and annotations do not match one to one")
    if not len(images) or len(np.unique(images)) < len(images):
        raise DataError(f"{where}: has no images, or one twice")
    if not np.isin(category_ids, categories).all():
        raise DataError(f"{where}: an annotation names a category that is not listed")
    return Labels(domain, labelled[order], category_ids[order], categories)


def _ids(values: list[object]) -> Ids:
    if not all(type(value) is int for value in values):
        raise TypeError("an id is not an integer")
    return np.array(values, dtype=np.int64)


def _check_disjoint(labels: list[Labels], path: Path) -> None:
    for ids in ("image_ids", "categories"):
        together = np.concatenate([getattr(one, ids) for one in labels])
        if len(np.unique(together)) < len(together):
            raise DataError(f"{path}: two domains share {ids.replace('_', ' ')}")
