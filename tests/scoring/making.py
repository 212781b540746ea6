"""Records to score."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decathlon.results.records import Parameters, RunRecord, pack_bits, write_record
from decathlon.suites.base import SPLITS
from decathlon.suites.fine_grained import SUITE as FINE_GRAINED
from decathlon.suites.visual_decathlon import DOMAINS

UNIT = 32 * 1000
Bits = Sequence[bool] | None


def make_record(name: str, domain: str, bits: Bits, **fields: Any) -> RunRecord:
    values: dict[str, Any] = {
        "name": name,
        "method": name,
        "domain": domain,
        "split": "test",
        "seed": 0,
        "trained_on": "train+val",
        "trained": True,
        "source_domain": "keep",
        "official": True,
        "num_classes": DOMAINS[domain].num_classes if domain in DOMAINS else 10,
        "correct": None if bits is None else sum(bits),
        "total": None if bits is None else len(bits),
        "correctness": None if bits is None else pack_bits(bits),
        "parameters": Parameters(source=UNIT, shared=UNIT, domain=UNIT // 2, head=99, unit=UNIT),
        "recipe": {"epochs": 1},
        "threads": 1,
        "data": {"test": "0" * 64},
        "source": None,
        "network": None,
        "code": None,
        "predictions": None,
        "environment": {},
        "timing": {"train_seconds": 1.5},
    }
    return RunRecord(**values | fields)


def bits_with(correct: int, total: int, seed: int = 0) -> list[bool]:
    """``correct`` of ``total`` right, at places that depend on ``seed``."""
    order = np.random.default_rng(seed).permutation(total)
    return [bool(place < correct) for place in order]


def unpacked(text: str | None, total: int) -> list[bool]:
    """The first ``total`` bits of what ``pack_bits`` wrote."""
    return [bool(int(text or "0", 16) >> (4 * len(text or "") - 1 - i) & 1) for i in range(total)]


def fine_grained(
    results: Path, name: str, accuracy: Mapping[str, float], spread: int = 0, **fields: Any
) -> None:
    """Writes a record for each domain of the fine-grained suite, of its official size.

    ``accuracy`` is in percent; ``spread`` draws other images that are right.
    """
    for domain, percent in accuracy.items():
        known = FINE_GRAINED.domains[domain]
        total = known.sizes[SPLITS.index(fields.get("split", "test"))] or 600
        bits = bits_with(round(percent * total / 100), total, seed=spread)
        values = {"suite": FINE_GRAINED.name, "num_classes": known.num_classes}
        write_record(results, make_record(name, domain, bits, **values | fields))


def everywhere(correct: int, total: int) -> dict[str, tuple[int, int]]:
    return dict.fromkeys(DOMAINS, (correct, total))
