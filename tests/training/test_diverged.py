"""A training whose numbers are none any more ends, and its last good state stays."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import TrialError
from decathlon.common.world import ALONE
from decathlon.data.reading.store import open_store
from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import Recipe
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.suites.visual_decathlon import AUGMENTED
from decathlon.testing import OneBatch
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute
from decathlon.training.evaluation import evaluate
from decathlon.training.feed import Feed
from decathlon.training.loop import train

BROKEN_AT = 4
STEPS = 10
TASK = Task("dtd", 4, 100)


class Diverging(Method):
    """Its loss, or else one weight, is NaN from a step on."""

    where = "loss"

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        loss = super().loss(network, batch)
        if batch.progress < BROKEN_AT / STEPS:
            return loss
        return loss * torch.nan if self.where == "loss" else loss

    def phases(self, network: nn.Module, tasks: Any) -> Any:
        if self.where == "weight":
            weight = next(network.parameters())
            step = [0]

            def spoil(gradient: Tensor) -> Tensor:
                step[0] += 1
                return gradient if step[0] < BROKEN_AT else gradient * torch.inf

            weight.register_hook(spoil)
        return super().phases(network, tasks)


def run(
    folder: Path, where: str, steps: int, reports: list[dict[str, Any]], seconds: float = 0
) -> Checkpoints:
    method = Diverging(Recipe(epochs=1, batch_size=16))
    method.where = where
    checkpoints = Checkpoints(folder, {}, every_seconds=seconds)
    network = method.build(Source(Architecture(width=0.25), 4), [TASK])
    fabric = Compute("cpu", "32").fabric()
    train(method, network, [OneBatch(TASK, steps)], fabric, 0, reports.append, checkpoints)
    return checkpoints


@pytest.mark.parametrize("where", ["loss", "weight"])
def test_what_is_no_number_is_not_checkpointed(tmp_path: Path, where: str) -> None:
    reports: list[dict[str, Any]] = []
    with pytest.raises(
        TrialError, match=r"in epoch 1; lower the learning rate .*now lr=0.1, weight"
    ):
        run(tmp_path / "c", where, STEPS, reports)
    assert reports == []
    resume = Checkpoints(tmp_path / "c", {}).latest()
    assert resume is not None
    assert resume.step == BROKEN_AT - (where == "weight")
    assert all(tensor.isfinite().all() for tensor in resume.tensors.values())


def test_weights_that_the_very_last_step_spoils_are_said(tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    with pytest.raises(TrialError, match="size of the weights is"):
        run(tmp_path / "c", "weight", BROKEN_AT, reports, seconds=3600)
    assert [facts["epoch"] for facts in reports] == [1]


class Speechless(Method):
    """Its logits are not finite for the last images."""

    worst = torch.nan

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        logits = self.logits(network, batch)
        logits[-1, 0] = self.worst
        return logits, None


@pytest.mark.parametrize("worst", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_no_result(tiny: Path, worst: float) -> None:
    store, device = open_store(tiny), torch.device("cpu")
    method = Speechless(Recipe(epochs=1, batch_size=16))
    method.worst = worst
    feed = Feed(store, "dtd", ("test",), AUGMENTED.test, 256, 0, device, ALONE)
    network = method.build(Source(Architecture(width=0.25), 4), [feed.task])
    with pytest.raises(TrialError, match=rf"dtd: .* NaN or infinite for 1 of {len(feed.images)} "):
        evaluate(method, network, feed, Compute("cpu", "32").fabric())


def test_batch_statistics_that_are_none_are_not_kept(tmp_path: Path) -> None:
    class Overflowing(Method):
        def loss(self, network: nn.Module, batch: Batch) -> Tensor:
            loss = super().loss(network, batch)
            next(iter(network.buffers())).data.fill_(torch.inf)
            return loss

    method = Overflowing(Recipe(epochs=1, batch_size=16))
    network = method.build(Source(Architecture(width=0.25), 4), [TASK])
    fabric, stream = Compute("cpu", "32").fabric(), OneBatch(TASK, 2)
    with pytest.raises(TrialError, match="size of the weights is"):
        train(method, network, [stream], fabric, 0, lambda facts: None)
