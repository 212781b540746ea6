"""Evaluation: every image of a split exactly once, in order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.common.errors import TrialError
from decathlon.data.shard import Int64
from decathlon.method.base import Batch, Method
from decathlon.models.processes import add_up
from decathlon.training.device import to_device
from decathlon.training.distributed.collectives import all_gather
from decathlon.training.feed import Feed

BATCH_SIZE = 256
"""Most images in a batch. Four times as many as in training take less memory than training does,
so a batch size reduced for lack of memory works here too."""

Predict = Callable[[Int64, Batch], tuple[Tensor, Tensor | None]]
Rows = tuple[Int64, Tensor]


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
    """Classifies all images of a feed as a method predicts.

    In data-parallel training ranks divide the work, and each gets the whole result.

    Args:
        method: How the network predicts.
        network: A final network; put in evaluation mode.
        feed: The images.
        fabric: Device and precision.

    Raises:
        TrialError: The network's logits are not finite.
    """
    return classify(lambda _, batch: method.predict(network, batch), network, feed, fabric)


def classify(predict: Predict, network: nn.Module, feed: Feed, fabric: Fabric) -> Evaluation:
    """Classifies all images of a feed; see :func:`evaluate`.

    Args:
        predict: From the positions of some images and their batch to logits and routing.
        network: What it runs.
        feed: The images.
        fabric: Device and precision.

    Raises:
        TrialError: The network's logits are not finite.
    """
    count = len(feed.images)
    predicted = torch.zeros(count, dtype=torch.int64, device=fabric.device)
    routes: list[Rows] = []
    broken = torch.zeros((), dtype=torch.int64, device=fabric.device)
    with evaluating(network, fabric):
        for positions, batch in batches(feed):
            logits, routing = predict(positions, batch)
            predicted[positions] = logits.argmax(1)
            broken += (~logits.isfinite()).any(1).sum()
            if routing is not None:
                routes.append((positions, routing.to(torch.uint8)))
        add_up(predicted)  # One rank classifies an image; all others add 0.
        add_up(broken)
        routing = assembled(routes, count, torch.uint8, fabric.device)
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


@contextmanager
def evaluating(network: nn.Module, fabric: Fabric) -> Iterator[None]:
    """Lets a network predict in the block: on the device, in its precision, without gradients."""
    to_device(network, fabric.device)
    network.eval()
    with torch.inference_mode(), fabric.autocast():
        yield


def batches(feed: Feed) -> Iterator[tuple[Int64, Batch]]:
    """Yields (positions, batch) of a feed in batches for evaluation; of this rank, if several."""
    return feed.evaluation(min(BATCH_SIZE, 4 * feed.batches.batch_size))


def assembled(
    parts: Sequence[Rows], count: int, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """Puts the rows of all batches of all ranks in the order of the images.

    Args:
        parts: Positions of images, and a row for each.
        count: Number of images.
        dtype: Of the rows.
        device: Of the rows.

    Returns:
        A row an image; None where no rank has any.
    """
    columns = max(all_gather(parts[0][1].shape[1] if parts else 0))
    if not columns:
        return None
    whole = torch.zeros((count, columns), dtype=dtype, device=device)
    for positions, rows in parts:
        whole[positions] = rows
    add_up(whole)
    return whole
