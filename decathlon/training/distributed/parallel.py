"""Data-parallel training: several processes that take the steps of one.

Each has a part of every batch. Its loss counts by its share of the batch's images, and
gradients are added up: that is the gradient of the mean over the whole batch, also where
the parts are not equal.
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

PATIENCE = timedelta(minutes=10)
"""A process that is this late is taken for lost."""


class Processes(DDPStrategy):
    """Fabric's processes and devices of DDP, without its wrapper around the network.

    The wrapper fixes at the start which parameters have gradients, and sends gradients
    while others are still computed. Here phases change what learns, networks may compute
    different branches for different images, and a loss may meet the other processes in the
    backward pass, in an order that has to be the same in all of them. Gradients are
    therefore added up when they are all there, by :class:`Exchange`.

    Attributes:
        sync_bn: Batch statistics are those of the whole batch.
    """

    def __init__(self, sync_bn: bool) -> None:
        super().__init__(timeout=PATIENCE)
        self.sync_bn = sync_bn

    def setup_module(self, module: nn.Module) -> Any:
        """Leaves a module as it is, but for its batch normalisations with ``sync_bn``."""
        if self.sync_bn:
            synchronise(module, current_group())
        return module


class Exchange:
    """Adds up the gradients of a phase over all processes, once a step."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        """Prepares for the steps of a phase.

        Args:
            parameters: What learns in it, in the same order in all processes.
        """
        self.parameters = parameters

    def add_up(self, loss: Tensor) -> Tensor:
        """Puts the sum over all processes in the place of each gradient.

        A parameter without a gradient in all processes stays without one: optimisers leave
        it as it is, which with a gradient of zero they would not.

        Args:
            loss: This process's weighted loss, scalar.

        Returns:
            The sum of the losses.
        """
        if num_processes() == 1:
            return loss
        present = loss.new_tensor([float(p.grad is not None) for p in self.parameters])
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        sent = torch.cat([loss[None], present, *(gradient.flatten() for gradient in own)])
        add_up(sent)
        sizes = [1, len(own), *(gradient.numel() for gradient in own)]
        total, owners, *sums = torch.split(sent, sizes)
        for parameter, gradient, owner, value in zip(
            self.parameters, own, owners, sums, strict=True
        ):
            # Looked at only where there is none here: on a GPU a look waits for all of it.
            if parameter.grad is not None or owner > 0:
                parameter.grad = gradient.copy_(value.view_as(gradient))
        return total.squeeze(0)


def begin(network: nn.Module, resume: Resume | None) -> None:
    """Puts a network in the state where training begins or goes on, alike in all processes.

    Batch statistics alone are each process's own.

    Args:
        network: As the method built it; it is changed in place.
        resume: Where an interrupted training goes on.
    """
    if resume is not None:
        network.load_state_dict(resume.part("network"))
        network.load_state_dict(resume.part(_prefix(rank())), strict=False)
    elif num_processes() > 1:
        network.load_state_dict(broadcast_tensors(network.state_dict()))


def statistics_of_others(network: nn.Module) -> dict[str, Tensor]:
    """Returns the buffers of the other processes, as :func:`begin` takes them back."""
    found: dict[str, Tensor] = {}
    for number, buffers in enumerate(all_gather_tensors(dict(network.named_buffers()))):
        if number > 0:
            found |= {f"{_prefix(number)}.{name}": buffer for name, buffer in buffers.items()}
    return found


def _prefix(number: int) -> str:
    return f"process{number}"


def merge_statistics(network: nn.Module) -> None:
    """Puts the mean over all processes in the place of each buffer, in place.

    Each process has seen other images; their mean rests on all of them. Those that are the
    same in all processes stay so bit by bit, as the mean is taken in double precision.
    """
    buffers = list(network.buffers())
    if num_processes() == 1 or not buffers:
        return
    total = torch.cat([buffer.flatten().double() for buffer in buffers])
    add_up(total)
    means = torch.split(total / num_processes(), [buffer.numel() for buffer in buffers])
    for buffer, mean in zip(buffers, means, strict=True):
        buffer.copy_(mean.view_as(buffer))
