"""What a trial's logits say beyond its predictions: top-5 accuracy and calibration."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from decathlon.common.errors import ResultError
from decathlon.common.oserrors import explained
from decathlon.results.records import LOGITS, RunRecord
from decathlon.scoring.predictions import Ids

BINS = 15
"""As Guo et al. (On Calibration of Modern Neural Networks, ICML 2017) report it."""
TOP = 5

Logits = NDArray[np.float32]


class Bin(NamedTuple):
    """Images whose predictions are about equally confident.

    Attributes:
        confidence: Mean probability of the predicted class, in percent.
        accuracy: Share that is right, in percent.
        total: Images.
    """

    confidence: float
    accuracy: float
    total: int


@dataclass(frozen=True)
class Calibration:
    """How well a network's probabilities agree with its accuracy.

    Attributes:
        error: Expected calibration error in accuracy points (Guo et al., equation 3).
        bins: The bins with images, of :data:`BINS` of equal width.
    """

    error: float
    bins: tuple[Bin, ...]


def read_logits(folder: Path, record: RunRecord, count: int) -> Logits | None:
    """Reads the logits that ``run --keep-logits`` kept; None if there are none.

    Args:
        folder: The trial's folder.
        record: Its record.
        count: Number of its predictions.

    Returns:
        Images x classes, in the order of ``predictions.json`` and of the labels.

    Raises:
        ResultError: The file is damaged, or of other predictions than the record's.
    """
    path = folder / LOGITS
    if not path.exists():
        return None
    mend = "run the trial again with --force and --keep-logits"
    try:
        if not path.is_file():
            raise ResultError(f"{path}: is not a regular file")
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["decathlon"])
            found = file.get_tensor("logits")
        if header["kind"] != "logits" or header["predictions"] != record.predictions:
            raise ResultError(f"{path}: belongs to other predictions than the record; {mend}")
        if found.shape != (count, record.num_classes):
            raise ValueError(f"{found.shape}, not {count} images x {record.num_classes} classes")
        if not np.isfinite(found).all():
            raise ValueError("not all are finite")
    except OSError as error:
        raise ResultError(explained(error, path, failed="cannot be read")) from None
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultError(
            f"{path}: holds no logits of this trial ({type(error).__name__}: {error}); {mend}"
        ) from None
    logits: Logits = found.astype(np.float32)
    return logits


def top_accuracy(logits: Logits, truth: Ids) -> float | None:
    """Returns the share of images, in percent, whose class is among the five likeliest.

    None where there are no more classes than that.
    """
    if logits.shape[1] <= TOP:
        return None
    own = np.take_along_axis(logits, truth[:, None], axis=1)
    return 100 * float(((logits > own).sum(axis=1) < TOP).mean())


def calibration_of(logits: Logits, right: NDArray[np.bool_]) -> Calibration:
    """Compares the confidence of predictions with how often they are right.

    Args:
        logits: N x classes.
        right: Whether each image is classified correctly, N.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)
    place = np.ceil(confidence * BINS).astype(int)
    bins = tuple(
        Bin(100 * float(confidence[own].mean()), 100 * float(right[own].mean()), int(own.sum()))
        for own in (place == number for number in range(1, BINS + 1))
        if own.any()
    )
    gaps = (one.total * abs(one.accuracy - one.confidence) for one in bins)
    return Calibration(sum(gaps) / len(right), bins)
