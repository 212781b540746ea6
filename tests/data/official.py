"""Tiny archives in the official layout, with ways to get them wrong."""

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from decathlon.suites.visual_decathlon import DOMAINS

FIRST_CATEGORY = {
    name: number * 10**7 + 1 for number, name in enumerate([*sorted(DOMAINS), "letters"], start=1)
}


def picture(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """A smooth picture: noise enlarged, so that JPEG has something to do."""
    small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@dataclass
class Official:
    """Archives of some small domains; change ``notes`` or ``files`` before writing."""

    folder: Path
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    members: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = field(default_factory=dict)

    def add(self, domain: str, sizes: tuple[int, int, int] = (9, 4, 5), classes: int = 3) -> None:
        rng = np.random.default_rng(len(self.files))
        first = FIRST_CATEGORY[domain]
        categories = [{"id": first + c, "name": f"class {c}"} for c in range(classes)]
        self.files[domain] = {}
        number = 0
        for split, size in zip(("train", "val", "test"), sizes, strict=True):
            notes: dict[str, Any] = {"info": {"year": 2017}, "images": []}
            if split != "test":
                notes["annotations"] = []
            for k in range(size):
                number += 1
                label = number % classes
                height, width = [(72, 72), (72, 96), (108, 72), (73, 80)][number % 4]
                place = f"{split}/{label + 1:04d}" if split != "test" else split
                name = f"{domain}/{place}/{k + 1:06d}.jpg"
                self.files[domain][name] = encoded(picture(rng, height, width), quality=90)
                image = {"id": first + 200000 + number, "file_name": f"data/{name}"}
                notes["images"].append({**image, "width": width, "height": height})
                if split != "test":
                    notes["annotations"].append(
                        {"id": number, "image_id": image["id"], "category_id": first + label}
                    )
            notes["categories"] = categories
            self.notes[f"{domain}_{split}" + ("_stripped" if split == "test" else "")] = notes

    def labels(self, domain: str) -> dict[str, Any]:
        """The test annotations that the stripped ones withhold."""
        notes = self.notes[f"{domain}_test_stripped"]
        first = notes["categories"][0]["id"]
        annotations = [
            {"image_id": image["id"], "category_id": first + k % len(notes["categories"])}
            for k, image in enumerate(notes["images"])
        ]
        return {**notes, "annotations": annotations}

    def domain_tar(self, domain: str) -> bytes:
        pairs = [(member(name, data), data) for name, data in self.files[domain].items()]
        return tar_bytes(pairs + self.members.get(domain, []))

    def write(self) -> Path:
        devkit = [
            (member(f"decathlon-1.0/annotations/{name}.json", data), data)
            for name, data in ((n, json.dumps(v).encode()) for n, v in self.notes.items())
        ]
        nine = [
            (member(f"{domain}.tar", data), data)
            for domain, data in ((d, self.domain_tar(d)) for d in self.files if d != "imagenet12")
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.put("decathlon-1.0-devkit.tar.gz", tar_bytes(devkit, "w:gz"))
        self.put("decathlon-1.0-data.tar.gz", tar_bytes(nine, "w:gz"))
        if "imagenet12" in self.files:
            self.put("decathlon-1.0-data-imagenet.tar", self.domain_tar("imagenet12"))
        return self.folder

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def pixels(self, domain: str, split: str) -> list[np.ndarray]:
        names = [image["file_name"] for image in self.split(domain, split)["images"]]
        return [decoded(self.files[domain][name.removeprefix("data/")]) for name in names]

    def split(self, domain: str, split: str) -> dict[str, Any]:
        return self.notes[f"{domain}_{split}" + ("_stripped" if split == "test" else "")]


def member(name: str, data: bytes = b"") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


def tar_bytes(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    # Without the time of packing: what is written twice is the same.
    return gzip.compress(file.getvalue(), mtime=0) if mode == "w:gz" else file.getvalue()


def write_labels(path: Path, notes: dict[str, object]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for domain, value in notes.items():
            archive.writestr(f"{domain}_test.json", json.dumps(value))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
