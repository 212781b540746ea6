"""The methods on ResNet-50: SpotTune routes all of its blocks, others adapt it, some refuse it."""

from pathlib import Path
from typing import cast

import pytest
import torch
from decathlon_methods.spottune import SpotTune, SpotTuneRecipe
from decathlon_methods.spottune.global_network import GlobalNetwork
from decathlon_methods.spottune.routed_block import RoutedBlock
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from decathlon.method.base import Task
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.method.stored import count_parameters
from decathlon.models.layers import freeze
from decathlon.models.networks import Architecture
from decathlon.models.residual import ResidualNetwork
from decathlon.models.torchvision_resnet import Projection
from decathlon.models.weights import Source
from decathlon.suites.registry import find as find_suite
from decathlon.testing import check_method, made_up_source
from decathlon.training.device import to_device

NARROW = Architecture("resnet50", 0.125)
TASK = Task("dtd", 6, 100)
"""As many classes as the made-up source has."""
REFUSED = {
    "dan": "would have 28,209,152 numbers, and its convolutions have 23,454,912",
    "series-adapters": "not pretrained with series adapters",
    "series-adapters-decay": "not pretrained with series adapters",
    "series-adapters-large": "not pretrained with series adapters",
    "series-adapters-finetune-all": "not pretrained with series adapters",
}
TAKEN = [
    "scratch", "scratch-plus", "feature-extractor", "fine-tuning", "bn-adapt", "lwf",
    "parallel-adapters", "piggyback", "spottune", "spottune-global-k",
]  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return made_up_source(tmp_path, NARROW)


def images(count: int = 4) -> Tensor:
    drawn = torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


def plain(source: Source) -> ResidualNetwork:
    """The source's network as runs have it."""
    network = source.network()
    to_device(network, torch.device("cpu"))
    return network.eval()


def routed(source: Source, protocol: str = "paper") -> RoutedNetwork:
    """SpotTune's network with the source's head, as runs have it."""
    network = SpotTune(SpotTune.recipes[protocol]).build(source, [TASK])
    assert isinstance(network, RoutedNetwork)
    network.head.load_state_dict(source.network().head.state_dict())
    to_device(network, torch.device("cpu"))
    return network.eval()


@pytest.mark.parametrize("protocol", ["paper", "released"])
@pytest.mark.parametrize("grad", [False, True])
def test_both_paths_are_the_source_at_step_0(source: Source, grad: bool, protocol: str) -> None:
    network, x = routed(source, protocol), images()
    assert network.num_routed == 16
    with torch.set_grad_enabled(grad):
        expected = plain(source)(x)
        for decision in (torch.zeros, torch.ones):
            assert torch.equal(network(x, policy=decision(4, 16)), expected)
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


def test_both_paths_of_resnet26_are_the_source_at_step_0(tmp_path: Path) -> None:
    source = made_up_source(tmp_path, Architecture(width=0.25))
    network, x = routed(source), images()
    expected = plain(source)(x)
    for decision in (torch.zeros, torch.ones):
        torch.testing.assert_close(network(x, policy=decision(4, 8)), expected)


def test_both_copies_hold_the_sources_tensors_projections_included(source: Source) -> None:
    blocks = [m for m in routed(source).modules() if isinstance(m, RoutedBlock)]
    for block, (_, original) in zip(blocks, source.network().blocks(), strict=True):
        for tuned in (False, True):
            copy = block.plain(tuned).state_dict()
            assert copy.keys() == original.state_dict().keys()
            assert all(torch.equal(copy[n], t) for n, t in original.state_dict().items())


def test_what_is_trained_and_stored_is_the_tuned_copy_policy_and_head(source: Source) -> None:
    network = routed(source)
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    assert learning == {
        n
        for n, _ in network.named_parameters()
        if ".tuned." in n or n.startswith(("policy.", "head."))
    }
    assert any(".tuned.shortcut.0.weight" in name for name in learning)


def test_a_step_on_the_tuned_path_is_a_step_of_fine_tuning_the_blocks(source: Source) -> None:
    network, fine_tuned = routed(source).train(), plain(source)
    freeze(fine_tuned.stem)
    fine_tuned.train()
    labels = torch.arange(4)
    for logits in (network(images(), policy=torch.ones(4, 16)), fine_tuned(images())):
        cross_entropy(logits, labels).backward()
    blocks = [m for m in network.modules() if isinstance(m, RoutedBlock)]
    for block, (name, original) in zip(blocks, fine_tuned.blocks(), strict=True):
        for part, parameter in original.named_parameters():
            found = dict(block.plain(tuned=True).named_parameters())[part]
            assert found.grad is not None
            torch.testing.assert_close(
                found.grad, parameter.grad, rtol=1e-3, atol=1e-4, msg=f"{name}.{part}"
            )


def test_decisions_are_learnt_as_equation_2_says(source: Source) -> None:
    """The gradient of a decision is that of the mixture of whole blocks, projections included."""
    network, x = routed(source), images()
    block = next(m for m in network.modules() if isinstance(m, RoutedBlock))
    assert block.shortcut is None
    for parameter in block.tuned.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    h = network.stem(x).detach()
    found, by_hand = (torch.tensor([0.0, 1, 1, 0]).requires_grad_() for _ in range(2))
    block(h, found).square().sum().backward()
    share = by_hand[:, None, None, None]
    mixed = share * block.tuned(h) + (1 - share) * block.frozen(h)
    block.activation(mixed).square().sum().backward()
    assert found.grad is not None
    torch.testing.assert_close(found.grad, by_hand.grad, rtol=1e-3, atol=1e-3)


def test_global_k_keeps_the_sources_names_and_k_whole_blocks(source: Source) -> None:
    kind = find("spottune-global-k")
    method = kind(apply(kind.recipes, {"k": 2}, "global-k"))
    network = cast(GlobalNetwork, method.build(source, [TASK]))
    with torch.no_grad():
        network.usage.copy_(torch.linspace(1, 0, 16))
    final = method.finalise(network).eval()
    assert final.state_dict().keys() == source.network().state_dict().keys()
    own = {s.name.rsplit(".", 2)[0] for s in method.stored(final) if s.place == "domain"}
    assert own == {f"macros.0.{b}.branch" for b in (0, 1)} | {"macros.0.0.shortcut"}
    expected = nn.Sequential(final.stem, *final.macros, final.tail, final.head)(images())
    assert torch.equal(final(images()), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_methods_that_work_on_both_networks(name: str) -> None:
    assert find(name).refusal(Source(Architecture("resnet50"), 1000)) == ""
    check_method(name, suite="fine-grained", network="resnet50")


@pytest.mark.parametrize("name", REFUSED)
def test_methods_that_refuse_say_why(name: str) -> None:
    kind = find(name)
    assert REFUSED[name] in kind.refusal(Source(Architecture("resnet50"), 1000))
    assert kind.refusal(Source(Architecture(), 1000)) == ""
    assert kind.refusal(Source(Architecture(width=0.125), 1000)) == ""


def test_a_refusal_does_not_conform() -> None:
    with pytest.raises(AssertionError, match="refuses the network: the controllers"):
        check_method("dan", network="resnet50")


def test_parallel_adapters_train_no_convolution_of_the_source(source: Source) -> None:
    network = find("parallel-adapters")().build(source, [TASK])
    convs = {n: c for n, c in network.named_modules() if isinstance(c, nn.Conv2d)}
    trained = {n for n, c in convs.items() if c.weight.requires_grad}
    assert trained == {n for n in convs if n.endswith(".adapter.conv")}
    assert len(trained) == 16  # one for each 3x3 convolution
    assert sum(isinstance(m, Projection) for m in network.modules()) == 4


def test_the_policy_learns_at_the_rate_of_the_head_where_the_suite_gives_one(
    source: Source,
) -> None:
    on = find_suite("fine-grained")
    recipe = apply(SpotTune.recipes, {}, "spottune", on)
    assert isinstance(recipe, SpotTuneRecipe)
    assert (recipe.lr, recipe.head_lr, recipe.policy_lr) == (0.001, 0.01, 0.01)
    assert recipe.policy_weight_decay == recipe.decay("cubs") == 5e-4
    own = apply(SpotTune.recipes, {"policy_lr": 0.5}, "spottune", on)
    assert isinstance(own, SpotTuneRecipe)
    assert own.policy_lr == 0.5
    piggyback = apply(SpotTune.recipes, {"protocol": "piggyback"}, "spottune", on)
    assert isinstance(piggyback, SpotTuneRecipe)
    assert (piggyback.head_lr, piggyback.policy_lr) == (None, 0.001)
    method = SpotTune(recipe)
    network = method.build(source, [TASK])
    (phase,) = method.phases(network, [TASK])
    rates = {p: group.lr for group in phase.groups for p in group.parameters}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            expected = 0.01 if name.startswith(("head.", "policy.")) else 0.001
            assert rates.pop(parameter) == expected
    assert not rates


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("feature-extractor", 0.0),
        ("fine-tuning", 1.0),
        ("lwf", 1.0),
        ("piggyback", 23_454_912 / 32 / 23_508_032),
        ("bn-adapt", 53_120 / 23_508_032),
    ],
)
def test_parameters_are_counted_in_units_of_one_resnet50(name: str, expected: float) -> None:
    source = Source(Architecture("resnet50"), 1000)
    method = find(name)()
    network = method.finalise(method.build(source, [TASK]))
    found = count_parameters(method, network, source)
    assert found.unit == 32 * 23_508_032
    assert found.domain / found.unit == pytest.approx(expected)
