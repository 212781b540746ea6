"""Writes the demo's images as archives of the official names and layout."""

import gzip
import io
import json
import math
import tarfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import replacing
from decathlon.common.oserrors import explained
from decathlon.common.progress import Bar, progress
from decathlon.demo.inventory import Drawn, Item, document, plan
from decathlon.demo.pictures import drawers
from decathlon.suites.base import SPLITS, Suite
from decathlon.suites.registry import DEFAULT

LABELS = "labels_test.zip"
TIME = 1_480_550_400
"""Modification time of every member, 2016-12-01: the same call gives the same bytes."""
ZIP_TIME = (2016, 12, 1, 0, 0, 0)
QUALITY = 92


def write_archives(
    folder: Path, *, seed: int = 0, scale: float = 1.0, suite: Suite = DEFAULT
) -> None:
    """Draws all domains and writes the official archives and the test labels.

    The same seed and scale give the same bytes (with the same Pillow and numpy). Each
    file appears complete or not at all.

    Args:
        folder: Where they are written; created if missing.
        seed: Seed of everything that varies, at least 0.
        scale: Factor on the images of each class, above 0; each class keeps at least one
            image in each split.
        suite: A suite with archives in the decathlon's layout.

    Raises:
        UsageError: ``seed`` or ``scale`` is out of range.
        DataError: The folder cannot be written to.
    """
    if seed < 0 or not (math.isfinite(scale) and scale > 0):
        raise UsageError(
            f"the demo cannot be drawn with seed {seed} and scale {scale}:"
            " give a seed of at least 0 and a scale above 0"
        )
    domains = [Drawn(name, i, d) for i, (name, d) in enumerate(sorted(drawers(suite).items()), 1)]
    plans = [plan(drawn, seed=seed, scale=scale) for drawn in domains]
    num = sum(len(items) for splits in plans for items in splits.values())
    names = (*(archive.file for archive in suite.official), LABELS)
    try:
        with ExitStack() as stack:
            parts = {name: stack.enter_context(replacing(folder / name)) for name in names}
            tars: dict[str, bytes] = {}
            documents: dict[str, bytes] = {}
            with progress("drawing", num, "images") as bar:
                for drawn, splits in zip(domains, plans, strict=True):
                    tars[drawn.name] = _draw(drawn, splits, seed, bar, documents)
            _write(parts, tars, documents, suite)
    except OSError as error:
        other = "name another folder with --out"
        raise DataError(explained(error, folder, other, "cannot be written")) from None


def _write(
    parts: dict[str, Path], tars: dict[str, bytes], documents: dict[str, bytes], suite: Suite
) -> None:
    devkit, *archives = suite.official
    annotations = {
        f"decathlon-1.0/annotations/{name}": text
        for name, text in documents.items()
        if not name.endswith("_test.json")
    }
    parts[devkit.file].write_bytes(gzip.compress(_tar(annotations), 6, mtime=TIME))
    for archive in archives:
        if len(archive.domains) == 1:
            content = tars[archive.domains[0]]
        else:
            inner = {f"{name}.tar": tar for name, tar in tars.items() if name in archive.domains}
            # JPEG files hardly compress: the fastest level.
            content = gzip.compress(_tar(inner), 1, mtime=TIME)
        parts[archive.file].write_bytes(content)
    with zipfile.ZipFile(parts[LABELS], "w", zipfile.ZIP_DEFLATED) as labels:
        for name in tars:
            entry = zipfile.ZipInfo(f"{name}_test.json", ZIP_TIME)
            labels.writestr(entry, documents[entry.filename], zipfile.ZIP_DEFLATED)


def _draw(
    drawn: Drawn, splits: dict[str, list[Item]], seed: int, bar: Bar, documents: dict[str, bytes]
) -> bytes:
    """Draws one domain's images, adds their annotation files by name, and returns the tar."""
    members: dict[str, bytes] = {}
    for split in SPLITS:
        sizes = []
        for item in splits[split]:
            rng = np.random.default_rng([seed, item.image_id])
            image = drawn.drawer.draw(rng, item.class_index)
            sizes.append(image.size)
            file = io.BytesIO()
            image.save(file, "JPEG", quality=QUALITY)
            members[item.name] = file.getvalue()
            bar.advance(1, drawn.name)
        full = document(drawn, splits[split], sizes)
        if split == "test":
            stripped = {key: value for key, value in full.items() if key != "annotations"}
            documents[f"{drawn.name}_test_stripped.json"] = json.dumps(stripped).encode()
        documents[f"{drawn.name}_{split}.json"] = json.dumps(full).encode()
    return _tar(members)


def _tar(members: dict[str, bytes]) -> bytes:
    """Returns a tar of regular files without owner."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), TIME
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()
