"""The training loop: one for every method, one domain or several.

A training is a fixed number of steps, cut into phases. Everything that happens at a step
follows from (seed, step): nothing but tensors has to be kept.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.errors import TrialError
from decathlon.method import Batch, Group, Method, Phase
from decathlon.training.device import place
from decathlon.training.feed import Stream, interleaved

Report = Callable[[dict[str, Any]], None]
"""Called once an epoch with what the log keeps: epoch, epochs, loss, lr, images/s."""


class Objective(nn.Module):
    """A method's loss as a module, so that wrappers see one forward call.

    Data-parallel and precision wrappers act on ``forward`` only; therefore the loss is
    computed inside it.
    """

    def __init__(self, method: Method, network: nn.Module) -> None:
        super().__init__()
        self.method, self.network = method, network

    def forward(self, batch: Batch) -> Tensor:
        """Returns the scalar loss of a batch."""
        return self.method.loss(self.network, batch)


@dataclass(frozen=True)
class Schedule:
    """The steps of a training.

    Attributes:
        epochs: Number of epochs.
        steps_per_epoch: Steps in each.
    """

    epochs: int
    steps_per_epoch: int

    @property
    def total(self) -> int:
        """Number of steps."""
        return self.epochs * self.steps_per_epoch

    def at(self, fraction: float) -> int:
        """Returns the step that lies at a fraction of the training."""
        return round(fraction * self.total)

    def rate(self, group: Group, step: int) -> float:
        """Returns a group's learning rate at a step."""
        passed = sum(step >= self.at(milestone) for milestone in group.milestones)
        return group.lr * group.gamma**passed


def schedule_of(method: Method, feeds: Sequence[Stream]) -> Schedule:
    """Returns the steps of a training.

    An epoch is as many steps as a pass over the images of all domains has, or the
    recipe's ``steps_per_epoch``, if that is less.
    """
    steps = sum(feed.steps_per_epoch for feed in feeds)
    steps = min(steps, getattr(method.recipe, "steps_per_epoch", steps))
    return Schedule(method.recipe.epochs, steps)


def train(
    method: Method,
    network: nn.Module,
    feeds: Sequence[Stream],
    fabric: Fabric,
    seed: int,
    report: Report,
) -> nn.Module:
    """Trains a network and returns the final one.

    Args:
        method: Gives loss, phases and the final form.
        network: What the method built; it is changed in place.
        feeds: The training images of each domain.
        fabric: Device and precision.
        seed: Seed of the run.
        report: Called at the end of each epoch.

    Raises:
        TrialError: The loss is no longer a number.
    """
    schedule = schedule_of(method, feeds)
    place(network, fabric.device)
    objective = fabric.setup_module(Objective(method, network))
    tasks = [feed.task for feed in feeds]
    batches = interleaved(feeds, 0, schedule.total, seed)
    clock = _Clock(schedule, report)
    first = 0
    for phase in method.phases(network, tasks):
        last = schedule.at(phase.until)
        optimisers = _begin(phase, fabric)
        network.train()
        for step in range(first, last):
            rates = _set_rates(phase, optimisers, schedule, step)
            batch = next(batches)
            loss = objective(batch)
            fabric.backward(loss)
            for optimiser in optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            clock.step(step, loss.detach(), len(batch.labels), rates)
        first = last
    return method.finalise(network)


def _begin(phase: Phase, fabric: Fabric) -> list[torch.optim.Optimizer]:
    if phase.begin is not None:
        phase.begin()
    groups = [group for group in phase.groups if group.parameters]
    wrapped = [fabric.setup_optimizers(_optimiser(group)) for group in groups]
    return cast(list[torch.optim.Optimizer], wrapped)


def _optimiser(group: Group) -> torch.optim.Optimizer:
    if group.optimiser == "adam":
        return torch.optim.Adam(group.parameters, group.lr, weight_decay=group.weight_decay)
    return torch.optim.SGD(
        group.parameters, group.lr, momentum=group.momentum, weight_decay=group.weight_decay
    )


def _set_rates(
    phase: Phase, optimisers: list[torch.optim.Optimizer], schedule: Schedule, step: int
) -> list[float]:
    groups = [group for group in phase.groups if group.parameters]
    rates = [schedule.rate(group, step) for group in groups]
    for optimiser, rate in zip(optimisers, rates, strict=True):
        optimiser.param_groups[0]["lr"] = rate
    return rates


class _Clock:
    """Sums the loss on the device and reports once an epoch."""

    def __init__(self, schedule: Schedule, report: Report) -> None:
        self.schedule, self.report = schedule, report
        self.sum: Tensor | None = None
        self.images = 0
        self.since = time.perf_counter()

    def step(self, step: int, loss: Tensor, num_images: int, rates: list[float]) -> None:
        self.sum = loss if self.sum is None else self.sum + loss
        self.images += num_images
        steps = self.schedule.steps_per_epoch
        if (step + 1) % steps:
            return
        mean = float(self.sum) / steps
        now = time.perf_counter()
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise TrialError(
                f"the loss is {mean} in epoch {step // steps + 1};"
                " lower the learning rate (--set lr=...) or use --precision 32"
            )
        self.report(
            {
                "epoch": (step + 1) // steps,
                "epochs": self.schedule.epochs,
                "loss": mean,
                "lr": rates,
                "seconds": now - self.since,
                "images_per_s": self.images / (now - self.since),
            }
        )
        self.sum, self.images, self.since = None, 0, now
