"""The routing decisions of a trial, one digit per routed block and image.

routing.json: {"blocks": 8, "images": ["01101100", ...]}
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decathlon.common.errors import ResultError
from decathlon.common.oserrors import explained

MAX_BYTES = 50_000_000

Decisions = NDArray[np.uint8]


def read_decisions(path: Path) -> Decisions:
    """Reads the routing of one trial.

    Returns:
        Images x blocks; 1 where the fine-tuned block was taken.

    Raises:
        ResultError: The file is not a valid routing.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ResultError(f"{path}: too large for routing decisions")
        value = json.loads(path.read_bytes())
        blocks, images = value["blocks"], value["images"]
        if not images or any(len(image) != blocks or set(image) - set("01") for image in images):
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
