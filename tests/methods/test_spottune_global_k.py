"""Equations 5 to 7 by hand, and the way from a policy to k blocks."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from decathlon_methods.spottune import SpotTune
from decathlon_methods.spottune.global_k import SpotTuneGlobalK, l_e, l_k
from decathlon_methods.spottune.global_network import GlobalNetwork
from torch import nn

from decathlon import load_model
from decathlon.common.errors import UsageError
from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.method.stored import keep_source, save_trained
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source, read_weights
from decathlon.training.device import to_device

TASK = Task("dtd", 4, 100)


def global_k(**settings: object) -> SpotTuneGlobalK:
    return SpotTuneGlobalK(apply(SpotTuneGlobalK.recipes, settings, "spottune-global-k"))


def test_equation_5_by_hand() -> None:
    v = torch.tensor([0.25, 1.0, 0.5, 0.0])
    assert l_k(v, 3).item() == pytest.approx((1.75 - 3) ** 2)
    assert l_k(torch.tensor([1.0, 0.0, 1.0, 1.0]), 3).item() == 0


def test_equation_6_by_hand() -> None:
    v = torch.tensor([0.25, 1.0, 0.5, 0.0])
    by_hand = -(0.25 * math.log(0.25) + 0.5 * math.log(0.5))
    assert l_e(v).item() == pytest.approx(by_hand, rel=1e-6)
    assert l_e(torch.tensor([0.0, 1.0, 1.0])).item() == 0


def test_gradients_of_both_are_finite_at_0_and_1() -> None:
    v = torch.tensor([0.0, 1.0, 0.4], requires_grad=True)
    (l_k(v, 2) + l_e(v)).backward()
    assert v.grad is not None
    assert v.grad.isfinite().all()
    assert v.grad[2].item() == pytest.approx(2 * (1.4 - 2) - math.log(0.4) - 1, rel=1e-5)


@pytest.mark.parametrize("fractions", ["straight-through", "soft"])
def test_equation_7_by_hand(source: Source, batch: Batch, fractions: str) -> None:
    method = global_k(lambda1=0.3, lambda2=0.7, fractions=fractions)
    network = method.build(source, [TASK]).eval()
    assert isinstance(network, GlobalNetwork)
    batch.progress = 0.9
    beta = network.policy_logits(batch.images)
    policy = method.draw(beta, batch)
    l_c = nn.functional.cross_entropy(network(batch.images, policy=policy), batch.labels)
    v = (beta.softmax(-1)[..., 1] if fractions == "soft" else policy).mean(0).tolist()
    squared = (sum(v) - 3) ** 2
    entropy = -sum(x * math.log(x) for x in v if x > 0)
    by_hand = l_c.item() + 0.3 * squared + 0.7 * entropy
    assert method.loss(network, batch).item() == pytest.approx(by_hand, rel=1e-4)


def test_the_added_losses_reach_the_policy(source: Source, batch: Batch) -> None:
    method = global_k(lambda1=1.0, lambda2=1.0)
    network = method.build(source, [TASK]).train()
    batch.progress = 0.9
    method.loss(network, batch).backward()
    with_added = network.get_parameter("policy.head.bias").grad
    network.zero_grad()
    batch.progress = 0.0
    method.loss(network, batch).backward()
    without = network.get_parameter("policy.head.bias").grad
    assert with_added is not None
    assert without is not None
    assert not torch.allclose(with_added, without)


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.1, 0.0), (0.2, 0.5), (0.3, 1.0), (0.9, 1.0)]
)
def test_weights_of_the_added_losses_fade_in(progress: float, expected: float) -> None:
    assert global_k().strength(progress) == pytest.approx(expected)


def test_weights_without_a_ramp_are_a_step() -> None:
    method = global_k(warm_up=0.5, full_at=0.5)
    assert (method.strength(0.4), method.strength(0.5)) == (0.0, 1.0)


def test_the_blocks_tuned_most_often_are_fixed(source: Source) -> None:
    network = global_k().build(source, [TASK])
    assert isinstance(network, GlobalNetwork)
    network.usage.copy_(torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6]))
    network.fix(3)
    assert network.fixed == (False, True, False, True, False, True, False, False)


def test_compact_network_computes_the_fixed_routing(source: Source) -> None:
    network = global_k().build(source, [TASK])
    assert isinstance(network, GlobalNetwork)
    for _, block in network.blocks():
        for parameter in block.tuned.parameters():
            nn.init.normal_(parameter, 0, 0.1)
    network.eval()
    images = torch.randn(3, 3, 32, 32)
    routing = torch.tensor([0.0, 1, 0, 0, 1, 0, 1, 0])
    wanted = network(images, policy=routing.expand(3, 8))
    network.fixed = tuple(bool(x) for x in routing)
    assert torch.allclose(network(images), wanted, atol=1e-5)
    compact = network.compact()
    assert torch.equal(compact.eval()(images), network(images))
    assert compact.state_dict().keys() == source.network().state_dict().keys()


def test_training_ends_with_k_tuned_blocks_and_no_policy(
    source: Source, tmp_path: Path, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    method = global_k(epochs=1, k=2)
    network = method.build(source, [TASK])
    final = trained(method, network, 12).eval()
    assert isinstance(final, ResidualNetwork)
    start = source.network().state_dict()
    tuned = set()
    for name, tensor in final.state_dict().items():
        if name.startswith(("stem.", "macros.")) and not torch.equal(tensor, start[name]):
            tuned.add(name.partition(".branch.")[0])
    assert len(tuned) == 2
    stored = {s.name.partition(".branch.")[0] for s in method.stored(final) if s.place == "domain"}
    assert {name for name in stored if name.startswith("macros.")} == tuned
    keep_source(source, tmp_path)
    path = tmp_path / "run" / "weights.safetensors"
    save_trained(path, method, final, source, [TASK])
    assert not any("policy" in name for name in read_weights(path)[1])
    images = torch.randn(3, 3, 32, 32)
    loaded = load_model(path)
    to_device(loaded, torch.device("cpu"))
    assert torch.equal(loaded(images), final(images))
    whole = tmp_path / "run" / "whole.safetensors"
    spottune = SpotTune()
    save_trained(whole, spottune, spottune.build(source, [TASK]), source, [TASK])
    assert path.stat().st_size < whole.stat().st_size / 2


def test_re_tuning_trains_the_fixed_blocks_alone(source: Source, batch: Batch) -> None:
    method = global_k(k=3)
    network = method.build(source, [TASK]).train()
    assert isinstance(network, GlobalNetwork)
    _, second = method.phases(network, [TASK])
    assert second.begin is not None
    second.begin()
    second.begin()  # as when training resumes there
    assert network.fixed is not None
    assert sum(network.fixed) == 3
    usage = network.usage.clone()
    method.loss(network, batch).backward()
    touched = [
        any(p.grad is not None for p in block.tuned.parameters()) for _, block in network.blocks()
    ]
    assert tuple(touched) == network.fixed
    assert all(p.grad is None for p in network.policy.parameters())
    assert torch.equal(network.usage, usage)


def test_routing_of_a_final_network_is_the_same_for_all_images(
    source: Source, batch: Batch
) -> None:
    method = global_k(k=3)
    network = method.build(source, [TASK])
    assert isinstance(network, GlobalNetwork)
    network.fix(3)
    _, routing = method.predict(method.finalise(network), batch)
    assert routing is not None
    assert network.fixed is not None
    assert routing.shape == (len(batch.images), 8)
    assert (routing == torch.tensor([float(f) for f in network.fixed])).all()


def test_more_blocks_than_there_are_cannot_be_asked_for(source: Source) -> None:
    with pytest.raises(UsageError, match="k=9"):
        global_k(k=9).build(source, [TASK])


def test_equation_6_as_printed_is_not_symmetric() -> None:
    """It is - v log v alone: largest at 1/e, and steeper towards 0 than towards 1."""
    v = torch.linspace(0, 1, 1001)
    entropy = torch.stack([l_e(x[None]) for x in v])
    assert v[entropy.argmax()].item() == pytest.approx(1 / math.e, abs=1e-3)
    assert entropy[100] > 2 * entropy[900]


@pytest.mark.parametrize("usage", [[0.5] * 8, [1.0] * 5 + [0.0] * 3, [0.9, 0.0] * 4])
def test_of_blocks_tuned_equally_often_k_are_fixed_and_the_same_again(
    source: Source, usage: list[float]
) -> None:
    network = global_k().build(source, [TASK])
    assert isinstance(network, GlobalNetwork)
    network.usage.copy_(torch.tensor(usage))
    network.fix(3)
    first = network.fixed
    assert first is not None
    assert sum(first) == 3
    assert min(u for u, f in zip(usage, first, strict=True) if f) == sorted(usage)[-3]
    network.fix(3)  # as when training resumes there
    assert network.fixed == first
