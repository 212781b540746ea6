"""The setting ``fixed``: the stem and the first macro blocks stay the source's, whatever learns."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import UsageError
from decathlon.method.base import Method, Task
from decathlon.method.recipe import apply, from_json
from decathlon.method.registry import find
from decathlon.models.layers import frozen_names
from decathlon.models.weights import Source
from decathlon.testing import check_method

TASK = Task("dtd", 4, 100)
Trained = Callable[[Method, nn.Module, int], nn.Module]
WHOLE = ["fine-tuning", "l2-sp", "lp-ft", "lwf", "progressive-nets"]
"""Methods that train all layers of the source by default."""
OTHERS = ["stochastic-fine-tuning", "last-k", "spottune", "random-policy"]


def method(name: str, **settings: object) -> Method:
    kind = find(name)
    return kind(apply(kind.recipes, {"epochs": 1, **settings}, name))


def final(one: Method, source: Source, trained: Trained) -> nn.Module:
    torch.manual_seed(0)
    return trained(one, one.build(source, [TASK]), 4)


def beginning(network: nn.Module, macros: int) -> dict[str, Tensor]:
    """The tensors of the stem and the first macro blocks, statistics included."""
    first = ("stem.", *(f"macros.{number}." for number in range(macros)))
    return {n: t for n, t in network.state_dict().items() if n.startswith(first)}


def moved(network: nn.Module, source: Source, names: set[str]) -> set[str]:
    start = source.network().state_dict()
    return {n for n in names if not torch.equal(network.state_dict()[n], start[n])}


@pytest.mark.parametrize("name", [*WHOLE, *OTHERS])
@pytest.mark.parametrize("fixed", [0, 2])
def test_the_beginning_stays_the_sources_and_the_rest_moves(
    name: str, fixed: int, source: Source, trained: Trained
) -> None:
    one = method(name, fixed=fixed, **({"always": 1} if name == "random-policy" else {}))
    network = final(one, source, trained)
    fixed_names = beginning(network, fixed).keys()
    assert not moved(network, source, set(fixed_names))
    assert fixed_names <= frozen_names(network)
    places = {stored.name: stored.place for stored in one.stored(network)}
    assert {places[n] for n in fixed_names} == {"shared"}
    assert "domain" in places.values()
    if name in WHOLE:
        common = network.state_dict().keys() & source.network().state_dict().keys()
        weights = {n for n in common - fixed_names if n.endswith((".weight", "running_mean"))}
        assert moved(network, source, weights) >= {n for n in weights if n.startswith("macros")}


@pytest.mark.parametrize("name", WHOLE)
def test_by_default_the_stem_moves_too(name: str, source: Source, trained: Trained) -> None:
    network = final(method(name), source, trained)
    assert "stem.conv.weight" in moved(network, source, {"stem.conv.weight"})
    assert not frozen_names(network) & beginning(network, 3).keys()


def test_blocks_are_drawn_from_those_that_are_not_fixed(source: Source) -> None:
    one = method("stochastic-fine-tuning", fixed=1, share=1.0)
    network = one.build(source, [TASK])
    tuned = {n.split(".branch")[0] for n, p in network.named_parameters() if p.requires_grad}
    assert tuned == {"head.weight", "head.bias"} | {
        f"macros.{macro}.{block}" for macro in (1, 2) for block in range(4)
    }


@pytest.mark.parametrize("name", [*WHOLE, *OTHERS])
def test_one_macro_block_is_left_to_train(name: str, source: Source) -> None:
    with pytest.raises(UsageError, match=r"fixed=3: a resnet26 has 3 stages .* at most 2"):
        method(name, fixed=3).build(source, [TASK])


@pytest.mark.parametrize("name", WHOLE)
def test_the_json_has_it_where_it_is_set(name: str) -> None:
    kind = find(name)
    assert "fixed" not in method(name).recipe.as_json()
    recipe = method(name, fixed=0).recipe
    assert recipe.as_json()["fixed"] == 0
    assert from_json(kind.recipes, recipe.as_json(), name) == recipe


@pytest.mark.parametrize("name", [*WHOLE, "stochastic-fine-tuning", "last-k"])
def test_methods_conform_with_a_fixed_beginning(name: str) -> None:
    check_method(name, {"fixed": 1})
