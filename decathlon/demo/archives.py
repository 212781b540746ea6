"""Writes the demo's images as archives of the official names and layout."""

import gzip
import io
import json
import math
import tarfile
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import replacing
from decathlon.common.oserrors import explained
from decathlon.common.progress import Bar, progress
from decathlon.demo.annotations import Item, document, plan
from decathlon.demo.pictures import DRAWERS
from decathlon.suites.base import SPLITS
from decathlon.suites.visual_decathlon import DEVKIT, IMAGENET, NINE
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN

LABELS = "labels_test.zip"
TIME = 1_480_550_400
"""Modification time of every member, 2016-12-01: the same call gives the same bytes."""
ZIP_TIME = (2016, 12, 1, 0, 0, 0)
QUALITY = 92


@dataclass(frozen=True)
class _Domain:
    """A drawn domain: its tar, and its annotation files by name."""

    tar: bytes
    annotations: dict[str, bytes]
    test_labels: bytes


def write_archives(folder: Path, *, seed: int = 0, scale: float = 1.0) -> None:
    """Draws all ten domains and writes the three official archives and the test labels.

    The same seed and scale give the same bytes (with the same Pillow and numpy). The four
    files appear complete or not at all.

    Args:
        folder: Where they are written; it is made when missing.
        seed: Seed of everything that varies, at least 0.
        scale: Factor on the images of each class, above 0; each class keeps at least one
            image in each split.

    Raises:
        UsageError: ``seed`` or ``scale`` is out of range.
        DataError: The folder cannot be written to.
    """
    if seed < 0 or not (math.isfinite(scale) and scale > 0):
        raise UsageError(
            f"the demo cannot be drawn with seed {seed} and scale {scale}:"
            " give a seed of at least 0 and a scale above 0"
        )
    plans = {
        domain: plan(domain, drawer, seed=seed, scale=scale)
        for domain, drawer in sorted(DRAWERS.items())
    }
    num = sum(len(items) for splits in plans.values() for items in splits.values())
    try:
        with ExitStack() as stack:
            names = (DEVKIT.file, NINE.file, IMAGENET.file, LABELS)
            parts = {name: stack.enter_context(replacing(folder / name)) for name in names}
            with progress("drawing", num, "images") as bar:
                drawn = {
                    domain: _draw(domain, splits, seed, bar) for domain, splits in plans.items()
                }
            _write(parts, drawn)
    except OSError as error:
        other = "name another folder with --out"
        raise DataError(explained(error, folder, other, "cannot be written")) from None


def _write(parts: dict[str, Path], drawn: dict[str, _Domain]) -> None:
    annotations = {
        f"decathlon-1.0/annotations/{name}": text
        for domain in drawn.values()
        for name, text in domain.annotations.items()
    }
    nine = {f"{name}.tar": domain.tar for name, domain in drawn.items() if name != SOURCE_DOMAIN}
    parts[DEVKIT.file].write_bytes(gzip.compress(_tar(annotations), 6, mtime=TIME))
    # JPEG files hardly compress: the fastest level.
    parts[NINE.file].write_bytes(gzip.compress(_tar(nine), 1, mtime=TIME))
    parts[IMAGENET.file].write_bytes(drawn[SOURCE_DOMAIN].tar)
    with zipfile.ZipFile(parts[LABELS], "w", zipfile.ZIP_DEFLATED) as labels:
        for name, domain in drawn.items():
            entry = zipfile.ZipInfo(f"{name}_test.json", ZIP_TIME)
            labels.writestr(entry, domain.test_labels, zipfile.ZIP_DEFLATED)


def _draw(domain: str, splits: dict[str, list[Item]], seed: int, bar: Bar) -> _Domain:
    """Draws one domain's images and describes them."""
    drawer = DRAWERS[domain]
    members: dict[str, bytes] = {}
    annotations: dict[str, bytes] = {}
    labels = b""
    for split in SPLITS:
        sizes = []
        for item in splits[split]:
            image = drawer.draw(np.random.default_rng([seed, item.image_id]), item.class_index)
            sizes.append(image.size)
            file = io.BytesIO()
            image.save(file, "JPEG", quality=QUALITY)
            members[item.name] = file.getvalue()
            bar.advance(1, domain)
        full = _json(document(domain, drawer, splits[split], sizes, labelled=True))
        if split == "test":
            stripped = document(domain, drawer, splits[split], sizes, labelled=False)
            annotations[f"{domain}_test_stripped.json"] = _json(stripped)
            labels = full
        else:
            annotations[f"{domain}_{split}.json"] = full
    return _Domain(_tar(members), annotations, labels)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _tar(members: dict[str, bytes]) -> bytes:
    """Returns a tar of regular files that belong to nobody in particular."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), TIME
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()
