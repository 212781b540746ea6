"""Photograph-like JPEG files and archives of the official layout, for the benchmarks."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from decathlon.suites.visual_decathlon import DEVKIT, IMAGENET
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN

SIZES = ((72, 96), (72, 72), (96, 72), (72, 108))
"""(height, width), as most official images of imagenet12 are."""
DISTINCT = 400
CLASSES = 100
_CELLS, _QUALITY = (4, 12, 36), 95
"""Details a side, of all amplitudes alike per octave, and quality: so that a file has the size
of an official one, 4.1 kB. Those are 1,329,405 in 6.5 GB, each with a header of 512 bytes and
half a block of padding."""
PHOTOGRAPHS = ((375, 500), (500, 375))
"""(height, width) of most photographs of ImageNet and CUB."""
_FINER = (*_CELLS, 108, 324)
"""Details of photographs: their files have 63 kB, those of CUB 98 kB."""


def jpegs(
    count: int = DISTINCT,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    details: tuple[int, ...] = _CELLS,
) -> list[tuple[bytes, int, int]]:
    """Returns (file, height, width) of images; by default as detailed as the official ones."""
    rng, found = np.random.default_rng(0), []
    for k in range(count):
        height, width = sizes[k % len(sizes)]
        layers = np.zeros((height, width, 3))
        for cells in details:
            noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
            layers += np.asarray(layer) / cells**0.5
        scaled = (layers * (255 / layers.max())).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(scaled).save(file, "JPEG", quality=_QUALITY)
        found.append((file.getvalue(), height, width))
    return found


def write_photographs(folder: Path, count: int) -> None:
    """Writes training photographs in class folders, as torchvision's ImageFolder reads them."""
    for k, (data, _, _) in enumerate(jpegs(count, PHOTOGRAPHS, _FINER)):
        path = folder / "train" / f"class {k % 4}" / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_archives(folder: Path, count: int) -> int:
    """Writes a devkit and an ImageNet archive of so many training images; returns its bytes."""
    folder.mkdir(parents=True)
    files = jpegs()
    first = 60_000_001
    images, annotations = [], []
    with tarfile.open(folder / IMAGENET.file, "w") as tar:
        for k in range(count):
            data, height, width = files[k % len(files)]
            name = f"{SOURCE_DOMAIN}/train/{k % CLASSES + 1:04d}/{k // CLASSES + 1:06d}.jpg"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            key = first + 200_000 + k
            images.append(
                {"id": key, "width": width, "height": height, "file_name": f"data/{name}"}
            )
            annotations.append({"id": key, "image_id": key, "category_id": first + k % CLASSES})
    categories = [{"id": first + k, "name": f"class {k}"} for k in range(CLASSES)]
    notes = {"images": images, "annotations": annotations, "categories": categories}
    text = json.dumps(notes).encode()
    with tarfile.open(folder / DEVKIT.file, "w:gz", compresslevel=1) as tar:
        info = tarfile.TarInfo(f"decathlon-1.0/annotations/{SOURCE_DOMAIN}_train.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return (folder / IMAGENET.file).stat().st_size
