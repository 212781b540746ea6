"""Residual adapters: equations, places, initialisation and counts."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode

from decathlon.common.errors import DataError
from decathlon.models.adapters import AdaptedConv2d, adapted_convolutions
from decathlon.models.layers import freeze
from decathlon.models.networks import Architecture


def test_series_adapter_comes_after_the_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, 2, 1, bias=False)
    adapted = AdaptedConv2d(conv, "series").eval()
    bn, one = adapted.adapter
    nn.init.normal_(bn.weight)
    nn.init.normal_(bn.bias)
    x = torch.randn(2, 3, 9, 9)
    y = conv(x)
    assert torch.allclose(adapted(x), y + conv2d(bn(y), one.weight), atol=1e-6)


def test_parallel_adapter_sees_the_input_and_has_the_stride() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, 2, 1, bias=False)
    adapted = AdaptedConv2d(conv, "parallel")
    x = torch.randn(2, 3, 9, 9)
    wanted = conv(x) + conv2d(x[:, :, ::2, ::2], adapted.adapter[0].weight)
    assert torch.allclose(adapted(x), wanted, atol=1e-6)


class Strided(TorchDispatchMode):
    """Collects the kernels of the convolutions that torch computes with a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.overloadpacket is torch.ops.aten.convolution and args[3] != [1, 1]:
            self.kernels.append(tuple(args[1].shape[2:]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("change", [lambda network: None, freeze], ids=["plain", "frozen"])
def test_no_strided_1x1_convolution_reaches_torch(change: Callable[[nn.Module], object]) -> None:
    network = Architecture(width=0.25, adapters="parallel").build(4)
    change(network)
    with Strided() as strided:
        network(torch.randn(2, 3, 16, 16))
    assert strided.kernels == [(3, 3)] * 3


@pytest.mark.parametrize(("kind", "added"), [("series", 696_384), ("parallel", 645_216)])
def test_adapters_have_the_published_number_of_parameters(kind: str, added: int) -> None:
    network = Architecture(adapters=kind).build(10)
    count = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("head"))
    assert count == 5_814_688 + added
    assert len(list(adapted_convolutions(network))) == 25


@pytest.mark.parametrize("kind", ["series", "parallel"])
def test_names_of_the_plain_network_are_kept(kind: str) -> None:
    plain = Architecture(width=0.25).build(4).state_dict()
    adapted = Architecture(width=0.25, adapters=kind).build(4).state_dict()
    assert plain.keys() <= adapted.keys()
    assert all(".adapter." in name for name in adapted.keys() - plain.keys())


def test_adapters_are_drawn_like_all_convolutions() -> None:
    torch.manual_seed(0)
    network = Architecture(adapters="series").build(2)
    weight = network.get_parameter("macros.2.3.branch.conv2.adapter.conv.weight")
    assert weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)


def test_architecture_with_adapters_survives_json() -> None:
    architecture = Architecture(width=0.5, adapters="parallel")
    assert Architecture.from_json(architecture.as_json()) == architecture


def test_unknown_adapters_are_refused() -> None:
    with pytest.raises(DataError, match="sideways"):
        Architecture.from_json({**Architecture().as_json(), "adapters": "sideways"})
