"""A narrow source network with random weights, and batches to train on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from decathlon.method.base import Batch, Method, Task
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.testing import OneBatch, made_up_source
from decathlon.training.device import Compute
from decathlon.training.loop import train

TASK = Task("dtd", 4, 100)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return made_up_source(tmp_path, Architecture(width=0.25))


@pytest.fixture
def adapted_source(tmp_path: Path) -> Source:
    return made_up_source(tmp_path, Architecture(width=0.25, adapters="series"))


@pytest.fixture
def batch() -> Batch:
    return OneBatch(TASK, 1).batch


@pytest.fixture
def trained() -> Callable[[Method, torch.nn.Module, int], torch.nn.Module]:
    """Trains a network for some steps on one batch."""

    def run(method: Method, network: torch.nn.Module, steps: int) -> torch.nn.Module:
        fabric = Compute("cpu", "32").fabric()
        assert method.recipe.epochs == 1
        return train(method, network, [OneBatch(TASK, steps)], fabric, 0, lambda facts: None)

    return run
