"""L2-SP: the penalty's gradient is decay towards the source, and w0 leaves no trace."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from decathlon_methods.l2_sp import L2SP
from torch import nn

from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.models.weights import Source
from decathlon.suites.registry import find
from decathlon.testing import OneBatch
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute
from decathlon.training.loop import train

TASK = Task("dtd", 4, 100)


def l2_sp(**settings: object) -> L2SP:
    return L2SP(apply(L2SP.recipes, {"epochs": 1, **settings}, "l2-sp"))


def test_the_gradient_is_decay_towards_the_source(source: Source) -> None:
    method = l2_sp(alpha=0.3, beta=0.7)
    network = method.build(source, [TASK])
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    method.penalty(network).backward()
    start = dict(source.network().named_parameters())
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert trained.keys() == start.keys()
    for name, parameter in trained.items():
        if name == "head.weight":
            expected = 0.7 * parameter
        elif parameter.ndim == 4:
            expected = 0.3 * (parameter - start[name])
        else:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, expected, atol=1e-6), name


def test_the_loss_is_cross_entropy_and_the_penalty(source: Source, batch: Batch) -> None:
    method = l2_sp()
    network = method.build(source, [TASK]).eval()
    cross_entropy = nn.functional.cross_entropy(network(batch.images), batch.labels)
    head = network.get_parameter("head.weight")
    # The trunk is still the source's.
    by_hand = cross_entropy + 0.01 / 2 * head.square().sum()
    assert torch.allclose(method.loss(network, batch), by_hand)


@pytest.mark.parametrize("suite", ["visual-decathlon", "fine-grained"])
def test_there_is_no_other_decay(source: Source, suite: str) -> None:
    method = L2SP(apply(L2SP.recipes, {}, "l2-sp", find(suite)))
    network = method.build(source, [TASK])
    (phase,) = method.phases(network, [TASK])
    assert {group.weight_decay for group in phase.groups} == {0.0}


def test_a_strong_penalty_keeps_the_source(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    start, distances = source.network().state_dict(), []
    for alpha in (0.0, 1.0):
        method = l2_sp(alpha=alpha)
        torch.manual_seed(0)
        final = trained(method, method.build(source, [TASK]), 20).state_dict()
        assert final.keys() == start.keys()
        convolutions = [n for n, t in start.items() if t.ndim == 4]
        distances.append(sum(float((final[n] - start[n]).norm()) for n in convolutions))
    assert distances[1] < 0.5 * distances[0]


def test_a_training_that_resumes_ends_with_the_same_bits(source: Source, tmp_path: Path) -> None:
    method, fabric = l2_sp(), Compute("cpu", "32").fabric()

    def network() -> nn.Module:
        torch.manual_seed(0)
        return method.build(source, [TASK])

    def report(facts: object) -> None:
        pass

    streams, kept = [OneBatch(TASK, 6)], Checkpoints(tmp_path, {}, 3600, 4)
    whole = train(method, network(), streams, fabric, 0, report, kept).state_dict()
    resume = kept.latest()
    assert resume is not None
    assert resume.step == 4
    again = train(method, network(), streams, fabric, 0, report, None, resume).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
