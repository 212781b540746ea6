"""Networks of timm compute what timm computes, and a ResNet-50 of it what our own does."""

from pathlib import Path

import pytest
import torch
from decathlon_methods.spottune import SpotTune
from safetensors.torch import save_file
from torch import Tensor, nn

from decathlon import load_model
from decathlon.common.errors import UsageError
from decathlon.method import Task
from decathlon.models.layers import Freezable, freeze
from decathlon.models.networks import Architecture, find
from decathlon.models.reference.importing import import_weights
from decathlon.models.residual import Block, ResidualNetwork, WholeBlock
from decathlon.models.weights import Source

timm = pytest.importorskip("timm")

# Blocks, and macro blocks that SpotTune leaves alone.
NETWORKS = {
    "resnet18": ((2, 2, 2, 2), 0),
    "mobilenetv3_small_050": ((1, 2, 3, 2, 3), 2),
    "vit_tiny_patch16_224": ((3, 3, 3, 3), 0),
    "convnext_atto": ((2, 2, 6, 2), 0),
    "tf_efficientnet_lite0": ((1, 2, 2, 3, 3, 4, 1), 3),
}


def drawn(network: nn.Module) -> nn.Module:
    """Draws all weights and statistics, so that no part of the network does nothing."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
            elif tensor.is_floating_point():
                tensor.normal_(float(name.endswith("weight")), 0.1)
    return network


def images(side: int, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_imported_logits_are_timms(name: str, tmp_path: Path) -> None:
    theirs = drawn(timm.create_model(name, num_classes=7)).eval()
    save_file(theirs.state_dict(), tmp_path / "in.safetensors")
    summary = import_weights(
        tmp_path / "in.safetensors", tmp_path / "out.safetensors", network=f"timm:{name}"
    )
    blocks, fixed = NETWORKS[name]
    assert (summary.blocks, summary.num_classes, summary.structure) == (blocks, 7, f"timm:{name}")
    ours = load_model(tmp_path / "out.safetensors")
    assert isinstance(ours, ResidualNetwork)
    assert find(f"timm:{name}").fixed_macros == fixed
    x = images(224)
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_have_stable_names(name: str) -> None:
    with torch.device("meta"):
        state = Architecture(f"timm:{name}").build(3).state_dict()
    assert {key.split(".")[0] for key in state} <= {"stem", "macros", "tail", "head"}
    first = {
        "resnet18": "macros.0.0.branch.conv1.weight",
        "mobilenetv3_small_050": "macros.0.0.branch.conv_dw.weight",
        "vit_tiny_patch16_224": "macros.0.0.branch.norm1.weight",
        "convnext_atto": "macros.0.0.branch.gamma",
        "tf_efficientnet_lite0": "macros.0.0.branch.conv_dw.weight",
    }
    assert next(key for key in state if key.startswith("macros.")) == first[name]
    assert all(tensor.is_meta for tensor in state.values())


def test_only_resnets_come_apart() -> None:
    with torch.device("meta"):
        kinds = {
            name: {type(block) for _, block in Architecture(f"timm:{name}").build(2).blocks()}
            for name in NETWORKS
        }
    assert kinds.pop("resnet18") == {Block}
    assert set().union(*kinds.values()) == {WholeBlock}


def test_normalisations_with_an_activation_are_frozen_and_keep_it() -> None:
    network = drawn(Architecture("timm:mobilenetv3_small_050").build(3))
    x = images(64)
    with torch.no_grad():
        expected = network.eval()(x)
        freeze(network)
        assert torch.equal(network.train()(x), expected)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(isinstance(m, Freezable) and m.frozen for m in norms)


def test_nothing_is_dropped_in_training() -> None:
    torch.manual_seed(0)
    network = Architecture("timm:tf_efficientnet_lite0").build(3).train()
    x = images(64)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))


def twins() -> list[Source]:
    """ResNet-50 of timm and our own, with the same weights."""
    state = drawn(Architecture("resnet50").build(5)).state_dict()
    return [Source(Architecture(name), 5, state) for name in ("timm:resnet50", "resnet50")]


def test_both_resnet50s_are_one_network() -> None:
    logits, gradients = [], []
    x = images(33, dtype=torch.float64)
    for source in twins():
        network = source.network().double().train()
        out = network(x)
        out.square().sum().backward()
        logits.append(out.detach())
        gradients.append({name: p.grad for name, p in network.named_parameters()})
    assert torch.allclose(logits[0], logits[1], rtol=1e-9)
    assert_close(*gradients)


def test_spottune_has_the_same_gradients_on_both() -> None:
    taken = torch.tensor(
        [[1.0, 0.0] * 8, [0.0, 1.0] * 8, [0.0] * 8 + [1.0] * 8], dtype=torch.float64
    )
    x, task = images(33, 3, torch.float64), Task("birds", 4, 10)
    logits, gradients, state = [], [], {}
    for source in twins():
        network = SpotTune().build(source, [task]).double()
        if not state:
            state = network.state_dict()
            for name, tensor in state.items():
                if ".tuned." in name and tensor.dim() > 1:
                    tensor.add_(0.1 * tensor.std() * torch.randn_like(tensor))
        network.load_state_dict(state)
        decisions = taken.clone().requires_grad_()
        out = network.train()(x, policy=decisions)
        out.square().sum().backward()
        logits.append(out.detach())
        found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        gradients.append(found | {"decisions": decisions.grad})
    assert torch.allclose(logits[0], logits[1], rtol=1e-9)
    assert any(".tuned." in name for name in gradients[0])
    assert_close(*gradients)


def assert_close(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        expected = other[name]
        assert gradient is not None
        assert expected is not None
        scale = float(expected.abs().max())
        assert scale > 0, name
        assert torch.allclose(gradient, expected, rtol=0, atol=1e-5 * scale), name


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet50", 1.0),
        ("resnet50_gn", 1.0),
        ("resnet18", 0.25),
        ("vit_tiny_patch16_224", 0.25),
        ("test_resnet", 0.25),
    ],
)
def test_policy_network(name: str, width: float) -> None:
    assert Architecture(f"timm:{name}").policy == Architecture("resnet10", width)


def test_input_is_that_of_the_weights() -> None:
    lite, transformer = (
        find(f"timm:{name}").input for name in ("tf_efficientnet_lite0", "vit_tiny_patch16_224")
    )
    assert lite is not None
    assert transformer is not None
    assert (lite.side, lite.mean, lite.std, lite.fixed) == (224, (0.5,) * 3, (0.5,) * 3, False)
    assert (transformer.side, transformer.fixed) == (224, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timm:resnte18", "unknown network 'timm:resnte18', did you mean 'resnet18'"),
        ("timm:hf-hub:timm/resnet18", "unknown network 'timm:hf-hub"),
        ("timm:resnet18.nowhere", "timm cannot build .*nowhere"),
        ("timm:resnet18.", r"unknown network 'timm:resnet18\.', did you mean 'resnet18'"),
        ("timm", "stands for many: write timm:NAME"),
        ("timm:vgg11", "is a VGG of timm; supported are ResNet, EfficientNet, .*ConvNeXt$"),
        ("timm:deit_tiny_distilled_patch16_224", "is a VisionTransformerDistilled of timm"),
    ],
)
def test_other_names_are_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as error:
        find(name)
    assert error.value.exit_code == 2
