"""Data-parallel training: several ranks take the steps of one.

Each rank has a part of every batch. Its loss is weighted by its part of the batch's images, and
gradients are summed over ranks. The sum is the gradient of the mean over the whole batch, also
where the parts are not equal.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from decathlon.models.layers import synchronise
from decathlon.models.processes import add_up, current_group, num_processes, rank
from decathlon.training.checkpoints import Resume
from decathlon.training.distributed.collectives import all_gather_tensors, broadcast_tensors

TIMEOUT = timedelta(minutes=10)
"""A rank that is this late counts as lost."""


class DataParallel(DDPStrategy):
    """Fabric's DDP strategy without the wrapper around the network.

    The wrapper fixes at the start which parameters have gradients, and sends gradients while
    others are still being computed. Here phases change which parameters learn, networks may
    compute different branches for different images, and a loss may use collectives in the
    backward pass, whose order has to be the same on all ranks. :func:`all_reduce_gradients`
    therefore sums gradients after the backward pass.

    Attributes:
        sync_bn: Batch normalisation uses the statistics of the whole batch.
    """

    def __init__(self, sync_bn: bool) -> None:
        super().__init__(timeout=TIMEOUT)
        self.sync_bn = sync_bn

    def setup_module(self, module: nn.Module) -> Any:
        """Leaves a module as it is, except for batch normalisation with ``sync_bn``."""
        if self.sync_bn:
            synchronise(module, current_group())
        return module


def all_reduce_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Replaces each gradient by its sum over all ranks.

    A parameter that has no gradient on any rank still has none: optimisers skip it, which they
    would not with a gradient of zero.

    Args:
        parameters: The phase's parameters, in the same order on all ranks.
        loss: This rank's weighted loss, scalar.

    Returns:
        The sum of the losses.
    """
    if num_processes() == 1:
        return loss
    present = loss.new_tensor([float(p.grad is not None) for p in parameters])
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    sent = torch.cat([loss[None], present, *(gradient.flatten() for gradient in own)])
    add_up(sent)
    sizes = [1, len(own), *(gradient.numel() for gradient in own)]
    total, owners, *sums = torch.split(sent, sizes)
    for parameter, gradient, owner, value in zip(parameters, own, owners, sums, strict=True):
        # Reading `owner` makes the host wait for the GPU: only where it is needed.
        if parameter.grad is not None or owner > 0:
            parameter.grad = gradient.copy_(value.view_as(gradient))
    return total.squeeze(0)


def load_start(network: nn.Module, resume: Resume | None) -> None:
    """Loads the state where training starts or resumes, the same on all ranks.

    Only batch statistics differ between ranks.

    Args:
        network: As the method built it; changed in place.
        resume: Where an interrupted training resumes.
    """
    if resume is not None:
        network.load_state_dict(resume.part("network"))
        network.load_state_dict(resume.part(_prefix(rank())), strict=False)
    elif num_processes() > 1:
        network.load_state_dict(broadcast_tensors(network.state_dict()))


def buffers_of_other_ranks(network: nn.Module) -> dict[str, Tensor]:
    """Returns the buffers of all ranks but 0 by the names that :func:`load_start` looks for."""
    found: dict[str, Tensor] = {}
    for number, buffers in enumerate(all_gather_tensors(dict(network.named_buffers()))):
        if number > 0:
            found |= {f"{_prefix(number)}.{name}": buffer for name, buffer in buffers.items()}
    return found


def _prefix(number: int) -> str:
    return f"process{number}"


def average_buffers(network: nn.Module) -> None:
    """Replaces each buffer by its mean over all ranks, in place.

    Each rank's batch statistics come from other images; the mean uses all of them. It is taken
    in double precision, so that buffers that are equal on all ranks do not change by a bit.
    """
    buffers = list(network.buffers())
    if num_processes() == 1 or not buffers:
        return
    total = torch.cat([buffer.flatten().double() for buffer in buffers])
    add_up(total)
    means = torch.split(total / num_processes(), [buffer.numel() for buffer in buffers])
    for buffer, mean in zip(buffers, means, strict=True):
        buffer.copy_(mean.view_as(buffer))
