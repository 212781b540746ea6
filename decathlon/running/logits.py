"""The logits that ``run --keep-logits`` keeps beside a trial's predictions.

They are not part of the recipe: a trial computes the same with and without them.
"""

from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.data.shard import Int64
from decathlon.method.base import Batch, Method
from decathlon.models.weights import write_weights
from decathlon.results.records import RunRecord
from decathlon.training.evaluation import Evaluation, Rows, assembled, classify
from decathlon.training.feed import Feed

LARGEST = torch.finfo(torch.float16).max


def evaluate_with_logits(
    method: Method, network: nn.Module, feed: Feed, fabric: Fabric
) -> tuple[Evaluation, Tensor]:
    """Classifies all images of a feed as :func:`decathlon.training.evaluation.evaluate` does.

    Returns:
        The predictions, and the logits, N x classes, float16, on the device.

    Raises:
        TrialError: The network's logits are not finite.
    """
    kept: list[Rows] = []

    def predict(positions: Int64, batch: Batch) -> tuple[Tensor, Tensor | None]:
        logits, routing = method.predict(network, batch)
        kept.append((positions, logits.float().clamp(-LARGEST, LARGEST).half()))
        return logits, routing

    found = classify(predict, network, feed, fabric)
    logits = assembled(kept, len(feed.images), torch.float16, fabric.device)
    assert logits is not None
    return found, logits


def write_logits(path: Path, logits: Tensor, record: RunRecord) -> None:
    """Writes logits, whole or not at all; the header names the predictions that they belong to."""
    names = "name method domain split seed subset predictions"
    facts = {name: getattr(record, name) for name in names.split()}
    write_weights(path, {"kind": "logits", **facts}, {"logits": logits})
