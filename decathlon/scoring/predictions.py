"""Predictions as submissions and runs hold them, checked.

[{"image_id": 10206668, "category_id": 10000011}, ...]
"""

import json
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decathlon.common.errors import ResultError
from decathlon.common.text import visible
from decathlon.results.records import refuse_constant

MAX_BYTES = 64_000_000
"""Ten times what 141,000 predictions, a complete official submission, take."""
MAX_PREDICTIONS = 1_000_000
MAX_LISTS = 1000
MAX_FLOAT = 2.0**53
"""From here on a float does not tell whole numbers apart."""
SHOWN = 3
"""How many of the ids at fault a message names."""

Ids = NDArray[np.int64]


GZIP = b"\x1f\x8b"
FORM = '[{"image_id": 10206668, "category_id": 10000011}, ...]'
_KEYS = {"image_id", "category_id"}


@dataclass(frozen=True)
class Predictions:
    """Predictions of one file.

    Attributes:
        image_ids: One id per prediction, in the order of the file.
        category_ids: The category predicted for each.
        problems: What is wrong with malformed entries, which were left out.
        notes: What was accepted although it deviates from the official form.
    """

    image_ids: Ids
    category_ids: Ids
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def parse_predictions(raw: bytes, where: str, forgiving: bool = False) -> Predictions:
    """Reads a list of predictions.

    Args:
        raw: JSON.
        where: What the messages call it.
        forgiving: Accept, with a note, what can only have one meaning: ids written as
            ``96.0`` or ``"96"``, lists inside an object or a list, repeated entries.

    Raises:
        ResultError: It is no JSON, no list, or too large to be predictions.
    """
    if raw.startswith(GZIP):
        raise ResultError(
            f"{where}: is packed with gzip; give results.json itself, or in a zip archive"
        )
    # Before anything is built: brackets cost 1 byte here and 60 in memory.
    if raw.count(b"{") > MAX_PREDICTIONS or raw.count(b"[") > MAX_LISTS:
        raise ResultError(
            f"{where}: holds more than {MAX_PREDICTIONS} entries or {MAX_LISTS} lists; it has to be"
            f" one list with one entry per test image and no lists in them: {FORM}"
        )
    try:
        value = json.loads(raw, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{where}: not JSON ({error}){_hint(raw)}") from None
    notes: list[str] = []
    entries = _unwrapped(value, notes) if forgiving else value
    if not isinstance(entries, list):
        raise ResultError(f"{where}: is {_kind(entries)}, has to be a list: {FORM}")
    found = [_pair(entry, notes if forgiving else None) for entry in entries]
    pairs = [pair for pair in found if pair is not None]
    problems = []
    if len(pairs) < len(entries):
        first = found.index(None)
        problems.append(
            f"{len(entries) - len(pairs)} entries are not"
            ' {"image_id": integer, "category_id": integer};'
            f" the first is entry {first}: {visible(reprlib.repr(entries[first]))}"
        )
    if forgiving and len(distinct := dict.fromkeys(pairs)) < len(pairs):
        notes.append(f"{len(pairs) - len(distinct)} entries are repeated and count once.")
        pairs = list(distinct)
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Predictions(table[:, 0], table[:, 1], tuple(problems), tuple(dict.fromkeys(notes)))


def _unwrapped(value: Any, notes: list[str]) -> Any:
    """Returns the predictions in an object, such as ``{"results": [...]}``, or in lists."""

    def lists(inner: Any) -> bool:
        first = inner[0] if isinstance(inner, list) and inner else None
        return isinstance(first, dict) and first.keys() >= _KEYS

    if isinstance(value, dict) and (names := [name for name in value if lists(value[name])]):
        notes.append(f"The predictions are those under {', '.join(map(visible, names))}.")
        return [entry for name in names for entry in value[name]]
    if isinstance(value, list) and value and all(map(lists, value)):
        notes.append(f"The predictions are those of all {len(value)} lists in it.")
        return [entry for inner in value for entry in inner]
    return value


def _kind(value: Any) -> str:
    """Returns what a JSON value is, with an article."""
    if isinstance(value, dict):
        pairs = bool(value) and all(name.isdigit() for name in value)
        return "an object" + (" of image ids and categories, it seems" if pairs else "")
    kinds = {str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _hint(raw: bytes) -> str:
    """Guesses what a file that is not JSON is instead."""
    lines = raw.lstrip(b"\xef\xbb\xbf").split(b"\n", 2)
    if len(lines) > 1 and all(line.strip().startswith(b"{") for line in lines[:2]):
        return f"; it looks like one JSON object a line: put them into one list, {FORM}"
    if b"{" not in lines[0] and b"," in lines[0] and b"[" not in lines[0]:
        return f"; it looks like CSV: a submission is JSON, {FORM}"
    return ""


def _pair(entry: Any, notes: list[str] | None) -> tuple[int, int] | None:
    if type(entry) is not dict:
        return None
    ids: list[Any] = [entry.get("image_id"), entry.get("category_id")]
    # Not isinstance: true and false are integers to it.
    if notes is not None and not all(type(one) is int for one in ids):
        ids = [_whole(one) for one in ids]
        notes.append("Ids written as text or with a decimal point were taken as whole numbers.")
    valid = all(type(one) is int and 0 <= one < 2**63 for one in ids)
    return (ids[0], ids[1]) if valid else None


def _whole(value: Any) -> Any:
    """Returns the whole number that ``96.0`` or ``"96"`` stands for, else the value itself."""
    if type(value) is float and value.is_integer() and value < MAX_FLOAT:
        return int(value)
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value


def lookup(known: Ids, wanted: Ids) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Returns where each wanted id stands among the ascending known ones, and whether."""
    position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return position, known[position] == wanted


def some(ids: Ids) -> str:
    """Returns the first ids in words."""
    first = ", ".join(map(str, ids[:SHOWN].tolist()))
    return f"{first}, ..." if len(ids) > SHOWN else first
