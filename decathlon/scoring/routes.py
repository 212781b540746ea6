"""The routing decisions of a trial, one digit per routed block and image.

routing.json: {"blocks": 8, "images": ["01101100", ...]}
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decathlon.common.errors import ResultError
from decathlon.common.oserrors import explained
from decathlon.results.records import ROUTING, RunRecord
from decathlon.scoring.entries import Entry
from decathlon.suites.base import Suite

MAX_BYTES = 50_000_000
MAX_BLOCKS = 1000
"""Routed blocks where the record does not name the network's."""

Decisions = NDArray[np.uint8]


def read_decisions(path: Path, record: RunRecord) -> Decisions:
    """Reads the routing of one trial.

    Args:
        path: The file.
        record: The trial's record, whose images and blocks the file has to have.

    Returns:
        Images x blocks; 1 where the fine-tuned block was taken.

    Raises:
        ResultError: The file is not a valid routing, or not the trial's.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise ResultError(
                f"{path}: not a file of routing decisions; run the trial again with --force"
            )
        value = json.loads(path.read_bytes())
        blocks, images = value["blocks"], value["images"]
        known = sum((record.network or {}).get("blocks", [])) or MAX_BLOCKS
        if isinstance(blocks, bool) or not isinstance(blocks, int) or not 1 <= blocks <= known:
            raise ValueError(f"{blocks!r} routed blocks, of a network of {known}")
        if not isinstance(images, list) or not images:
            raise ValueError("it has no images")
        if record.total not in (None, len(images)):
            raise ValueError(f"it has {len(images)} images, the record {record.total}")
        if any(not isinstance(i, str) or len(i) != blocks or set(i) - set("01") for i in images):
            raise ValueError(f"an image has not {blocks} digits 0 or 1")
    except OSError as error:
        raise ResultError(explained(error, path, failed="cannot be read")) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultError(
            f"{path}: not a record of routing ({type(error).__name__}: {error});"
            " run the trial again with --force"
        ) from None
    digits = np.frombuffer("".join(images).encode("ascii"), dtype=np.uint8)
    return (digits - ord("0")).reshape(len(images), blocks)


def is_routed(results: Path, entry: Entry) -> bool:
    """Returns whether any trial of an entry has recorded its routing."""
    return any((results / record.folder / ROUTING).exists() for record in entry.used)


def decisions_of(results: Path, entry: Entry, suite: Suite) -> dict[str, Decisions]:
    """Reads the routing of one entry by domain, all seeds together.

    Raises:
        ResultError: There is none, or a domain's seeds have other numbers of blocks.
    """
    found: dict[str, list[Decisions]] = {}
    for record in entry.used:
        path = results / record.folder / ROUTING
        if path.exists():
            found.setdefault(record.domain, []).append(read_decisions(path, record))
    if not found:
        raise ResultError(
            f"'{entry.label}' has no {ROUTING}: only methods that route images between frozen and"
            " fine-tuned blocks, as spottune does, have policies to plot"
        )
    for domain, parts in found.items():
        if len({part.shape[1] for part in parts}) > 1:
            raise ResultError(
                f"'{entry.label}': the seeds of {domain} route different numbers of blocks"
            )
    return {name: np.concatenate(found[name]) for name in suite.in_order(found)}


def stages_of(entry: Entry, num_blocks: int) -> list[tuple[int, int]]:
    """Returns (number of the stage, routed blocks in it), in order, or nothing if unknown.

    The routed blocks are the network's last: a first stage may be frozen.

    Args:
        entry: The entry, whose records name the blocks in each stage of the network.
        num_blocks: Number of routed blocks.
    """
    blocks = (entry.setup.network or {}).get("blocks")
    if not isinstance(blocks, list) or not all(isinstance(count, int) for count in blocks):
        return []
    left, found = num_blocks, []
    for number in range(len(blocks), 0, -1):
        taken = min(left, blocks[number - 1])
        if taken > 0:
            found.append((number, taken))
        left -= taken
    return found[::-1] if left == 0 else []
