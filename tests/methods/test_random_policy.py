"""Random policy and running fine-tuned blocks: whose path, and what there is of each block."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from decathlon_methods.spottune import SpotTune
from decathlon_methods.spottune.all_tuned import SpotTuneAllTuned
from decathlon_methods.spottune.random_policy import RandomPolicy
from decathlon_methods.spottune.routing import RoutedNetwork
from torch import Tensor, nn

from decathlon.common.errors import UsageError
from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.method.stored import keep_source, load_trained, save_trained
from decathlon.models.weights import Source

TASK = Task("dtd", 4, 100)


def random(**settings: object) -> RandomPolicy:
    return RandomPolicy(apply(RandomPolicy.recipes, {"epochs": 1, **settings}, "random-policy"))


def seeded(source: Source, seed: int, **settings: object) -> nn.Module:
    torch.manual_seed(seed)
    return random(**settings).build(source, [TASK]).eval()


def routing(network: nn.Module, batch: Batch, **settings: object) -> Tensor:
    with torch.inference_mode():
        found = random(**settings).predict(network, batch)[1]
    assert found is not None
    return found


def test_routing_is_a_function_of_seed_and_image(source: Source, batch: Batch) -> None:
    network = seeded(source, 0)
    usual = routing(network, batch)
    assert usual.shape == (len(batch.ids), 8)
    elsewhere = replace(batch, key=99, progress=0.7, phase=0, images=torch.randn(16, 3, 16, 16))
    assert torch.equal(routing(network, elsewhere), usual)
    order = torch.randperm(len(batch.ids))
    turned = replace(batch, images=batch.images[order], ids=batch.ids[order])
    assert torch.equal(routing(network, turned), usual[order])
    assert torch.equal(routing(seeded(source, 0), batch), usual)
    assert not torch.equal(routing(seeded(source, 1), batch), usual)
    others = replace(batch, ids=batch.ids + 1000)
    assert not torch.equal(routing(network, others), usual)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_other_blocks_are_tuned_with_a_probability_and_the_last_ones_always(
    source: Source, batch: Batch, probability: float
) -> None:
    network = seeded(source, 0, probability=probability)
    many = replace(batch, images=torch.zeros(2000, 3, 8, 8), ids=torch.arange(2000))
    found = routing(network, many).mean(0)
    assert (found[-3:] == 1).all()
    # Four standard deviations of a mean of 2,000.
    error = 4 * (probability * (1 - probability) / 2000) ** 0.5
    assert ((found[:-3] - probability).abs() <= error).all()


def test_training_takes_the_paths_of_testing(source: Source, batch: Batch) -> None:
    network, taken = seeded(source, 0), []
    assert isinstance(network, RoutedNetwork)
    forward = network.forward

    def spy(images: Tensor, policy: Tensor | None = None) -> Tensor:
        taken.append(policy)
        return forward(images, policy)

    network.forward = spy  # type: ignore[method-assign]
    random().loss(network.train(), batch).backward()
    assert torch.equal(taken[0], routing(network.eval(), batch)[:, :5])


@pytest.mark.parametrize("always", [1, 3, 8])
def test_only_the_copies_that_are_needed_exist(source: Source, always: int) -> None:
    network = random(always=always).build(source, [TASK])
    names = network.state_dict().keys()
    copies = {n.partition(".frozen.")[0] for n in names if ".frozen." in n}
    routed = [name for name, _ in source.network().blocks()][4:]
    assert copies == set(routed[: 8 - always])
    assert {n for n in names if n.startswith("policy.")} == {"policy.key"}
    last = [p for n, p in network.named_parameters() if n.startswith(tuple(routed[-always:]))]
    assert all(p.requires_grad for p in last)


def test_more_blocks_than_are_routed_cannot_always_be_tuned(source: Source) -> None:
    with pytest.raises(UsageError, match="always=9: SpotTune routes 8"):
        random(always=9).build(source, [TASK])


def test_a_loaded_network_takes_the_same_paths(
    source: Source, batch: Batch, trained: Callable[[Method, nn.Module, int], nn.Module],
    tmp_path: Path,
) -> None:  # fmt: skip
    network = trained(random(), seeded(source, 0), 2).eval()
    keep_source(source, tmp_path)
    path = tmp_path / "run" / "weights.safetensors"
    save_trained(path, random(), network, source, [TASK])
    torch.manual_seed(5)
    loaded = load_trained(path, RandomPolicy).eval()
    assert torch.equal(routing(loaded, batch), routing(network, batch))
    # Without ids, images are numbered in the batch.
    numbered = replace(batch, ids=torch.arange(len(batch.ids)))
    with torch.inference_mode():
        wanted = random().predict(network, numbered)[0]
        assert torch.allclose(network(batch.images), wanted, atol=1e-5)


def test_all_tuned_takes_the_tuned_path_of_a_trained_spottune(
    source: Source, batch: Batch, trained: Callable[[Method, nn.Module, int], nn.Module]
) -> None:
    method = SpotTune(apply(SpotTune.recipes, {"epochs": 1}, "spottune"))
    network = trained(method, method.build(source, [TASK]), 3).eval()
    assert isinstance(network, RoutedNetwork)
    assert SpotTuneAllTuned.trained_by == "spottune"
    assert SpotTuneAllTuned.recipes == SpotTune.recipes
    with torch.inference_mode():
        logits, found = SpotTuneAllTuned(method.recipe).predict(network, batch)
        own, _ = method.predict(network, batch)
        for name, parameter in network.named_parameters():
            if ".frozen." in name:
                parameter.fill_(torch.nan)
        alone, _ = SpotTuneAllTuned(method.recipe).predict(network, batch)
    assert found is not None
    assert (found == 1).all()
    assert found.shape == (len(batch.ids), 8)
    assert torch.equal(alone, logits)
    assert not torch.equal(own, logits)
