"""What a probe is: a head fitted to the features of the frozen source network, without steps.

A probe is a method whose :meth:`Probe.fit` takes the place of the training. It is found through an
entry point of the group ``decathlon.probes``; ``decathlon probe`` runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from decathlon.method.base import Method, Task
from decathlon.method.recipe import Recipe
from decathlon.models.layers import freeze
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source
from decathlon.suites.base import Suite


@dataclass(frozen=True)
class ProbeRecipe(Recipe):
    """Settings of a probe: those of a training have no effect, and its JSON lacks them."""

    def on(self, suite: Suite) -> Self:
        """Returns the recipe itself: what a suite sets is for trainings."""
        return self

    def as_json(self) -> dict[str, Any]:
        """Returns the protocol and the probe's own fields as JSON values."""
        training = {f.name for f in fields(Recipe)} - {"protocol"}
        return {key: value for key, value in super().as_json().items() if key not in training}


@dataclass(frozen=True)
class Features:
    """What the head of the source network sees of the training images.

    Attributes:
        values: N x D, float32.
        labels: N, int64.
        held_out: N, bool: images to choose settings by. The final head is fitted to all.
    """

    values: Tensor
    labels: Tensor
    held_out: Tensor

    def only(self, chosen: Tensor) -> Features:
        """Returns the images where ``chosen``, N, bool, is true."""
        return Features(self.values[chosen], self.labels[chosen], self.held_out[chosen])


class Probe(Method):
    """A method that fits the head of the frozen source network to features."""

    recipes: ClassVar[dict[str, Recipe]] = {"paper": ProbeRecipe()}

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the frozen source network with a new head, which :meth:`fit` fills.

        The head maps N x D features to N x classes logits, and has the shape of the final one.
        """
        network = freeze(source.network())
        network.new_head(tasks[0].num_classes)
        return network

    def fit(self, network: ResidualNetwork, features: Features) -> dict[str, Any]:
        """Fits the head of a network in place.

        Args:
            network: What :meth:`build` returned, on the CPU.
            features: Of the training images, on the CPU.

        Returns:
            What was chosen by the images held out, for the record: JSON values; empty if nothing.
        """
        return {}
