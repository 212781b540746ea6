"""LwF: the loss by hand, the warm-up, and what is kept."""

import math
from collections.abc import Callable

import pytest
import torch
from decathlon_methods.lwf import LwF, LwFNetwork, old_loss
from torch import nn

from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.models.weights import Source
from decathlon.training.loop import schedule_of

TASK = Task("dtd", 4, 100)


def lwf(**settings: object) -> LwF:
    return LwF(apply(LwF.recipes, settings, "lwf"))


def test_old_loss_is_the_cross_entropy_of_softened_responses() -> None:
    logits, recorded, t = [1.0, -2.0, 0.5], [0.0, 3.0, -1.0], 2.0

    def soften(values: list[float]) -> list[float]:
        powers = [math.exp(v / t) for v in values]
        return [p / sum(powers) for p in powers]

    by_hand = -sum(p * math.log(q) for p, q in zip(soften(recorded), soften(logits), strict=True))
    found = old_loss(torch.tensor([logits] * 3), torch.tensor([recorded] * 3), t)
    assert found.item() == pytest.approx(by_hand, rel=1e-6)


def test_softened_responses_are_normalised_powers_of_probabilities() -> None:
    # y' = y^(1/T) / sum y^(1/T), as the method is written down, is softmax(logits / T).
    recorded = torch.randn(5, 7)
    y = recorded.softmax(1)
    powered = y ** (1 / 2.0) / (y ** (1 / 2.0)).sum(1, keepdim=True)
    logits = torch.randn(5, 7)
    by_hand = -(powered * (logits / 2).log_softmax(1)).sum(1).mean()
    assert torch.allclose(old_loss(logits, recorded, 2.0), by_hand, atol=1e-6)


def test_the_old_head_is_drawn_to_the_responses_without_the_square_of_t() -> None:
    """As ``vl_nnsoftmaxdiff.m``, line 143: (softmax - target) / T, here a mean over the images."""
    logits = torch.randn(5, 7, requires_grad=True)
    recorded, t = torch.randn(5, 7), 2.0
    old_loss(logits, recorded, t).backward()
    expected = ((logits / t).softmax(1) - (recorded / t).softmax(1)) / t / 5
    assert logits.grad is not None
    assert torch.allclose(logits.grad, expected, atol=1e-6)


def test_the_old_head_decays_like_the_rest_once_it_learns(source: Source) -> None:
    for protocol, decay in (("paper", 1e-4), ("released", 5e-4)):
        method = lwf(protocol=protocol)
        network = method.build(source, [TASK])
        assert isinstance(network, LwFNetwork)
        head, everything = method.phases(network, [TASK])
        first = [p for group in head.groups for p in group.parameters]
        assert {id(p) for p in first} == {id(p) for p in network.student.head.parameters()}
        decays = {id(p): g.weight_decay for g in everything.groups for p in g.parameters}
        learnt = [*network.student.parameters(), *network.old_head.parameters()]
        assert decays == {id(p): decay for p in learnt}


def test_released_draws_the_new_head_small_and_normal(source: Source) -> None:
    network = lwf(protocol="released").build(source, [Task("dtd", 2000, 100)])
    assert isinstance(network, LwFNetwork)
    weight, bias = network.student.head.weight, network.student.head.bias
    assert weight.var().item() == pytest.approx(0.05 / sum(weight.shape), rel=0.05)
    assert weight.abs().max().item() > 3.5 * weight.std().item()  # no uniform distribution
    assert not bias.any()


def test_released_trains_the_head_and_then_everything_by_the_same_schedule(source: Source) -> None:
    method = lwf(protocol="released")
    phases = method.phases(method.build(source, [TASK]), [TASK])
    schedule = schedule_of(method.recipe, [10])
    rates = [
        [schedule.rate(group, 10 * epoch) for group in phase.groups]
        for phase, epochs in zip(phases, ((0, 53, 54, 71), (72, 125, 126, 143)), strict=True)
        for epoch in epochs
    ]
    assert rates == 2 * [[0.0008], [0.0008], [pytest.approx(0.00008)], [pytest.approx(0.00008)]]
    assert [schedule.at(phase.until) for phase in phases] == [720, 1440]


def test_loss_is_new_plus_lambda_old_after_the_warm_up(source: Source, batch: Batch) -> None:
    method = lwf(lambda_o=0.5)
    network = method.build(source, [TASK]).eval()
    assert isinstance(network, LwFNetwork)
    batch.phase = 0
    l_new = method.loss(network, batch)
    batch.phase = 1
    with torch.no_grad():
        network.old_head.weight.mul_(2)
        features = network.student.features(batch.images)
        recorded = source.network().eval()(batch.images)
        l_old = old_loss(network.old_head(features), recorded, 2.0)
    assert torch.allclose(method.loss(network, batch), l_new + 0.5 * l_old, atol=1e-5)


def test_warm_up_trains_the_new_head_only(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    method = lwf(epochs=1, warm_up=1.0)
    network = method.build(source, [TASK])
    before = {n: t.clone() for n, t in network.state_dict().items()}
    trained(method, network, 3)
    changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"student.head.weight", "student.head.bias"}


def test_then_everything_learns_but_the_recorded_responses(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    method = lwf(epochs=1)
    network = method.build(source, [TASK])
    final = trained(method, network, 8)
    assert isinstance(network, LwFNetwork)
    assert final is network.student
    state, start = network.state_dict(), source.network().state_dict()
    for name, tensor in start.items():
        assert torch.equal(state[f"teacher.{name}"], tensor), name
        if name.endswith("weight") and not name.startswith("head."):
            assert not torch.equal(state[f"student.{name}"], tensor), name
    assert not torch.equal(state["old_head.weight"], start["head.weight"])


def test_old_responses_are_kept_better_than_by_fine_tuning(
    source: Source, batch: Batch, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    recorded = source.network().eval()(batch.images)
    losses = []
    for weight in (0.0, 3.0):
        method = lwf(epochs=1, lambda_o=weight, warm_up=0.0, lr=0.02)
        torch.manual_seed(0)
        network = method.build(source, [TASK])
        trained(method, network, 25)
        assert isinstance(network, LwFNetwork)
        network.eval()
        now = network.old_head(network.student.features(batch.images))
        losses.append(old_loss(now, recorded, 2.0).item())
    assert losses[1] < losses[0]
