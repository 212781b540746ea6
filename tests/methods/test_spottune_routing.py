"""Routing: equations 2 to 4 of the SpotTune paper."""

import copy
import math

import pytest
import torch
from decathlon_methods.spottune.policy import straight_through
from decathlon_methods.spottune.routed_block import RoutedBlock
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import nn

from decathlon.models.layers import freeze
from decathlon.models.networks import Architecture
from decathlon.models.noise import keyed_gumbel
from decathlon.models.residual import Block


def routed(mix_outputs: bool = False) -> RoutedNetwork:
    torch.manual_seed(0)
    architecture = Architecture(width=0.25)
    base = architecture.build(5)
    freeze(base.stem)
    freeze(base.macros)
    network = RoutedNetwork(base, architecture, 1, mix_outputs)
    for module in network.modules():
        if isinstance(module, RoutedBlock):
            for parameter in module.tuned.parameters():
                nn.init.normal_(parameter, 0.1, 0.1)
    return network


def test_sampled_frequencies_follow_the_softmax_of_beta() -> None:
    num, beta = 40_000, torch.tensor([[0.0, 0.0], [1.0, -0.5], [-2.0, 0.3]])
    noise = keyed_gumbel(7, torch.arange(num), 6).view(num, 3, 2)
    sampled = straight_through(beta.expand(num, 3, 2), noise, 5.0)
    share = torch.softmax(beta, -1)[:, 1]
    error = (share * (1 - share) / num).sqrt()
    assert ((sampled.mean(0) - share).abs() < 4 * error).all()


def test_samples_are_exactly_binary() -> None:
    beta = torch.randn(500, 8, 2)
    sampled = straight_through(beta, keyed_gumbel(1, torch.arange(500), 16).view_as(beta), 0.3)
    assert set(sampled.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("tau", [0.5, 1.0, 5.0])
def test_gradient_is_that_of_the_relaxation(tau: float) -> None:
    beta = torch.randn(6, 4, 2, requires_grad=True)
    noise = keyed_gumbel(3, torch.arange(6), 8).view(6, 4, 2)
    weight = torch.randn(6, 4)
    (straight_through(beta, noise, tau) * weight).sum().backward()
    # Equation 4 for two categories is a logistic function of the difference.
    difference = (beta + noise).detach()
    y = torch.sigmoid((difference[..., 1] - difference[..., 0]) / tau)
    expected = weight * y * (1 - y) / tau
    assert beta.grad is not None
    assert torch.allclose(beta.grad[..., 1], expected, atol=1e-6)
    assert torch.allclose(beta.grad[..., 0], -expected, atol=1e-6)


@pytest.mark.parametrize("mix_outputs", [False, True])
def test_decisions_choose_the_path_of_each_image(mix_outputs: bool) -> None:
    torch.manual_seed(1)
    block = next(b for _, b in Architecture(width=0.25).build(2).blocks())
    assert isinstance(block, Block)
    original = copy.deepcopy(block).eval()
    two = RoutedBlock(block, mix_outputs).eval()
    for parameter in two.tuned.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 8, 8, 8)
    out = two(x, torch.tensor([0.0, 1.0, 0.0]))
    tuned = torch.relu(two.tuned(x) + original.shortcut(x))
    assert torch.allclose(out[[0, 2]], original(x)[[0, 2]], atol=1e-6)
    assert torch.allclose(out[1], tuned[1], atol=1e-6)


def test_frozen_path_and_first_macro_block_are_those_of_the_source() -> None:
    torch.manual_seed(0)
    architecture = Architecture(width=0.25)
    source = architecture.build(5).eval()
    network = routed().eval()
    network.head.load_state_dict(source.head.state_dict())
    images = torch.randn(4, 3, 64, 64)
    all_frozen = torch.zeros(4, network.num_routed)
    assert torch.allclose(network(images, policy=all_frozen), source(images), atol=1e-5)


def test_training_leaves_frozen_tensors_bit_identical() -> None:
    network = routed().train()
    before = {n: t.clone() for n, t in network.state_dict().items()}
    images = torch.randn(8, 3, 64, 64)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, 0.1, weight_decay=0.1)
    network(images, policy=torch.randint(0, 2, (8, 8)).float()).sum().backward()
    optimiser.step()
    after = network.state_dict()
    for name in before:
        if name.startswith(("stem", "macros.0")) or ".frozen." in name:
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(
        before["macros.1.0.tuned.conv1.weight"], after["macros.1.0.tuned.conv1.weight"]
    )
    assert not torch.equal(
        before["macros.1.0.tuned.bn1.running_mean"], after["macros.1.0.tuned.bn1.running_mean"]
    )


def test_without_a_policy_the_network_decides_by_argmax() -> None:
    network = routed().eval()
    images = torch.randn(4, 3, 64, 64)
    beta = network.policy_logits(images)
    assert beta.shape == (4, 8, 2)
    decided = beta.argmax(-1).float()
    assert torch.equal(network.decide(images), decided)
    assert torch.equal(network(images), network(images, policy=decided))


def test_policy_network_has_the_executed_size_of_the_released_one() -> None:
    architecture = Architecture()
    network = RoutedNetwork(architecture.build(5), architecture, 0, True)
    assert network.num_routed == 12
    assert sum(p.numel() for p in network.policy.parameters()) == 1_170_616


def test_gumbel_noise_is_standard() -> None:
    noise = keyed_gumbel(11, torch.arange(50_000), 2).flatten()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.015)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.05)
