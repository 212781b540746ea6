"""On a narrow ResNet-50 under the fine-grained recipe, every method learns: its loss falls."""

import pytest
import torch
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import nn
from torch.nn.functional import cross_entropy

from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.method.registry import find, registered
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.suites import registry as suites
from decathlon.testing import OneBatch, made_up_source
from decathlon.training.device import Compute
from decathlon.training.loop import train

NETWORK = Architecture("resnet50", width=0.125)
SUITE = suites.find("fine-grained")
QUICK = {"steps": 30, "lr": 0.02, "head_lr": 0.05}
"""Rates for random weights, which the suite's are not meant for."""
REFUSING = {
    "dan",
    "series-adapters",
    "series-adapters-decay",
    "series-adapters-finetune-all",
    "series-adapters-large",
}

TAKING = [name for name in registered() if name not in REFUSING]


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return made_up_source(tmp_path_factory.mktemp("source"), NETWORK)


def loss(method: Method, network: nn.Module, batch: Batch) -> float:
    """Cross-entropy with the statistics of the batch: running ones lag behind in 30 steps.

    Of routed networks, under the decisions of training.
    """
    with torch.no_grad():
        if isinstance(network, RoutedNetwork):
            return float(method.loss(network.train(), batch))
        logits, _ = method.predict(network.train(), batch)
    return float(cross_entropy(logits, batch.labels))


@pytest.mark.parametrize("name", [name for name in TAKING if not find(name).trained_by])
def test_every_method_learns_on_the_fine_grained_suite(name: str, resnet50: Source) -> None:
    kind, stream = find(name), OneBatch(Task("cubs", 4, 16), 30)
    method = kind(apply(kind.recipes, QUICK, name, SUITE))
    torch.manual_seed(0)
    network = method.build(resnet50, [stream.task])
    before = loss(method, network, stream.batch)
    fabric = Compute("cpu", "32").fabric()
    final = train(method, network, [stream], fabric, 0, lambda facts: None)
    assert loss(method, final, stream.batch) < 0.5 * before


def test_methods_that_cannot_start_from_a_resnet50_say_why(resnet50: Source) -> None:
    reasons = {name: find(name).refusal(resnet50) for name in registered()}
    assert {name for name, reason in reasons.items() if reason} == REFUSING


@pytest.mark.parametrize("name", TAKING)
@pytest.mark.parametrize("protocol", ["paper", "piggyback"])
def test_each_protocol_of_the_suite_gives_rates(name: str, protocol: str, resnet50: Source) -> None:
    kind, task = find(name), Task("cubs", 4, 16)
    method = kind(apply(kind.recipes, {"protocol": protocol}, name, SUITE))
    network = method.build(resnet50, [task])
    last = method.phases(network, [task])[-1]
    rates = {id(p): group.lr for group in last.groups for p in group.parameters}
    found = {n: rates[id(p)] for n, p in network.named_parameters() if id(p) in rates}
    heads = {rate for n, rate in found.items() if n.startswith(("head.", "student.head."))}
    if name.startswith("scratch"):
        assert set(found.values()) == {0.1}
    else:
        assert heads == {0.01 if protocol == "paper" else 0.001}
        trunk = {rate for n, rate in found.items() if ".conv1.weight" in n and "policy" not in n}
        assert trunk <= {0.001}
    constant = (name, protocol) == ("feature-extractor", "piggyback")
    milestones = {group.milestones for group in last.groups if group.parameters}
    assert milestones == {() if constant else (0.6,) if protocol == "paper" else (0.5,)}
    # A policy that is the same in both protocols has the rate of new layers too.
    assert {rate for n, rate in found.items() if n.startswith("policy.")} <= heads
