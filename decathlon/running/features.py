"""Features of the frozen source network: computed once, and kept in RESULTS/features.

A file is known by the digest of all that its numbers depend on; its header holds that and a digest
of the numbers. A file that says anything else, or is damaged, is computed again.
"""

import hashlib
import sys
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from decathlon.common.errors import DataError
from decathlon.common.files import digest_of
from decathlon.method.code import code_of_network
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import check_sound, read_weights, write_weights
from decathlon.running.run import Run, Trial
from decathlon.training.evaluation import batches, evaluating
from decathlon.training.feed import Feed, statistics_of

FOLDER = "features"
VALUES = "features"
"""Name of the one tensor in a file, N x D, float32, in the order of the split's images."""
SHORT = 16
"""Hex digits of the digest in a file's name."""


def features_of(
    run: Run, trial: Trial, split: str, network: ResidualNetwork, fabric: Fabric
) -> Tensor:
    """Returns what the head of the source network sees of all images of a split.

    Images are cut as in testing, and normalised as the network expects.

    Args:
        run: What the trial belongs to.
        trial: A trial on one domain.
        split: The split.
        network: The source network, with any head.
        fabric: Device and precision.

    Returns:
        N x D, float32, on the CPU.

    Raises:
        DataError: The network's features are not finite.
    """
    (domain,) = trial.domains
    view = run.method.view(run.task(trial, domain), training=False)
    made_for = run.source.architecture.family.input
    feed = Feed(
        run.store, domain, (split,), view, run.method.recipe.batch_size, trial.seed, fabric.device,
        crop=run.config.crop, made_for=made_for,
    )  # fmt: skip
    statistics = statistics_of(run.store, domain, made_for)
    made_from = {
        "source": run.source.sha256,
        "code": code_of_network(run.source.architecture.name).sha256,
        "timm": version("timm") if "timm" in sys.modules else None,
        "data": run.store.domains[domain].splits[split].digest,
        "view": asdict(view),
        "normalised": [list(statistics.mean), list(statistics.std)],
        "precision": fabric.strategy.precision.precision,
    }
    name = f"{domain}-{split}-{digest_of(made_from)[:SHORT]}.safetensors"
    path = run.config.results / FOLDER / name
    known = _read(path, made_from, len(feed.images)) if run.config.cache_features else None
    if known is not None:
        return known
    values = _computed(network, feed, fabric)
    check_sound(run.source.path or path, {VALUES: values})
    if run.config.cache_features:
        header = {"kind": FOLDER, "of": made_from, "sha256": _digest(values)}
        write_weights(path, header, {VALUES: values})
    return values


def _computed(network: ResidualNetwork, feed: Feed, fabric: Fabric) -> Tensor:
    """Runs the network up to its head on all images of a feed, in their order."""
    with evaluating(network, fabric):
        rows = [network.features(batch.images).float().cpu() for _, batch in batches(feed)]
    return torch.cat(rows)


def _read(path: Path, made_from: dict[str, Any], count: int) -> Tensor | None:
    """Reads what was kept; None if there is nothing, or something else."""
    if not path.exists():
        return None
    try:
        header, tensors = read_weights(path)
        values = tensors.get(VALUES, torch.empty(0))
        sound = values.ndim == 2 and len(values) == count and values.dtype == torch.float32
        if sound and header.get("of") == made_from and header.get("sha256") == _digest(values):
            return values
        reason = f"{path}: holds other features than its name says"
    except DataError as error:
        reason = str(error)
    warnings.warn(f"{reason}; they are computed again", stacklevel=2)
    return None


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.contiguous().numpy().tobytes()).hexdigest()
