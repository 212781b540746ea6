"""A split for other tools: as a data set of Hugging Face's ``datasets``, or as image files."""

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from PIL import Image

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import LONGEST_NAME
from decathlon.common.text import printable
from decathlon.data.reading.store import Images
from decathlon.data.shard import UNKNOWN
from decathlon.data.sources.folder_scan import is_litter

if TYPE_CHECKING:
    import datasets

_TABLE = "metadata.jsonl"
_ROLES = {"val": "validation"}
"""Splits that Hugging Face calls by another name."""


def to_huggingface(
    images: Images, split: str, names: list[str], cache: Path | None = None
) -> "datasets.Dataset":
    """Returns images as a ``datasets.Dataset``; see :meth:`DomainDataset.to_huggingface`.

    Raises:
        UsageError: The package is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise UsageError(
            "Hugging Face's package 'datasets' is not installed; install it with"
            " pip install 'decathlon[datasets]'"
        ) from None
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=names),
            "image_id": datasets.Value("int64"),
        }
    )
    # The cache knows a call again by its arguments: a pickle of images is their paths and a
    # digest of their contents.
    return datasets.Dataset.from_generator(
        _examples,
        features=features,
        gen_kwargs={"images": images},
        split=datasets.NamedSplit(_ROLES.get(split, split)),
        cache_dir=None if cache is None else str(cache),
    )


def _examples(images: Images) -> Iterator[dict[str, Any]]:
    for index in range(len(images)):
        yield {
            "image": Image.fromarray(images.pixels(index)),
            "label": int(images.labels[index]),
            "image_id": int(images.image_ids[index]),
        }


def unique_names(class_names: list[str], category_ids: list[int]) -> list[str]:
    """Returns names of which no two are equal and none is empty: others get their category id.

    Example:
        >>> unique_names(["crane", "", "crane", "jay"], [1, 2, 3, 4])
        ['crane (1)', '(2)', 'crane (3)', 'jay']
    """
    count, found = Counter(class_names), []
    for name, category in zip(class_names, category_ids, strict=True):
        unique = name
        while not unique or count[unique] > (unique == name):
            unique = f"{unique} ({category})".lstrip()
        found.append(unique)
    return found


def to_imagefolder(images: Images, target: Path, names: list[str]) -> None:
    """Writes images as files; see :meth:`DomainDataset.to_imagefolder`.

    Raises:
        UsageError: The split's folder exists.
        DataError: A label is not known.
    """
    if target.exists():
        raise UsageError(f"{target}: exists; name another folder, or delete it")
    if unknown := int((images.labels == UNKNOWN).sum()):
        raise DataError(
            f"{target}: not written, as the labels of {unknown} images are unknown; add them with"
            " 'decathlon prepare --labels'"
        )
    # Some file systems take names for the same that differ by case only.
    apart = len({name.casefold() for name in names}) == len(names)
    plain = apart and all(map(_is_folder_name, names))
    digits = len(str(int(images.image_ids.max())))
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".") as part:
        root = Path(part) / target.name
        root.mkdir()
        rows = []
        for index in range(len(images)):
            label, image_id = int(images.labels[index]), int(images.image_ids[index])
            folder = names[label] if plain else f"{label:05d}"
            file = f"{folder}/{image_id:0{digits}d}.png"
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(images.pixels(index)).save(root / file)
            rows.append(json.dumps({"file_name": file, "label": names[label]}, ensure_ascii=False))
        if not plain:
            (root / _TABLE).write_text("\n".join(rows) + "\n", encoding="utf-8")
        root.rename(target)


def _is_folder_name(name: str) -> bool:
    """Returns whether a folder can have a name, and 'prepare' then takes it for the class."""
    short = len(os.fsencode(name)) <= LONGEST_NAME
    normal = unicodedata.is_normalized("NFC", name)
    return printable(name) and normal and short and "/" not in name and not is_litter(name)
