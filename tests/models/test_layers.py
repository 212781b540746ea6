"""Freezing and exchanging layers."""

from typing import Literal

import pytest
import torch
from torch import nn

from decathlon.models.layers import (
    BatchNorm2d,
    Conv2d,
    freeze,
    frozen_names,
    normalise_by,
    normalised,
    replace,
    unfreeze,
)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))


def test_frozen_batch_norm_ignores_the_loop() -> None:
    network = small()
    freeze(network)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    network.train()
    network(torch.randn(8, 3, 8, 8))
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_freezing_keeps_names_and_values() -> None:
    network = small()
    network[1].running_mean += 3
    before = {n: t.clone() for n, t in network.state_dict().items()}
    after = freeze(network).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_frozen_names_are_parameters_and_statistics() -> None:
    network = nn.Sequential(freeze(small()), nn.BatchNorm2d(4))
    names = frozen_names(network)
    assert names == {n for n in network.state_dict() if n.startswith("0.")}


def test_unfreezing_lets_statistics_move() -> None:
    network = unfreeze(freeze(small())).train()
    network(torch.randn(8, 3, 8, 8) + 2)
    assert network[1].running_mean.any()
    assert all(p.requires_grad for p in network.parameters())


def test_replace_names_every_layer_and_keeps_it_usable() -> None:
    network, seen = small(), []

    def wrap(name: str, layer: nn.BatchNorm2d) -> nn.Module:
        seen.append(name)
        return nn.Sequential(layer)

    replace(network, nn.BatchNorm2d, wrap)
    assert seen == ["1", "2.0"]
    assert isinstance(network[1], nn.Sequential)
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 4, 6, 6)


def test_frozen_conv_and_norm_compute_what_they_did() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, 3, 2, 1, bias=False), BatchNorm2d(6)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    norm.running_var.uniform_(0.1, 3)
    x = torch.randn(5, 4, 9, 9, requires_grad=True)
    weight = torch.randn(5, 6, 5, 5)
    expected = norm.eval()(conv(x))
    (gradient,) = torch.autograd.grad((expected * weight).sum(), x)
    freeze(nn.Sequential(conv, norm))
    folded = normalised(conv, norm, x)
    assert torch.allclose(folded, expected, atol=1e-5)
    (folded * weight).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, gradient, atol=1e-5)


def test_a_trained_conv_before_a_frozen_norm_keeps_its_gradient() -> None:
    conv, norm = nn.Conv2d(4, 6, 3, bias=False), freeze(BatchNorm2d(6))
    normalised(conv, norm, torch.randn(2, 4, 8, 8)).sum().backward()
    assert conv.weight.grad is not None


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("stride", "how"),
    [
        (2, {}),
        ((3, 1), {}),
        (2, {"bias": False, "groups": 2}),
        (2, {"padding": "valid"}),
        (2, {"padding": 1}),
    ],
)
def test_strided_1x1_convolutions_compute_what_torch_does(
    order: torch.memory_format, stride: int | tuple[int, int], how: dict[str, object]
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(32, 20, 1, stride, **how)  # type: ignore[arg-type]
    ours = Conv2d(32, 20, 1, stride, **how)  # type: ignore[arg-type]
    ours.load_state_dict(plain.state_dict())
    results = []
    for conv in (plain, ours):
        conv.to(memory_format=order)
        x = torch.linspace(-1, 1, 4 * 32 * 13 * 10).view(4, 32, 13, 10).to(memory_format=order)
        out = conv(x.requires_grad_())
        out.square().sum().backward()
        assert x.grad is not None
        results.append([out, x.grad, *(p.grad for p in conv.parameters())])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


class Noisy(nn.Module):
    """A layer of another library, which is random while training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x) if self.training else x


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), nn.BatchNorm1d(5), nn.InstanceNorm1d(4, track_running_stats=True)]
)
def test_what_is_frozen_computes_the_same_in_both_modes(layer: nn.Module) -> None:
    Noisy.__module__ = "another.library"
    network = freeze(nn.Sequential(nn.Sequential(layer, Noisy()), Noisy()))
    x = torch.randn(4, 5) if not isinstance(layer, nn.InstanceNorm1d) else torch.randn(2, 4, 5)
    expected = network.eval()(x)
    assert torch.equal(network.train()(x), expected)
    assert not torch.equal(unfreeze(network).train()(x), expected)
    again = freeze(network).eval()(x)
    assert torch.equal(network.train()(x), again)


def test_a_tuned_part_of_a_frozen_layer_of_another_library_has_its_own_mode() -> None:
    outer = Noisy()
    outer.add_module("norm", nn.BatchNorm2d(3))
    freeze(outer)
    unfreeze(outer.get_submodule("norm"))
    outer.train()
    assert not outer.training
    assert outer.get_submodule("norm").training


@pytest.mark.parametrize("bn", ["batch", "source"])
def test_statistics_are_those_of_the_batch_or_of_the_source(bn: Literal["batch", "source"]) -> None:
    network = normalise_by(small(), bn).train()
    assert all(p.requires_grad for p in network.parameters())
    x = torch.randn(8, 3, 8, 8)
    before = network[1].running_mean.clone()
    assert torch.equal(network(x), network.eval()(x)) == (bn == "source")
    assert torch.equal(before, network[1].running_mean) == (bn == "source")
    assert {name.rpartition(".")[2] for name in frozen_names(network)} == (
        {"running_mean", "running_var", "num_batches_tracked"} if bn == "source" else set()
    )


def test_attention_of_torch_drops_nothing_when_frozen() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    x = torch.randn(2, 5, 8)
    expected = freeze(layer).eval()(x)
    torch.testing.assert_close(layer.train()(x), expected)


def test_attention_and_drop_path_of_timm_drop_nothing_when_frozen() -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model(
        "vit_tiny_patch16_224", drop_rate=0.3, attn_drop_rate=0.3, drop_path_rate=0.3,
        proj_drop_rate=0.3, img_size=32,
    )  # fmt: skip
    x = torch.randn(2, 3, 32, 32)
    expected = network.eval()(x)
    assert not torch.equal(network.train()(x), expected)
    assert torch.equal(freeze(network).train()(x), expected)
