"""Sums over the processes of a data-parallel training, which gradients may flow through.

Where there is one process only, nothing here does anything.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch import Tensor, autograd

_groups: list[dist.ProcessGroup] = []


class PartedError(Exception):
    """Another process has left a common computation, or does not answer."""


def num_processes() -> int:
    """Returns the number of processes that compute together."""
    started = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if started else 1


def rank() -> int:
    """Returns the number of this process; 0 is the first."""
    return dist.get_rank() if num_processes() > 1 else 0


def enter(timeout: timedelta, backend: str | None = None) -> None:
    """Lets the processes meet in a new group from now on; all have to call it.

    Args:
        timeout: How long one waits for another.
        backend: E.g. ``gloo``; by default that of torch's default group.
    """
    group = dist.new_group(timeout=timeout, backend=backend)
    assert isinstance(group, dist.ProcessGroup)
    _groups.append(group)


def leave() -> dist.ProcessGroup:
    """Lets the processes meet in the group before; returns the one they met in."""
    return _groups.pop()


def disband() -> None:
    """Ends all groups."""
    _groups.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def current_group() -> dist.ProcessGroup | None:
    """Returns the group in which the processes meet; None for torch's default."""
    return _groups[-1] if _groups else None


def meet(collective: Callable[..., Any], *arguments: Any) -> None:
    """Runs one of torch's collectives in the current group.

    Args:
        collective: E.g. ``torch.distributed.all_reduce``.
        arguments: What it takes beside the group.

    Raises:
        PartedError: Another process is not there.
    """
    try:
        collective(*arguments, group=current_group())
        return
    except RuntimeError as error:
        said = str(error)
    # Not inside the handler: the error's frames hold the group, which has to close when it
    # is let go, so that those who wait in it notice.
    raise PartedError(said)


def add_up(x: Tensor) -> None:
    """Puts the sum over all processes in the place of a tensor."""
    if num_processes() > 1:
        meet(dist.all_reduce, x)


def mean_over_processes(x: Tensor, share: float | None = None) -> Tensor:
    """Averages a tensor over all processes, differentiably.

    Where each process's loss is weighted by its share of the images and gradients are
    added up, a loss of this mean has the gradient that one process with all the images
    would give.

    Args:
        x: A mean over this process's images, of the same shape in every process.
        share: This process's share of the images (``Batch.share``); shares add up to 1. By
            default all are equal.

    Returns:
        The mean over all images; the tensor itself where there is one process only.
    """
    size = num_processes()
    if size == 1:
        return x
    total: Tensor = _Sum.apply(x * (1 / size if share is None else share))
    return total


class _Sum(autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        add_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        add_up(total)
        return total
