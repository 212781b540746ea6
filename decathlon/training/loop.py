"""The training loop: one for every method, one domain or several.

A training is a fixed number of steps, divided into phases. All randomness of a step is a function
of (seed, step), so that a checkpoint holds tensors and no generator state.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.common.errors import TrialError
from decathlon.common.interrupts import deferring
from decathlon.method.base import Batch, Group, Method, Task
from decathlon.method.recipe import Recipe
from decathlon.suites.base import DEFAULT
from decathlon.training.checkpoints import Checkpoints, Due, Resume
from decathlon.training.device import to_device
from decathlon.training.distributed.collectives import broadcast
from decathlon.training.distributed.parallel import (
    all_reduce_gradients,
    average_buffers,
    buffers_of_other_ranks,
    load_start,
)
from decathlon.training.feed import Stream, interleaved
from decathlon.training.frozen import FrozenBeginning
from decathlon.training.optimisers import Optimisers

Report = Callable[[dict[str, Any]], None]
"""Called once an epoch with an entry for the log: epoch, epochs, loss, lr, images/s."""


class Objective(nn.Module):
    """A method's loss as a module: fabric's wrappers for precision act on ``forward`` only."""

    def __init__(
        self, method: Method, network: nn.Module, beginning: FrozenBeginning | None = None
    ) -> None:
        super().__init__()
        self.method, self.network, self.beginning = method, network, beginning

    def forward(self, batch: Batch) -> Tensor:
        """Returns the scalar loss of a batch."""
        with self.beginning.known(batch) if self.beginning else nullcontext():
            return self.method.loss(self.network, batch)


@dataclass(frozen=True)
class Schedule:
    """The steps of a training.

    Attributes:
        total: Number of steps.
        steps_per_epoch: Steps in an epoch; the last epoch may be shorter.
    """

    total: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Number of epochs, the last one included."""
        return -(-self.total // self.steps_per_epoch)

    def at(self, fraction: float) -> int:
        """Returns the step at a fraction of the training."""
        return round(fraction * self.total)

    def rate(self, group: Group, step: int) -> float:
        """Returns a group's learning rate at a step."""
        warm = self.at(group.warm_up)
        if step < warm:
            return group.lr * (step + 1) / (warm + 1)
        if group.schedule == "cosine":
            return group.lr * (1 + math.cos(math.pi * (step - warm) / (self.total - warm))) / 2
        passed = sum(step >= self.at(milestone) for milestone in group.milestones)
        return group.lr * group.gamma**passed


def schedule_of(recipe: Recipe, steps: Sequence[int]) -> Schedule:
    """Returns the steps of a training.

    An epoch is one pass over the images of all domains, or the recipe's ``steps_per_epoch`` if
    that is less.

    Args:
        recipe: Gives the length in epochs or in steps.
        steps: Steps in a pass over the images of each domain.
    """
    per_epoch = min(sum(steps), recipe.steps_per_epoch or sum(steps))
    total = recipe.steps or (recipe.epochs or 1) * per_epoch
    return Schedule(total, min(per_epoch, total))


def train(
    method: Method,
    network: nn.Module,
    feeds: Sequence[Stream],
    fabric: Fabric,
    seed: int,
    report: Report,
    checkpoints: Checkpoints | None = None,
    resume: Resume | None = None,
    compiled: bool = False,
    beginning: FrozenBeginning | None = None,
) -> nn.Module:
    """Trains a network and returns the final one; in data-parallel training all ranks call this.

    Args:
        method: Gives loss, phases and the final form.
        network: What the method built; changed in place.
        feeds: The training images of each domain.
        fabric: Device and precision.
        seed: Seed of the run.
        report: Called at the end of each epoch.
        checkpoints: Writes the state from time to time; None to write none.
        resume: Where to resume; the result is the same bit for bit as without the interruption.
        compiled: Compile the network's forward pass with torch.compile.
        beginning: Layers of the network that are computed once for each crop; None for none.

    Raises:
        TrialError: Loss or weights are NaN or infinite. Checkpoints are from before that.
        UsageError: There is no memory to keep what ``beginning`` computes.
        KeyboardInterrupt: A signal has arrived; a checkpoint of the last whole step is written.
    """
    schedule = schedule_of(method.recipe, [feed.steps_per_epoch for feed in feeds])
    load_start(network, resume)
    to_device(network, fabric.device)
    if compiled:
        network.compile()
    objective = fabric.setup_module(Objective(method, network, beginning))
    start = resume.step if resume is not None else 0
    batches = interleaved(feeds, start, schedule.total, seed)
    tasks = [feed.task for feed in feeds]
    clock = _Clock(schedule, report, resume, _suspects(method, tasks))
    first = 0
    with deferring() as defer:
        for number, phase in enumerate(method.phases(network, tasks)):
            last = schedule.at(phase.until)
            if start < last:
                if phase.begin is not None:
                    phase.begin()
                optimisers = Optimisers(phase, fabric)
                learning = optimisers.parameters
                if resume is not None and first < start:
                    optimisers.restore(resume.part("optimiser"))
                network.train()
                if checkpoints is not None and not compiled:
                    defer()
                for step in range(max(first, start), last):
                    rates = [schedule.rate(group, step) for group in optimisers.groups]
                    optimisers.set_rates(rates)
                    batch = replace(next(batches), phase=number, step=step)
                    loss = objective(batch) * batch.share
                    fabric.backward(loss)
                    loss = all_reduce_gradients(learning, loss.detach())
                    optimisers.step()
                    clock.step(step, loss, round(len(batch.labels) / batch.share), rates)
                    if checkpoints is not None:
                        defer()
                        _keep(checkpoints, step + 1, network, optimisers, clock)
            first = last
    clock.check(network.state_dict())
    average_buffers(network)
    return method.finalise(network)


def _keep(
    checkpoints: Checkpoints, step: int, network: nn.Module, optimisers: Optimisers, clock: "_Clock"
) -> None:
    """Writes a checkpoint if one is due after a step.

    Raises:
        KeyboardInterrupt: A signal has arrived, on this rank or another.
    """
    due = checkpoints.due(step, last=step == clock.schedule.total)
    if due is Due.NOTHING:
        return
    state = {f"network.{n}": t for n, t in network.state_dict().items()}
    state |= {f"optimiser.{n}": t for n, t in optimisers.tensors().items()}
    clock.check(state)
    state |= clock.tensors() | buffers_of_other_ranks(network)
    try:
        checkpoints.save(step, state, clock.facts())
    except OSError as error:
        if due is not Due.END:
            raise
        warnings.warn(f"no checkpoint of step {step}: {error}; the one before stays", stacklevel=2)
    if due is Due.END:
        broadcast(None)  # waits for rank 0 to write: torchrun kills all ranks when one exits
        raise KeyboardInterrupt


class _Clock:
    """Sums the loss on the device and reports once an epoch."""

    def __init__(
        self, schedule: Schedule, report: Report, resume: Resume | None, suspects: str
    ) -> None:
        self.schedule, self.report, self.suspects = schedule, report, suspects
        self.sum: Tensor | None = resume.tensors.get("clock.sum") if resume else None
        self.images = int(resume.facts["images"]) if resume else 0
        self.epoch = int(resume.facts["epoch"]) if resume else 0
        self.since = time.perf_counter() - (float(resume.facts["seconds"]) if resume else 0.0)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state of the current epoch that is in tensors."""
        return {} if self.sum is None else {"clock.sum": self.sum}

    def facts(self) -> dict[str, Any]:
        """Returns the state of the current epoch that is in numbers."""
        seconds = time.perf_counter() - self.since
        return {"epoch": self.epoch, "images": self.images, "seconds": seconds}

    def step(self, step: int, loss: Tensor, num_images: int, rates: list[float]) -> None:
        """Counts a step, and reports at the end of an epoch."""
        self.sum = loss if self.sum is None else self.sum + loss
        self.images += num_images
        done, of_epoch = step + 1, self.schedule.steps_per_epoch
        if done % of_epoch and done < self.schedule.total:
            return
        self.epoch = -(-done // of_epoch)
        mean = float(self.sum) / (step % of_epoch + 1)
        now = time.perf_counter()
        if not math.isfinite(mean):
            raise self._diverged(f"the loss is {mean}", self.epoch)
        self.report(
            {
                "epoch": self.epoch,
                "epochs": self.schedule.epochs,
                "loss": mean,
                "lr": rates,
                "seconds": now - self.since,
                "images_per_s": self.images / (now - self.since),
            }
        )
        self.sum, self.images, self.since = None, 0, now

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Checks that the losses since the last report, and all tensors of a state, are finite.

        Raises:
            TrialError: They are not; the state must not be written to a checkpoint.
        """
        epoch = self.epoch + (self.sum is not None)
        if self.sum is not None and not math.isfinite(float(self.sum)):
            raise self._diverged(f"the loss is {float(self.sum)}", epoch)
        numbers = [t for t in state.values() if t.is_floating_point() and t.numel()]
        size = float(nn.utils.get_total_norm(numbers, math.inf))
        if not math.isfinite(size):
            raise self._diverged(f"the size of the weights is {size}", epoch)

    def _diverged(self, what: str, epoch: int) -> TrialError:
        return TrialError(
            f"{what} in epoch {epoch}; lower the learning rate (--set lr=...), change another"
            f" setting that can cause this (now {self.suspects}), or use --precision 32;"
            " without a change, the next run ends in the same way"
        )


def _suspects(method: Method, tasks: Sequence[Task]) -> str:
    """Lists the settings that can make a training diverge, with their values."""
    found = method.recipe.unbounded(tasks[0].domain if len(tasks) == 1 else DEFAULT)
    return ", ".join(f"{name}={value:g}" for name, value in found.items())
