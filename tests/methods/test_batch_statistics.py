"""The setting ``bn``: tuned layers normalise by each batch, or by the source's statistics."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import UsageError
from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import Recipe, TuningRecipe, apply, from_json
from decathlon.method.registry import find, registered
from decathlon.models.tensor_names import RUNNING
from decathlon.models.weights import Source
from decathlon.testing import check_method

TASK = Task("dtd", 4, 100)
Trained = Callable[[Method, nn.Module, int], nn.Module]
TUNING = [
    "fine-tuning", "stochastic-fine-tuning", "last-k", "last-2", "last-1", "l2-sp", "lp-ft",
    "surgical", "progressive-nets", "lwf", "random-policy", "spottune-global-k", "spottune",
]  # fmt: skip


RATE = 0.005
"""A rate for random weights that no batch's statistics keep in bounds: at 0.1 they diverge."""


def method(name: str, **settings: object) -> Method:
    kind = find(name)
    rate = {"lr": RATE} if settings.get("bn") == "source" else {}
    return kind(apply(kind.recipes, {"epochs": 1, **rate, **settings}, name))


def statistics(network: nn.Module) -> dict[str, Tensor]:
    """The batch statistics of all but the policy network."""
    return {
        name.removeprefix("student."): tensor.clone()
        for name, tensor in network.state_dict().items()
        if name.endswith(RUNNING) and not name.startswith("policy.")
    }


def test_these_methods_have_the_setting() -> None:
    found = [name for name in registered() if isinstance(find(name)().recipe, TuningRecipe)]
    assert set(found) == {*TUNING, "spottune-all-tuned"}


@pytest.mark.parametrize("name", TUNING)
def test_the_sources_statistics_stay_bit_by_bit(
    name: str, source: Source, trained: Trained
) -> None:
    one = method(name, bn="source")
    torch.manual_seed(0)
    network = one.build(source, [TASK])
    before = statistics(network)
    final = trained(one, network, 4)
    after = statistics(final)
    common = before.keys() & after.keys()
    assert common
    assert all(torch.equal(after[key], before[key]) for key in common)
    own = [stored.name for stored in one.stored(final) if stored.place == "domain"]
    assert not any(name.endswith(RUNNING) for name in own if not name.startswith("policy."))
    assert any(name.endswith("bn1.weight") for name in own)
    learnt = {name for name, p in final.named_parameters() if p.requires_grad}
    assert set(own) & learnt


@pytest.mark.parametrize("name", TUNING)
def test_statistics_move_by_default(name: str, source: Source, trained: Trained) -> None:
    one = method(name)
    torch.manual_seed(0)
    network = one.build(source, [TASK])
    before = statistics(network)
    after = statistics(trained(one, network, 4))
    assert any(not torch.equal(after[key], before[key]) for key in before.keys() & after.keys())


@pytest.mark.parametrize("name", ["fine-tuning", "last-k", "l2-sp"])
def test_training_normalises_as_evaluation_does(name: str, source: Source, batch: Batch) -> None:
    network = method(name, bn="source").build(source, [TASK])
    training = network.train()(batch.images)
    assert torch.equal(training, network.eval()(batch.images))
    moving = method(name).build(source, [TASK])
    moving.load_state_dict(network.state_dict())
    assert not torch.allclose(moving.train()(batch.images), training)


def test_what_a_trained_normalisation_computes_does_not_depend_on_other_images(
    source: Source, batch: Batch
) -> None:
    network = method("fine-tuning", bn="source").build(source, [TASK]).train()
    torch.testing.assert_close(network(batch.images)[:2], network(batch.images[:2]))


def test_batch_is_what_training_did_before_there_was_a_choice(
    source: Source, trained: Trained
) -> None:
    results = []
    for one in (Method(Recipe(epochs=1)), method("fine-tuning"), method("fine-tuning", bn="batch")):
        torch.manual_seed(0)
        results.append(trained(one, one.build(source, [TASK]), 5).state_dict())
    for other in results[1:]:
        assert all(torch.equal(other[name], tensor) for name, tensor in results[0].items())


@pytest.mark.parametrize("name", TUNING)
def test_defaults_leave_no_trace_in_the_json(name: str) -> None:
    kind = find(name)
    plain = apply(kind.recipes, {}, name)
    assert not {"bn", "fixed"} & plain.as_json().keys()
    assert from_json(kind.recipes, plain.as_json(), name) == plain
    chosen = apply(kind.recipes, {"bn": "source"}, name)
    assert chosen.as_json()["bn"] == "source"
    assert from_json(kind.recipes, chosen.as_json(), name) == chosen
    with pytest.raises(UsageError, match="'batch' or 'source'"):
        apply(kind.recipes, {"bn": "frozen"}, name)


def test_released_spottune_moves_the_statistics_of_both_paths_unless_told(
    source: Source, trained: Trained
) -> None:
    for bn in ("batch", "source"):
        one = method("spottune", protocol="released", bn=bn)
        network = one.build(source, [TASK])
        before = statistics(network)
        after = statistics(trained(one, network, 3))
        moved = {n for n in before if not torch.equal(before[n], after[n])}
        paths = {path for n in moved for path in ("frozen", "tuned") if f".{path}." in n}
        assert paths == ({"frozen", "tuned"} if bn == "batch" else set())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fine-tuning", {}),
        pytest.param("stochastic-fine-tuning", {}, marks=pytest.mark.slow),
        pytest.param("stochastic-fine-tuning", {"per": "step"}, marks=pytest.mark.slow),
        ("lwf", {}),
        ("lp-ft", {}),
        pytest.param("progressive-nets", {}, marks=pytest.mark.slow),
        ("spottune", {}),
        pytest.param("spottune-global-k", {}, marks=pytest.mark.slow),
    ],
)
def test_methods_conform_with_the_sources_statistics(name: str, settings: dict[str, str]) -> None:
    check_method(name, {"bn": "source", "lr": RATE, **settings})
