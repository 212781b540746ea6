"""Methods that train some blocks of the source: exactly those, and the same after a restart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from decathlon_methods.stochastic_fine_tuning import StochasticFineTuning, drawn
from torch import nn

from decathlon.common.errors import UsageError
from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.method.stored import keep_source, load_trained, save_trained
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source
from decathlon.training.device import Compute
from decathlon.training.optimisers import Optimisers

TASK = Task("dtd", 4, 100)
Trained = Callable[[Method, nn.Module, int], nn.Module]


def method(name: str, **settings: object) -> Method:
    kind = find(name)
    return kind(apply(kind.recipes, {"epochs": 1, **settings}, name))


def changed(network: nn.Module, source: Source) -> set[str]:
    """Names of the parts that training changed: blocks, and what else has tensors."""
    assert isinstance(network, ResidualNetwork)
    before, blocks = source.network().state_dict(), [name for name, _ in network.blocks()]
    found = set()
    for name, tensor in network.state_dict().items():
        if name not in before or not torch.equal(tensor, before[name]):
            inside = [block for block in blocks if name.startswith(f"{block}.")]
            found.add(inside[0] if inside else name.partition(".")[0])
    return found


@pytest.mark.parametrize(("name", "k"), [("last-k", 3), ("last-2", 2), ("last-1", 1)])
def test_exactly_the_last_blocks_and_the_head_are_trained(
    name: str, k: int, source: Source, trained: Trained
) -> None:
    one = method(name)
    network = trained(one, one.build(source, [TASK]), 2)
    last = [block for block, _ in source.network().blocks()][-k:]
    assert changed(network, source) == {*last, "head"}


def test_k_can_be_set_up_to_all_blocks(source: Source) -> None:
    network = method("last-k", k=12).build(source, [TASK])
    learnt = {n for n, p in network.named_parameters() if p.requires_grad}
    assert {n for n, p in network.named_parameters() if n.startswith("macros.")} <= learnt
    with pytest.raises(UsageError, match="k=13: the network has 12"):
        method("last-k", k=13).build(source, [TASK])


@pytest.mark.parametrize("name", ["last-1", "last-2"])
def test_the_k_of_a_name_cannot_be_set(name: str) -> None:
    with pytest.raises(UsageError, match="k: "):
        method(name, k=3)


def seeded(one: Method, source: Source, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return one.build(source, [TASK])


def test_half_of_the_blocks_are_drawn_by_the_seed_and_trained(
    source: Source, trained: Trained
) -> None:
    one, choices = method("stochastic-fine-tuning"), []
    for seed in (0, 0, 1, 2):
        parts = changed(trained(one, seeded(one, source, seed), 2), source)
        assert "head" in parts
        choices.append(frozenset(parts - {"head"}))
    assert all(len(blocks) == 6 for blocks in choices)
    assert choices[0] == choices[1]
    assert len(set(choices)) == 3


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.25, 3), (1.0, 12)])
def test_share_is_that_of_the_blocks(share: float, number: int) -> None:
    assert len(drawn(5, 12, share)) == number


def test_every_block_is_drawn_equally_often() -> None:
    draws = [drawn(key, 12, 0.5) for key in range(400)]
    times = [sum(block in draw for draw in draws) for block in range(12)]
    # 200 expected, standard deviation 10.
    assert all(150 < time < 250 for time in times)


@pytest.mark.parametrize("per", ["run", "step"])
def test_what_was_drawn_is_found_in_the_weights(
    per: str, source: Source, trained: Trained, batch: Batch, tmp_path: Path
) -> None:
    one = method("stochastic-fine-tuning", per=per)
    network = trained(one, seeded(one, source, 3), 4).eval()
    keep_source(source, tmp_path)
    path = tmp_path / "run" / "weights.safetensors"
    save_trained(path, one, network, source, [TASK])
    torch.manual_seed(99)
    loaded = load_trained(path, type(one)).eval()
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    stored = {s.name for s in one.stored(loaded) if s.place == "domain"}
    assert stored == {s.name for s in one.stored(network) if s.place == "domain"}
    blocks = {name for name, _ in source.network().blocks() if f"{name}.branch.bn1.bias" in stored}
    assert len(blocks) == (6 if per == "run" else 12)


def step_choice(one: StochasticFineTuning, network: nn.Module, batch: Batch) -> set[str]:
    network.zero_grad()
    one.loss(network, batch).backward()
    assert isinstance(network, ResidualNetwork)
    return {
        n for n, block in network.blocks() if all(p.grad is not None for p in block.parameters())
    }


def test_blocks_of_a_step_follow_from_seed_domain_and_step(source: Source, batch: Batch) -> None:
    one = method("stochastic-fine-tuning", per="step")
    assert isinstance(one, StochasticFineTuning)
    network = one.build(source, [TASK]).train()
    first = step_choice(one, network, batch)
    later = step_choice(one, network, replace(batch, progress=0.1))
    other = step_choice(one, network, replace(batch, key=12))
    assert len(first) == len(later) == len(other) == 6
    assert first != later
    assert first != other
    torch.manual_seed(5)
    assert step_choice(one, one.build(source, [TASK]).train(), batch) == first


def test_blocks_that_are_not_drawn_neither_decay_nor_move(source: Source, batch: Batch) -> None:
    one = method("stochastic-fine-tuning", per="step", weight_decay=0.5)
    assert isinstance(one, StochasticFineTuning)
    network = one.build(source, [TASK]).train()
    assert isinstance(network, ResidualNetwork)
    fabric = Compute("cpu", "32").fabric()
    (phase,) = one.phases(network, [TASK])
    optimisers = Optimisers(phase, fabric)
    for progress in (0.0, 0.1, 0.2):
        before = {n: t.clone() for n, t in network.state_dict().items()}
        chosen = step_choice(one, network, replace(batch, progress=progress))
        optimisers.step()
        after = network.state_dict()
        for name, _ in network.blocks():
            same = [torch.equal(after[n], before[n]) for n in before if n.startswith(f"{name}.")]
            assert all(same) == (name not in chosen), name


@pytest.mark.parametrize(
    ("bn", "moved"),
    [
        ("frozen", set()),
        ("stats", {"running_mean", "running_var", "num_batches_tracked"}),
        ("train", {"running_mean", "running_var", "num_batches_tracked", "weight", "bias"}),
    ],
)
def test_the_extractor_changes_of_its_norms_what_bn_says(
    bn: str, moved: set[str], source: Source, trained: Trained
) -> None:
    one = method("feature-extractor", bn=bn)
    network = trained(one, one.build(source, [TASK]), 2)
    before = source.network().state_dict()
    now = {n: t for n, t in network.state_dict().items() if not n.startswith("head.")}
    differ = {n for n, t in now.items() if not torch.equal(t, before[n])}
    assert {name.rpartition(".")[2] for name in differ} == moved
    assert all(".bn" in f".{name}" for name in differ)
    stored = {s.name for s in one.stored(network) if s.place == "domain"}
    assert stored == differ


def test_the_recipe_of_a_frozen_extractor_is_that_of_earlier_records() -> None:
    assert "bn" not in method("feature-extractor").recipe.as_json()
    recipe = method("feature-extractor", bn="stats").recipe
    assert recipe.as_json()["bn"] == "stats"
