"""The routing decisions of a trial, one digit per routed block and image.

routing.json: {"blocks": 8, "images": ["01101100", ...]}
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decathlon.common.errors import ResultError
from decathlon.common.oserrors import explained
from decathlon.results.records import RunRecord

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
