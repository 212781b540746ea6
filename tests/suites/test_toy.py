"""A benchmark of one's own: a suite in a package, from class folders to a board."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from decathlon.common.errors import DataError
from decathlon.common.files import sha256
from decathlon.data.reading.store import open_store
from decathlon.results.records import find_records, read_record
from tests.pages import run

SUITE = """
from decathlon.suites.base import Domain, Suite, View, Views
from decathlon.suites.score import Score

VIEWS = Views.of(View(24, random=True, flip=True))

def domain(name, column, group):
    return Domain(name, column, "stripes", 2, (24, 8, 8), (0.5,) * 3, (0.25,) * 3, VIEWS, group)

SUITE = Suite(
    name="toy",
    title="Toy",
    text="two domains of stripes",
    domains={
        d.name: d
        for d in (domain("upright", "Upr.", "large"), domain("slanted", "Sla.", "small"))
    },
    side=32,
    views=VIEWS,
    network="resnet26",
    source="upright",
    score=Score("T", {"upright": 0.8, "slanted": 0.6}),
)
"""
SIZES = {"train": 24, "val": 8, "test": 8}


def stripes(rng: np.random.Generator, domain: str, kind: int) -> Image.Image:
    """Stripes of one of two widths, upright or slanted."""
    y, x = np.mgrid[:40, :48]
    across = x if domain == "upright" else x + y
    pattern = (across + rng.integers(8)) // (2 + 4 * kind) % 2 * 160 + 40
    noisy = np.clip(pattern[..., None] + rng.normal(0, 20, (40, 48, 3)), 0, 255)
    return Image.fromarray(noisy.astype(np.uint8))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the package of the suite and the images of its domains."""
    folder = tmp_path_factory.mktemp("toy")
    package = folder / "site"
    info = package / "toy_suite-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "toy_suite.py").write_text(SUITE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-suite\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[decathlon.suites]\ntoy = toy_suite:SUITE\n")
    rng = np.random.default_rng(0)
    for domain in ("upright", "slanted"):
        for split, count in SIZES.items():
            for k in range(count):
                path = folder / domain / split / ("narrow", "wide")[k % 2] / f"{k:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                stripes(rng, domain, k % 2).save(path)
    return folder


def call(place: Path, *arguments: object) -> str:
    done = run(place, [*map(str, arguments)], packages=place / "site")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    """The folder after prepare, pretrain and run."""
    folders = [text for name in ("upright", "slanted") for text in ("--folder", f"{name}={name}")]
    call(place, "prepare", "--suite", "toy", *folders, "--data", "data")
    settings = ("--set", "epochs=2", "--set", "batch_size=8", "--device", "cpu")
    source = ("--width", "0.25", "--out", "source.safetensors")
    call(place, "pretrain", "--data", "data", *source, *settings, "--split", "test")
    for method in ("fine-tuning", "spottune", "series-adapters-decay"):
        given = ("--source", "source.safetensors", "--results", "results", "--split", "test")
        call(place, "run", "--method", method, "--data", "data", *given, *settings)
    return place


def test_images_are_stored_and_cut_as_the_suite_says(finished: Path, monkeypatch: Any) -> None:
    manifest = json.loads((finished / "data" / "manifest.json").read_text())
    assert manifest["suite"] == "toy"
    for entry in manifest["domains"].values():
        assert entry["official"]
        assert entry["mean"] == [0.5] * 3
    shown = call(finished, "domains", "--data", "data")
    assert "upright" in shown
    assert "dtd" not in shown


def test_records_name_the_suite(finished: Path) -> None:
    records = [read_record(path) for path in find_records(finished / "results")]
    assert {record.suite for record in records} == {"toy"}
    assert len(records) == 6
    source = sha256(finished / "source.safetensors")
    assert {record.source for record in records} == {source}
    by_size = next(record for record in records if record.method == "series-adapters-decay")
    decay = by_size.recipe["weight_decay"]
    assert decay["upright"] < decay["default"] < decay["slanted"]
    # The source domain is kept where the method says so, and no target is.
    kept = {(r.method, r.domain) for r in records if not r.trained}
    assert ("fine-tuning", "upright") in kept
    assert not any(domain == "slanted" for _, domain in kept)


def test_the_board_has_the_score_of_the_suite(finished: Path) -> None:
    table = call(finished, "score", "results")
    assert "Upr." in table
    assert "ImNet" not in table
    board = json.loads(call(finished, "score", "results", "--format", "json"))
    row = next(row for row in board["rows"] if row["label"] == "fine-tuning")
    errors = {name: 1 - percent / 100 for name, percent in row["accuracy"].items()}
    limits = {"upright": 0.8, "slanted": 0.6}
    by_hand = sum(1000 * max(0, 1 - errors[name] / limits[name]) ** 2 for name in limits)
    assert row["score"] == pytest.approx(by_hand)
    page = call(finished, "score", "results", "--format", "html")
    assert "Sla." in page


def test_finished_trials_are_skipped(finished: Path) -> None:
    settings = ("--set", "epochs=2", "--set", "batch_size=8", "--device", "cpu")
    given = ("--source", "source.safetensors", "--results", "results", "--split", "test")
    before = {p: p.stat().st_mtime_ns for p in find_records(finished / "results")}
    call(finished, "run", "--method", "fine-tuning", "--data", "data", *given, *settings)
    assert {p: p.stat().st_mtime_ns for p in find_records(finished / "results")} == before


def test_data_of_a_suite_that_is_not_installed_is_refused(finished: Path) -> None:
    with pytest.raises(DataError, match="suite 'toy'"):
        open_store(finished / "data")
