"""Piggyback's masks and DAN's controllers, by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from decathlon_methods.dan import DAN, ControlledConv2d
from decathlon_methods.piggyback import MaskedConv2d, Piggyback, threshold_mask
from torch import nn

from decathlon.method.base import Group, Method, Task
from decathlon.method.recipe import apply
from decathlon.method.stored import save_trained
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source, read_weights
from decathlon.suites.base import View
from decathlon.suites.visual_decathlon import SUITE
from decathlon.training.loop import schedule_of

TASK = Task("dtd", 4, 100)


def piggyback(**settings: object) -> Piggyback:
    return Piggyback(apply(Piggyback.recipes, settings, "piggyback"))


def test_mask_is_binary_and_its_gradient_passes_unchanged() -> None:
    scores = torch.tensor([0.004, 0.005, 0.006, -1.0], requires_grad=True)
    mask = threshold_mask(scores, 0.005)
    assert mask.tolist() == [0.0, 0.0, 1.0, 0.0]
    mask.backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert scores.grad is not None
    assert scores.grad.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_gradient_of_a_score_is_that_of_the_weight_times_the_weight() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, bias=False)
    plain = nn.Conv2d(2, 3, 3, bias=False)
    plain.weight.data.copy_(conv.weight.data)
    masked = MaskedConv2d(conv, 1e-2, 5e-3)
    x = torch.randn(2, 2, 6, 6)
    masked(x).square().sum().backward()
    plain(x).square().sum().backward()
    assert masked.scores is not None
    assert masked.scores.grad is not None
    assert plain.weight.grad is not None
    assert torch.allclose(masked.scores.grad, plain.weight.grad * plain.weight, rtol=1e-4)
    assert masked.weight.grad is None


def test_all_weights_are_kept_at_the_start(source: Source) -> None:
    images = torch.randn(3, 3, 32, 32)
    network = piggyback().build(source, [TASK]).eval()
    wanted = source.network().eval()
    assert torch.equal(network.features(images), wanted.features(images))


def test_hardening_changes_no_output_and_leaves_bits() -> None:
    masked = MaskedConv2d(nn.Conv2d(2, 4, 3, bias=False), 1e-2, 5e-3)
    assert masked.scores is not None
    nn.init.normal_(masked.scores, 5e-3, 1)
    x = torch.randn(2, 2, 6, 6)
    before = masked(x)
    masked.harden()
    assert torch.equal(masked(x), before)
    assert masked.mask is not None
    assert masked.mask.dtype == torch.bool
    assert [name for name, _ in masked.named_parameters()] == ["weight"]
    masked.harden()
    assert torch.equal(masked(x), before)


def test_one_bit_a_weight_is_stored_on_disk(source: Source, tmp_path: Path) -> None:
    method = piggyback()
    network = method.finalise(method.build(source, [TASK]))
    path = tmp_path / "weights.safetensors"
    save_trained(path, method, network, source, [TASK])
    weights = sum(t.numel() for n, t in network.state_dict().items() if n.endswith(".mask"))
    assert weights == sum(t.numel() for t in source.network().state_dict().values() if t.ndim == 4)
    head = 4 * sum(p.numel() for p in network.head.parameters())
    overhead = path.stat().st_size - weights // 8 - head
    assert 0 < overhead < 8000  # names and header
    masks = [t for n, t in read_weights(path)[1].items() if n.endswith(".mask")]
    assert {t.dtype for t in masks} == {torch.bool}


def test_masks_learn_by_adam_without_decay(source: Source) -> None:
    method = piggyback(lr=0.05)
    network = method.build(source, [TASK])
    (phase,) = method.phases(network, [TASK])
    masks, head = phase.groups
    assert (masks.optimiser, masks.lr, masks.weight_decay) == ("adam", 1e-4, 0.0)
    assert (head.optimiser, head.lr, head.weight_decay) == ("sgd", 0.05, 0.0)
    assert len(masks.parameters) == 25
    assert len(head.parameters) == 2
    released = piggyback(protocol="released")
    (phase,) = released.phases(network, [TASK])
    assert [(g.optimiser, g.lr) for g in phase.groups] == [("adam", 1e-4)] * 2


def test_training_masks_some_weights_and_changes_none(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    method = piggyback(epochs=1, mask_lr=2e-3)
    network = trained(method, method.build(source, [TASK]), 6)
    kept = torch.cat([t.flatten() for n, t in network.state_dict().items() if n.endswith(".mask")])
    assert 0.05 < kept.float().mean() < 0.99
    for name, tensor in source.network().state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(network.state_dict()[name], tensor), name


def test_batch_norms_are_the_domains_own_if_asked_for(source: Source) -> None:
    method = piggyback(train_bn=True)
    network = method.build(source, [TASK])
    (_, rest) = method.phases(network, [TASK])[0].groups
    assert len(rest.parameters) == 2 + 2 * 26
    places = {s.name: s.place for s in method.stored(network)}
    assert places["stem.bn.weight"] == places["stem.bn.running_mean"] == "domain"


def test_controller_recombines_filters() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, bias=False)
    controlled = ControlledConv2d(conv)
    nn.init.normal_(controlled.controller)
    x = torch.randn(1, 2, 5, 5)
    w = controlled.controller
    for out in range(3):
        bank = sum(w[out, j] * conv.weight[j] for j in range(3))
        by_hand = nn.functional.conv2d(x, bank[None])
        assert torch.allclose(controlled(x)[:, out], by_hand[:, 0], atol=1e-5)


def test_controller_starts_near_the_identity() -> None:
    torch.manual_seed(0)
    controlled = ControlledConv2d(nn.Conv2d(2, 64, 3))
    off = controlled.controller - torch.diag(controlled.controller.diagonal())
    assert not off.any()
    noise = controlled.controller.diagonal() - 1
    assert noise.std().item() == pytest.approx(1 / 64, rel=0.5)
    assert not controlled.weight.requires_grad


@pytest.mark.parametrize("train_bn", [False, True])
def test_dan_trains_controllers_and_head(source: Source, train_bn: bool) -> None:
    method = DAN(apply(DAN.recipes, {"train_bn": train_bn}, "dan"))
    network = method.build(source, [TASK])
    learnt = {n.rpartition(".")[2] for n, p in network.named_parameters() if p.requires_grad}
    assert learnt == {"controller", "weight", "bias"}
    places = {s.name: s.place for s in method.stored(network)}
    assert places["stem.conv.weight"] == "shared"
    assert places["stem.conv.controller"] == "domain"
    assert places["stem.bn.weight"] == ("domain" if train_bn else "shared")
    assert places["stem.bn.running_mean"] == "domain"


def test_the_head_of_released_dan_starts_without_bias(source: Source) -> None:
    for protocol in ("paper", "released"):
        network = DAN(apply(DAN.recipes, {"protocol": protocol}, "dan")).build(source, [TASK])
        assert isinstance(network, ResidualNetwork)
        assert bool(network.head.bias.any()) == (protocol == "paper")


@pytest.mark.parametrize("protocol", ["paper", "released"])
def test_dan_cuts_all_domains_alike_in_released(protocol: str) -> None:
    method = DAN(apply(DAN.recipes, {"protocol": protocol}, "dan"))
    for name, domain in SUITE.domains.items():
        released = {"dan": v} if (v := SUITE.releases["dan"].views.get(name)) else {}
        task = Task(name, 4, 100, domain.views, released)
        train, test = method.view(task, training=True), method.view(task, training=False)
        flips = name not in ("gtsrb", "omniglot", "svhn")
        if protocol == "released" or flips:
            assert (train, test) == (View(64, random=True, flip=flips), View(64))
        else:
            assert (train, test) == (View(72), View(72))


def test_the_rate_of_released_dan_falls_before_epochs_25_and_50() -> None:
    recipe = apply(DAN.recipes, {"protocol": "released"}, "dan")
    method = DAN(recipe)
    group = Group([], recipe.lr, milestones=method.recipe.milestones)
    schedule = schedule_of(recipe, [16])
    rates = [schedule.rate(group, 16 * (epoch - 1)) for epoch in (1, 24, 25, 49, 50)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def test_dan_moves_statistics_and_leaves_the_weights_of_norms(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    """As the notebook: cell 27 freezes weights and biases, and training is in training mode."""
    method = DAN(apply(DAN.recipes, {"epochs": 1}, "dan"))
    network = method.build(source, [TASK])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    after = trained(method, network, 2).state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    norms = {name for name in after if ".bn" in name or name.startswith("tail.bn")}
    statistics = {name for name in norms if name.endswith(("mean", "var", "tracked"))}
    assert moved & norms == statistics
    assert len(statistics) == 3 * 26
    assert {name for name in moved - norms if not name.startswith("head.")} == {
        name for name in after if name.endswith(".controller")
    }
