"""Predictions as submissions and runs hold them, checked.

[{"image_id": 10206668, "category_id": 10000011}, ...]
"""

import json
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decathlon.errors import ResultError
from decathlon.records import refuse_constant
from decathlon.scoring.escape import visible

MAX_BYTES = 64_000_000
"""Ten times what the 141,000 predictions of all ten domains take."""
MAX_PREDICTIONS = 1_000_000
MAX_LISTS = 1000

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Predictions of one file.

    Attributes:
        image_ids: One id per prediction, in the order of the file.
        category_ids: The category predicted for each.
        problems: What is wrong with entries that are none and were left out.
    """

    image_ids: Ids
    category_ids: Ids
    problems: tuple[str, ...]


def parse_predictions(raw: bytes, where: str) -> Predictions:
    """Reads a list of predictions.

    Args:
        raw: JSON.
        where: What the messages call it.

    Raises:
        ResultError: It is no JSON, no list, or so large that it cannot be meant.
    """
    # Before anything is built: brackets cost 1 byte here and 60 in memory.
    if raw.count(b"{") > MAX_PREDICTIONS or raw.count(b"[") > MAX_LISTS:
        raise ResultError(
            f"{where}: holds more than {MAX_PREDICTIONS} predictions or {MAX_LISTS} lists; it has"
            " to be one list with one entry per test image"
        )
    try:
        entries = json.loads(raw, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{where}: not JSON ({error})") from None
    if not isinstance(entries, list):
        raise ResultError(
            f"{where}: is a {type(entries).__name__}, has to be a list of"
            ' {"image_id": ..., "category_id": ...}'
        )
    pairs = [pair for entry in entries if (pair := _pair(entry)) is not None]
    problems = []
    if len(pairs) < len(entries):
        first = next(i for i, entry in enumerate(entries) if _pair(entry) is None)
        problems.append(
            f"{len(entries) - len(pairs)} entries are not"
            ' {"image_id": integer, "category_id": integer};'
            f" the first is entry {first}: {visible(reprlib.repr(entries[first]))}"
        )
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Predictions(table[:, 0], table[:, 1], tuple(problems))


def _pair(entry: Any) -> tuple[int, int] | None:
    if type(entry) is not dict:
        return None
    image, category = entry.get("image_id"), entry.get("category_id")
    # Not isinstance: true and false are integers to it.
    if type(image) is not int or type(category) is not int:
        return None
    if not (0 <= image < 2**63 and 0 <= category < 2**63):
        return None
    return image, category
