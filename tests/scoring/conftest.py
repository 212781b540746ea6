"""Folders of records to score."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.files import write_json
from decathlon.results.records import write_record
from decathlon.suites.base import SPLITS
from decathlon.suites.visual_decathlon import DOMAINS
from tests.scoring.making import bits_with, make_record


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


AddRuns = Callable[..., None]


@pytest.fixture
def add_runs(results: Path) -> AddRuns:
    """Writes one record per domain: ``add_runs("name", {"dtd": (30, 40)}, seed=1)``.

    Official records have as many images as the official split, of which that share is right.
    """

    def add(name: str, counts: Mapping[str, tuple[int, int] | None], **fields: Any) -> None:
        for domain, pair in counts.items():
            bits = None
            if pair is not None:
                correct, total = pair
                if fields.get("official", True):
                    total = DOMAINS[domain].sizes[SPLITS.index(fields.get("split", "test"))]
                    correct = round(pair[0] * total / pair[1])
                bits = bits_with(correct, total, seed=fields.get("seed", 0))
            write_record(results, make_record(name, domain, bits, **fields))

    return add


@pytest.fixture
def add_predictions(results: Path) -> Callable[..., None]:
    """Writes the predictions of one trial beside its record."""

    def add(name: str, domain: str, pairs: Sequence[tuple[int, int]], seed: int = 0) -> None:
        rows = [{"image_id": image, "category_id": category} for image, category in pairs]
        folder = results / name / domain / "test" / f"seed{seed}"
        write_json(folder / "predictions.json", rows, indent=None)

    return add
