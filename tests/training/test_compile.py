"""Training with torch.compile; here with the compiler that changes nothing but the way."""

from pathlib import Path

import pytest
import torch
from torch import nn

from decathlon.data.reading.store import open_store
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.models.weights import read_source
from decathlon.suites.visual_decathlon import AUGMENTED
from decathlon.training.device import Compute
from decathlon.training.feed import Feed
from decathlon.training.loop import train


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's tracing looks at it
@pytest.mark.parametrize("name", ["fine-tuning", pytest.param("spottune", marks=pytest.mark.slow)])
def test_a_compiled_network_learns_the_same(
    tiny: Path, tiny_source: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []

    def compile_(self: nn.Module) -> None:
        compiled.append(self)
        self._compiled_call_impl = torch.compile(self._call_impl, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_)
    kind = find(name)
    method = kind(apply(kind.recipes, {"epochs": 1, "batch_size": 8}, name))
    cpu = torch.device("cpu")
    found = []
    for wanted in (False, True):
        view = AUGMENTED.train
        feed = Feed(open_store(tiny), "dtd", ("train",), view, 8, 0, cpu)
        torch.manual_seed(0)
        network = method.build(read_source(tiny_source), [feed.task])
        fabric = Compute("cpu", "32", compiled=wanted).fabric()
        train(method, network, [feed], fabric, 0, lambda facts: None, compiled=wanted)
        found.append(network.state_dict())
    assert len(compiled) == 1
    assert found[0].keys() == found[1].keys()
    torch.testing.assert_close(found[1], found[0])
