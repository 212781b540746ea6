"""A row of honest results, the labels that they follow from, and bundles to doctor."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.files import sha256, write_json, write_text
from decathlon.method.code import code_of
from decathlon.results.records import trial_folder, write_record
from decathlon.scoring.bundling.writing import Authorship, write_bundle
from tests.scoring.making import make_record

NUM_IMAGES, NUM_CLASSES = 20, 4
FIRST = {"imagenet12": 60_000_000, "dtd": 40_000_000, "svhn": 90_000_000}
AUTHORS = Authorship("Smith", ("A. Smith", "B. Jones"), "https://example.org/p", "@misc{smith}")


def truth(domain: str) -> list[tuple[int, int]]:
    return [
        (FIRST[domain] + 100 + i, FIRST[domain] + 1 + i % NUM_CLASSES) for i in range(NUM_IMAGES)
    ]


def annotations(domain: str) -> dict[str, Any]:
    pairs = truth(domain)
    return {
        "images": [{"id": i, "file_name": f"data/{domain}/test/{i}.jpg"} for i, _ in pairs],
        "annotations": [{"id": i, "image_id": i, "category_id": c} for i, c in pairs],
        "categories": [{"id": FIRST[domain] + 1 + k, "name": str(k)} for k in range(NUM_CLASSES)],
    }


def add(results: Path, name: str, domain: str, every: int = 5, **fields: Any) -> None:
    """Adds an honest trial in which one image of ``every`` is wrong."""
    said, bits = [], []
    split, seed = fields.get("split", "test"), fields.get("seed", 0)
    for place, (image, category) in enumerate(truth(domain)):
        bits.append(bool(place % every))
        other = FIRST[domain] + 1 + (category - FIRST[domain]) % NUM_CLASSES
        said.append({"image_id": image, "category_id": category if bits[-1] else other})
    folder = results / trial_folder(name, domain, split, seed)
    write_json(folder / "predictions.json", said, indent=None)
    trained = fields.get("trained", True)
    splits = [*(("train", "val") if trained else ()), split]
    values: dict[str, Any] = {
        "method": "fine-tuning",
        "official": False,
        "num_classes": NUM_CLASSES,
        "data": {one: f"{len(one)}{domain[0]}".encode().hex().ljust(64, "0") for one in splits},
        "predictions": sha256(folder / "predictions.json"),
        "source": "5" * 64,
        "network": {"name": "resnet26", "width": 0.5, "blocks": [4, 4, 4], "adapters": "none"},
        "code": code_of("fine-tuning") if trained else None,
    }
    if trained:
        write_text(folder / "log.jsonl", '{"epoch": 1, "loss": 0.5}\n')
    else:
        values |= {"recipe": {}, "trained_on": ""}
    write_record(results, make_record(name, domain, bits, **values | fields))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two seeds on two domains, and the source network as it is on its own domain."""
    folder = tmp_path / "results"
    for seed in (0, 1):
        for domain in ("dtd", "svhn"):
            add(folder, "mine", domain, seed=seed, every=5 + seed)
    add(folder, "mine", "imagenet12", trained=False)
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels_test.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for domain in FIRST:
            archive.writestr(f"{domain}_test.json", json.dumps(annotations(domain)))
    return path


@pytest.fixture
def bundle(results: Path, tmp_path: Path) -> Path:
    return write_bundle(results, "mine", tmp_path / "smith.zip", AUTHORS).path


def doctored(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Changes the members of a bundle."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            stored = zipfile.ZIP_STORED if name.endswith(".safetensors") else None
            archive.writestr(name, content, stored)
    return path
