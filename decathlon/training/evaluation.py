"""Evaluation: every image of a split exactly once, in order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn

from decathlon.common.errors import TrialError
from decathlon.method.base import Method
from decathlon.models.processes import add_up
from decathlon.training.device import to_device
from decathlon.training.distributed.collectives import all_gather
from decathlon.training.feed import Feed

BATCH_SIZE = 256
"""Most images in a batch. Four times as many as in training take less memory than training does,
so a batch size reduced for lack of memory works here too."""


@dataclass(frozen=True)
class Evaluation:
    """A network's predictions for a split.

    Attributes:
        predicted: Predicted labels, N, int64.
        labels: True labels, N, int64; -1 where unknown.
        routing: Tuned (1) or frozen (0) path, N x L, uint8; None without routing.
    """

    predicted: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    routing: npt.NDArray[np.uint8] | None

    @property
    def correct(self) -> npt.NDArray[np.bool_] | None:
        """Whether each image is classified correctly; None if any label is unknown."""
        return None if (self.labels < 0).any() else self.predicted == self.labels


def evaluate(method: Method, network: nn.Module, feed: Feed, fabric: Fabric) -> Evaluation:
    """Classifies all images of a feed.

    In data-parallel training ranks divide the work, and each gets the whole result.

    Args:
        method: How the network predicts.
        network: A final network; put in evaluation mode.
        feed: The images.
        fabric: Device and precision.

    Raises:
        TrialError: The network's logits are not finite.
    """
    to_device(network, fabric.device)
    network.eval()
    count = len(feed.images)
    predicted = torch.zeros(count, dtype=torch.int64, device=fabric.device)
    routing = None
    broken = torch.zeros((), dtype=torch.int64, device=fabric.device)
    with torch.inference_mode(), fabric.autocast():
        for positions, batch in feed.evaluation(min(BATCH_SIZE, 4 * feed.batches.batch_size)):
            logits, routes = method.predict(network, batch)
            predicted[positions] = logits.argmax(1)
            broken += (~logits.isfinite()).any(1).sum()
            if routes is not None:
                if routing is None:
                    routing = routes.new_zeros((count, routes.shape[1]), dtype=torch.uint8)
                routing[positions] = routes.to(torch.uint8)
        # One rank classifies an image; all others add 0.
        add_up(predicted)
        add_up(broken)
        blocks = max(all_gather(0 if routing is None else routing.shape[1]))
        if blocks:
            if routing is None:  # this rank had no batch
                routing = predicted.new_zeros((count, blocks), dtype=torch.uint8)
            add_up(routing)
    if broken:
        raise TrialError(
            f"{feed.domain}: the network's logits are NaN or infinite for {int(broken)} of {count}"
            " images, so that its predictions mean nothing; lower the learning rate (--set lr=...),"
            " use --precision 32, or start from another source"
        )
    return Evaluation(
        predicted.cpu().numpy(),
        feed.images.labels,
        None if routing is None else routing.cpu().numpy(),
    )
