"""One step of SpotTune: what it draws, in which precision, what learns and what is normalised."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from decathlon_methods.spottune import SpotTune
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from decathlon.data.reading.store import open_store
from decathlon.method.base import Batch, Task
from decathlon.method.recipe import apply
from decathlon.models.layers import BatchNorm2d, batch_norms
from decathlon.models.noise import keyed_gumbel
from decathlon.models.weights import Source
from decathlon.suites.base import View
from decathlon.training.feed import Feed

TASK = Task("dtd", 4, 100)


def spottune(**settings: object) -> SpotTune:
    return SpotTune(apply(SpotTune.recipes, settings, "spottune"))


def built(source: Source, **settings: object) -> RoutedNetwork:
    """A network whose two paths differ, and whose policy is not sure."""
    network = spottune(**settings).build(source, [TASK]).train()
    assert isinstance(network, RoutedNetwork)
    for name, parameter in network.named_parameters():
        if ".tuned." in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return network


def test_the_policy_learns_by_equation_4_from_the_loss_at_the_drawn_decisions(
    source: Source, batch: Batch
) -> None:
    method, network = spottune(tau=2.5), built(source)
    network.policy.eval()  # the same logits in both passes
    method.loss(network, batch).backward()
    found = network.get_parameter("policy.head.bias").grad
    network.zero_grad()
    beta = network.policy_logits(batch.images)
    noise = keyed_gumbel(batch.key, batch.ids, beta[0].numel()).view_as(beta)
    decisions = (beta + noise).argmax(-1).float().requires_grad_()  # equation 3
    loss = cross_entropy(network(batch.images, policy=decisions), batch.labels)
    (slope,) = torch.autograd.grad(loss, decisions)
    (((beta + noise) / 2.5).softmax(-1)[..., 1] * slope).sum().backward()  # equation 4
    expected = network.get_parameter("policy.head.bias").grad
    assert expected is not None
    assert found is not None
    assert found.any()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_every_image_block_path_and_step_has_noise_of_its_own(tiny: Path) -> None:
    feed = Feed(open_store(tiny), "dtd", ("train",), View(64), 8, 0, torch.device("cpu"))
    steps, batches = feed.steps_per_epoch, feed.training(0, lambda step: 0.0)
    drawn: list[Tensor] = []
    for _ in range(2 * steps):
        batch = next(batches)
        drawn.append(keyed_gumbel(batch.key, batch.ids, 2 * 8))
    values = torch.cat(drawn)
    assert len(values) == 2 * len(feed.images)
    # Of 23 bits: two numbers of some hundreds are equal by chance now and then, rows are not.
    assert len(values.unique(dim=0)) == len(values)
    assert len(values.unique()) > 0.99 * values.numel()


def test_noise_and_decisions_have_32_bits_where_the_network_has_fewer(
    source: Source, batch: Batch
) -> None:
    """The logits themselves have those of the policy's head."""
    method, network = spottune(), built(source)
    with torch.autocast("cpu", torch.bfloat16):
        beta = network.policy_logits(batch.images)
        drawn = method.draw(beta, batch)
        decided = method.policy(network.eval(), batch)
    assert beta.dtype == torch.bfloat16
    assert drawn.dtype == decided.probabilities.dtype == torch.float32
    noise = keyed_gumbel(batch.key, batch.ids, beta[0].numel()).view_as(beta)
    exact = beta.detach().double() + noise.double()
    assert torch.equal(drawn.detach(), exact.argmax(-1).float())
    (slope,) = torch.autograd.grad(drawn.sum(), beta, retain_graph=True)
    soft = exact.softmax(-1)[..., 1]
    torch.testing.assert_close(
        slope[..., 1].double(), soft * (1 - soft), rtol=2**-7, atol=1e-6, check_dtype=False
    )


@pytest.mark.parametrize("tuned", [0, 1, 16])
def test_a_tuned_block_normalises_by_all_images_of_the_step(
    source: Source, batch: Batch, tuned: int
) -> None:
    """As in the released code, ``spottune_models.py``, lines 114-121: few images spoil nothing."""
    network = built(source)
    seen: list[Tensor] = []
    path = network.get_submodule("macros.1.0.tuned")
    path.get_submodule("conv1").register_forward_hook(lambda _, inputs, out: seen.append(out))
    norm = path.get_submodule("bn1")
    assert isinstance(norm, BatchNorm2d)
    before = norm.running_mean.clone()
    decisions = torch.zeros(len(batch.images), network.num_routed)
    decisions[:tuned] = 1
    network(batch.images, policy=decisions.requires_grad_())
    (maps,) = seen
    assert len(maps) == len(batch.images)
    torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * maps.mean((0, 2, 3)))


def test_released_trains_all_but_the_convolutions_of_the_frozen_path(source: Source) -> None:
    """``main.py``, lines 239-246: the first convolution found, the stem's, is spared."""
    network = spottune(protocol="released").build(source, [TASK])
    assert isinstance(network, RoutedNetwork)
    assert network.num_routed == 12
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    convolutions = {
        f"{name}.weight"
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and ".frozen." in name
    }
    assert len(convolutions) == 24
    assert frozen == convolutions


def test_released_fixes_what_it_is_told_to(source: Source) -> None:
    network = spottune(protocol="released", fixed=1, epochs=1).build(source, [TASK]).train()
    assert isinstance(network, RoutedNetwork)
    assert network.num_routed == 8
    for part in (network.stem, network.macros[0]):
        assert not any(p.requires_grad for p in part.parameters())
        assert not any(layer.training for layer in batch_norms(part))
    assert all(p.requires_grad for p in network.tail.parameters())


def test_released_groups_rates_and_decays(source: Source) -> None:
    """``main.py``, lines 27-53 and 258-259; ``utils.py``, lines 28-55."""
    for domain, decay in (("aircraft", 5e-4), ("gtsrb", 0.0), ("vgg-flowers", 1e-4)):
        method, task = spottune(protocol="released"), replace(TASK, domain=domain)
        network = method.build(source, [task])
        (phase,) = method.phases(network, [task])
        own, policy = phase.groups
        assert (own.lr, own.weight_decay, own.momentum) == (0.1, decay, 0.9)
        assert (policy.lr, policy.weight_decay, policy.momentum) == (0.01, 1e-3, 0.9)
        for group in phase.groups:
            assert [milestone * method.recipe.epochs for milestone in group.milestones] == [40]
