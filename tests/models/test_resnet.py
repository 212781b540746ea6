"""ResNet-26 is the network of the literature: sizes, graph, initialisation."""

import pytest
import torch
from torch import nn

from decathlon.common.errors import DataError
from decathlon.models.networks import Architecture
from decathlon.models.residual import Block
from decathlon.models.resnet import PoolAndPad


def parameters_without_head(width: float) -> int:
    network = Architecture(width=width).build(10)
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("head"))


def test_resnet26_has_the_published_number_of_parameters() -> None:
    assert parameters_without_head(1.0) == 5_814_688


def test_resnet26_has_25_convolutions_one_linear_layer_and_12_blocks() -> None:
    network = Architecture().build(10)
    layers = list(network.modules())
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == 25
    assert sum(isinstance(layer, nn.Linear) for layer in layers) == 1
    assert len(list(network.blocks())) == 12


def test_block_sizes_are_those_of_the_literature() -> None:
    sizes = [sum(p.numel() for p in b.parameters()) for _, b in Architecture().build(2).blocks()]
    assert sizes == [55552, *[73984] * 3, 221696, *[295424] * 3, 885760, *[1180672] * 3]


def test_there_is_no_relu_after_the_stem() -> None:
    network = Architecture(width=0.25).build(10)
    assert (network.stem(torch.randn(4, 3, 64, 64)) < 0).any()


def test_strided_shortcut_pools_and_fills_with_zeros() -> None:
    x = torch.randn(2, 3, 6, 6)
    out = PoolAndPad()(x)
    assert out.shape == (2, 6, 3, 3)
    assert torch.allclose(out[:, :3, 1, 2], x[:, :, 2:4, 4:6].mean((2, 3)))
    assert not out[:, 3:].any()


def test_block_is_activation_of_branch_plus_shortcut() -> None:
    block = next(b for _, b in Architecture(width=0.25).build(2).blocks())
    assert isinstance(block, Block)
    x = torch.randn(2, 8, 8, 8)
    block.eval()
    assert torch.equal(block(x), torch.relu(block.branch(x) + block.shortcut(x)))


@pytest.mark.parametrize("size", [(64, 64), (72, 72), (144, 72), (65, 71)])
def test_any_input_size_works(size: tuple[int, int]) -> None:
    network = Architecture(width=0.25).build(7).eval()
    assert network(torch.randn(2, 3, *size)).shape == (2, 7)


def test_convolutions_are_drawn_with_the_variance_of_he_fan_out() -> None:
    torch.manual_seed(0)
    weight = Architecture().build(2).get_parameter("macros.2.3.branch.conv2.weight")
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(DataError, match="alexnet"):
        Architecture.from_json({**Architecture().as_json(), "name": "alexnet"})
