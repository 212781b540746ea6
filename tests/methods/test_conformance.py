"""Every registered method keeps to what the bench relies on, in each protocol it has."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from decathlon import testing
from decathlon.method.base import Batch, Method, Stored
from decathlon.method.recipe import Recipe
from decathlon.method.registry import find, probes, registered
from decathlon.models.networks import Architecture
from decathlon.testing import check_method

QUICK = {("piggyback", "released"): {"lr": 1e-2}, ("knn", "paper"): {"k": 1}}
"""A rate for the head that learns too slowly for a few seconds; each image its own neighbour."""
CASES = [
    pytest.param(name, protocol, marks=[] if protocol == "paper" else pytest.mark.slow)
    for name in [*registered(), *probes()]
    for protocol in find(name).recipes
]


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_registered_methods_conform(name: str, protocol: str) -> None:
    found = check_method(name, {"protocol": protocol, **QUICK.get((name, protocol), {})})
    assert found.parameters.domain + found.parameters.head > 0


@pytest.mark.parametrize("name", ["fine-tuning", "series-adapters", "bn-adapt", "spottune"])
def test_methods_start_from_a_source_with_adapters(name: str) -> None:
    check_method(name, architecture=Architecture(width=0.25, adapters="series"))


class Idle(Method):
    """Learns nothing."""

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        return 0 * super().loss(network, batch)


class Liar(Method):
    """Says that what it trains is the source's."""

    def stored(self, network: nn.Module) -> list[Stored]:
        own = super().stored(network)
        return [s if s.place == "head" else replace(s, place="shared") for s in own]


class Forgetful(Method):
    """Stores its head only, and so loads another network."""

    def stored(self, network: nn.Module) -> list[Stored]:
        return [s for s in super().stored(network) if s.place == "head"]


class Restless(Method):
    """Answers at random."""

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        logits = self.logits(network, batch)
        return logits + torch.randn_like(logits), None


class Fractional(Method):
    """Routes by halves."""

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        return self.logits(network, batch), torch.full((len(batch.images), 3), 0.5)


@dataclass(frozen=True)
class CarelessRecipe(Recipe):
    """A number that may be anything."""

    strength: float = 1.0


class Careless(Method):
    """Has a setting without a range."""

    recipes = {"paper": CarelessRecipe()}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Idle, "does not overfit"),
        (Liar, "is shared, but training changed it"),
        (Forgetful, "logits differ after saving"),
        (Restless, "differs when called again"),
        (Fractional, "not made of 0 and 1"),
        (Careless, "any number would do for strength of its recipe"),
    ],
)
def test_methods_that_do_not_conform_are_found(
    method: type[Method], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "BUDGETS", (40,))
    with pytest.raises(AssertionError, match=message):
        check_method(method)
