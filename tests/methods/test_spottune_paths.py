"""Neither path is computed more than it has to be, and nothing else changes by it."""

import copy
from collections.abc import Callable

import pytest
import torch
from decathlon_methods.spottune import routed_block
from decathlon_methods.spottune.policy import straight_through
from decathlon_methods.spottune.routed_block import RoutedBlock
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from decathlon.models.layers import freeze
from decathlon.models.networks import Architecture
from decathlon.training.device import to_device

IMAGES = 6


def plainly(x: Tensor, decision: Tensor, tuned: Tensor, frozen: nn.Module) -> Tensor:
    """Equation 2 as it is written, both paths of all images."""
    share = decision.to(tuned.dtype)[:, None, None, None]
    return share * tuned + (1 - share) * frozen(x)


def network(width: float = 0.25, released: bool = False) -> RoutedNetwork:
    torch.manual_seed(0)
    architecture = Architecture(width=width)
    base = architecture.build(5)
    for module in base.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    if not released:
        freeze(base.stem)
        freeze(base.macros)
    routed = RoutedNetwork(base, architecture, 0 if released else 1, released)
    for name, parameter in routed.named_parameters():
        if ".tuned." in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    to_device(routed, torch.device("cpu"))
    return routed


def images() -> Tensor:
    return torch.randn(IMAGES, 3, 64, 64).contiguous(memory_format=torch.channels_last)


def some(routed: RoutedNetwork) -> Tensor:
    return torch.randint(0, 2, (IMAGES, routed.num_routed)).float()


DECISIONS: dict[str, Callable[[RoutedNetwork], Tensor]] = {
    "some": some,
    "all frozen": lambda routed: torch.zeros(IMAGES, routed.num_routed),
    "all tuned": lambda routed: torch.ones(IMAGES, routed.num_routed),
}


def trained(routed: RoutedNetwork, batch: Tensor, decisions: Tensor) -> dict[str, Tensor]:
    """Returns logits, all gradients, and the batch statistics after one step."""
    leaf = decisions.clone().requires_grad_()
    logits = routed.train()(batch, policy=leaf)
    cross_entropy(logits, torch.arange(IMAGES) % 5).backward()
    assert leaf.grad is not None
    found = {"logits": logits.detach(), "decisions": leaf.grad}
    found |= {n: p.grad for n, p in routed.named_parameters() if p.grad is not None}
    return found | {n: b.clone() for n, b in routed.named_buffers() if "running" in n}


@pytest.mark.parametrize("decisions", DECISIONS)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_training_is_that_of_the_plain_formula(
    decisions: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = network()
    two = copy.deepcopy(one)
    batch, chosen = images(), DECISIONS[decisions](one)
    if elsewhere:  # as on devices where it is not known which images take which path
        monkeypatch.setattr("decathlon_methods.spottune.paths.knows_rows", lambda x: False)
    found = trained(one, batch, chosen)
    monkeypatch.setattr(routed_block, "choose", plainly)
    expected = trained(two, batch, chosen)
    assert found.keys() == expected.keys()
    assert {"decisions", "macros.1.0.tuned.conv1.weight", "head.weight"} < found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_policy_learns_as_with_the_plain_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    one = network()
    two = copy.deepcopy(one)
    batch = images()
    gradients = []
    for routed in (one, two):
        beta = routed.train().policy_logits(batch)
        policy = straight_through(beta, torch.zeros_like(beta), 1.0)
        routed(batch, policy=policy).square().sum().backward()
        gradients.append({n: p.grad for n, p in routed.policy.named_parameters()})
        monkeypatch.setattr(routed_block, "choose", plainly)
    for name, expected in gradients[1].items():
        assert expected is not None
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("decisions", DECISIONS)
@pytest.mark.parametrize("released", [False, True])
def test_predictions_are_those_of_the_plain_formula(decisions: str, released: bool) -> None:
    routed = network(released=released).eval()
    batch, chosen = images(), DECISIONS[decisions](network(released=released))
    expected = routed(batch, policy=chosen).detach()  # with gradients: both paths
    with torch.inference_mode():
        found = routed(batch, policy=chosen)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_batch_statistics_move_without_gradients_too() -> None:
    routed = network().train()
    before = routed.get_buffer("macros.1.0.tuned.bn1.running_mean").clone()
    with torch.no_grad():
        routed(images(), policy=torch.zeros(IMAGES, routed.num_routed))
    assert not torch.equal(routed.get_buffer("macros.1.0.tuned.bn1.running_mean"), before)


def test_prediction_costs_no_more_than_the_source_and_the_policy() -> None:
    """The policy network is a fifth of a ResNet-26: 1.20 by arithmetic."""
    routed = network(width=1.0).eval()
    source = Architecture(width=1.0).build(5).eval()
    counts = []
    for model in (source, routed):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(images())
        counts.append(counter.get_total_flops())
    assert 1.19 < counts[1] / counts[0] < 1.21


def test_only_images_on_the_frozen_path_are_taken_back_through_it() -> None:
    routed = network().train()
    seen: list[int] = []
    for module in routed.modules():
        if isinstance(module, RoutedBlock):
            module.frozen.register_forward_hook(
                lambda module, inputs, out: seen.append(len(out) if out.requires_grad else 0)
            )
    decisions = torch.zeros(IMAGES, routed.num_routed)
    decisions[:2] = 1
    routed(images(), policy=decisions.requires_grad_()).sum().backward()
    assert seen[0] == 0  # nothing before the first routed block is trained
    assert sum(seen) == (routed.num_routed - 1) * (IMAGES - 2)


def test_operations_of_training_can_be_counted() -> None:
    routed = network().train()
    counts = []
    for share in (0, 3, 6):
        decisions = torch.zeros(IMAGES, routed.num_routed)
        decisions[:share] = 1
        with FlopCounterMode(display=False) as counter:
            routed(images(), policy=decisions.requires_grad_()).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] - counts[1] == counts[1] - counts[2] > 0
