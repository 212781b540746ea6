"""BitFit: biases, normalisations and head move; everything else keeps the source's bits."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from decathlon_methods.bitfit import BitFit
from torch import nn

from decathlon.method.base import Method, Task
from decathlon.method.recipe import apply
from decathlon.models.layers import batch_norms
from decathlon.models.networks import Architecture, find, registered
from decathlon.models.weights import Source

TASK = Task("dtd", 4, 100)
BARE = """
from torch import nn

from decathlon.models.networks import Family
from decathlon.models.residual import ResidualNetwork, WholeBlock


def build(width, blocks, classes):
    stem = nn.Conv2d(3, 8, 3, bias=False)
    block = WholeBlock(nn.Conv2d(8, 8, 3, padding=1, bias=False))
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ResidualNetwork(stem, [[block]], tail, 8, classes)


FAMILY = Family("bare", build, (1,), ("resnet26", (1,)))
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A source of an installed network that has neither biases nor normalisations."""
    facts = tmp_path / "bare-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: bare\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[decathlon.networks]\nbare = bare_network:FAMILY\n")
    (tmp_path / "bare_network.py").write_text(BARE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for cached in (registered, find):
        cached.cache_clear()
    yield Source(Architecture("bare"), 4)
    for cached in (registered, find):
        cached.cache_clear()


def test_all_but_biases_normalisations_and_head_stays_bit_by_bit(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    method = BitFit(apply(BitFit.recipes, {"epochs": 1, "lr": 0.005}, "bitfit"))
    network = method.build(source, [TASK])
    norms = {id(p) for layer in batch_norms(network) for p in layer.parameters()}
    meant = {n for n, p in network.named_parameters() if id(p) in norms or n.endswith("bias")}
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    after = trained(method, network, 4).state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == meant | {"head.weight"}
    places = {stored.name: stored.place for stored in method.stored(network)}
    assert {n for n, place in places.items() if place == "domain"} == meant - {"head.bias"}


def test_a_network_without_any_is_refused_by_name(bare: Source) -> None:
    assert BitFit.refusal(bare) == "a bare has neither biases nor normalisations to train"
