"""ResNet-50 and ResNet-101 are torchvision's networks: sizes, graph, logits, memory."""

import pytest
import torch
from torch import nn

from decathlon.models.layers import freeze
from decathlon.models.networks import Architecture
from decathlon.models.torchvision_resnet import Projection
from tests.models.torchvision_networks import images, torchvision_network

NARROW = Architecture("resnet50", 0.125)


@pytest.mark.parametrize(
    ("name", "parameters", "blocks"),
    [
        ("resnet50", 23_508_032, (3, 4, 6, 3)),
        ("resnet101", 42_500_160, (3, 4, 23, 3)),
    ],
)
def test_sizes_are_those_of_torchvisions_documentation(
    name: str, parameters: int, blocks: tuple[int, ...]
) -> None:
    """25,557,032 and 44,549,160, less a head of 2048 x 1000 + 1000."""
    architecture = Architecture(name)
    assert architecture.blocks == blocks
    with torch.device("meta"):
        network = architecture.build(1000)
    assert sum(p.numel() for n, p in network.named_parameters() if "head" not in n) == parameters
    assert len(list(network.blocks())) == sum(blocks)


def test_every_first_block_of_a_stage_has_a_projection_and_the_stride_is_at_the_3x3() -> None:
    network = NARROW.build(2)
    found = [n for n, b in network.blocks() if isinstance(b.shortcut, Projection)]
    assert found == [f"macros.{macro}.0" for macro in range(4)]
    strides = {
        f"{part}{conv.kernel_size}"
        for part, conv in network.macros[1][0].named_modules()
        if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2)
    }
    assert strides == {"branch.conv2(3, 3)", "shortcut.0(1, 1)"}


def test_the_policy_network_has_the_papers_channels() -> None:
    """SpotTune, section 4.1: four blocks of 64 to 512 channels; of ResNet-26, 64 to 256."""
    for name, channels in (("resnet50", [64, 128, 256, 512]), ("resnet26", [64, 128, 256])):
        with torch.device("meta"):
            policy = Architecture(name).policy.build(32)
        convs = [block.branch.get_submodule("conv2") for _, block in policy.blocks()]
        assert [conv.weight.shape[:2] for conv in convs] == [(c, c) for c in channels]


def test_architectures_of_old_files_and_without_blocks_are_read() -> None:
    old = {"name": "resnet26", "width": 0.5, "blocks": [2, 1, 1], "adapters": "series"}
    assert Architecture.from_json(old) == Architecture("resnet26", 0.5, (2, 1, 1), "series")
    assert Architecture.from_json({"name": "resnet50"}).blocks == (3, 4, 6, 3)
    again = Architecture("resnet101", 0.25)
    assert Architecture.from_json(again.as_json()) == again


def test_frozen_layers_compute_in_training_what_they_compute_in_evaluation() -> None:
    """While training, their normalisation is folded into the kernel; in evaluation it is not."""
    torch.manual_seed(0)
    network = NARROW.build(4)
    network.train()
    network(images(8, 32))  # moves the statistics
    frozen, x = freeze(network), images(2, 32)
    folded, plain = frozen.train()(x), frozen.eval()(x)
    assert not torch.equal(folded, plain)
    torch.testing.assert_close(folded, plain, rtol=1e-3, atol=1e-4)


def saved_bytes(network: nn.Module) -> int:
    """Bytes of activations that a backward pass through the network would need."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 4 and len(tensor) == 5:  # a batch of five images
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = images(5, 64).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.train()(x)
    return sum(kept.values())


def test_frozen_layers_keep_half_of_the_activations() -> None:
    trained = saved_bytes(NARROW.build(4))
    assert saved_bytes(freeze(NARROW.build(4))) < 0.6 * trained


def test_nothing_is_kept_of_a_frozen_network_whose_input_needs_no_gradient() -> None:
    network = freeze(NARROW.build(4))
    assert network.features(images(2, 32)).grad_fn is None


@pytest.mark.parametrize(
    ("width", "blocks", "side"), [(0.125, (3, 4, 6, 3), 64), (1.0, (1, 1, 1, 1), 224)]
)
@pytest.mark.parametrize("grad", [False, True])
def test_logits_are_torchvisions_bit_for_bit(
    width: float, blocks: tuple[int, ...], side: int, grad: bool
) -> None:
    theirs = torchvision_network(width, blocks)
    ours = Architecture("resnet50", width, blocks).build(7).eval()
    values = list(theirs.state_dict().values())
    by_order = dict(zip(ours.state_dict(), values, strict=True))
    ours.load_state_dict(by_order)
    with torch.set_grad_enabled(grad):
        assert torch.equal(ours(images(2, side)), theirs(images(2, side)))
