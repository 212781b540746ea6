"""L2-SP: fine-tuning whose weights are drawn back to the source's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from decathlon.method import Batch, Method, Task
from decathlon.models.layers import normalise_by
from decathlon.models.residual import fix_beginning
from decathlon.models.tensor_names import HEAD
from decathlon.models.weights import Source
from decathlon.recipes import NonNegative, Recipe, TuningRecipe
from decathlon.suites.base import Suite
from decathlon.suites.papers import LI_2018_EXPLICIT


@dataclass(frozen=True)
class L2SPRecipe(TuningRecipe):
    """Settings of L2-SP.

    Attributes:
        alpha: Strength of the penalty towards the source
            (holyseven/TransferLearningClassification, ``train.sh``).
        beta: Strength of the penalty on the head's weights (the same).
    """

    alpha: NonNegative = 0.1
    beta: NonNegative = 0.01

    def on(self, suite: Suite) -> Self:
        """Returns the recipe for a suite, with its own weight decay."""
        return replace(super().on(suite), weight_decay=self.weight_decay)


def trunk_weights(network: nn.Module) -> list[nn.Parameter]:
    """Returns the trunk's trained weights without normalisations and biases, in order."""
    named = network.named_parameters()
    return [p for n, p in named if p.requires_grad and p.ndim > 1 and not n.startswith(HEAD)]


class L2SP(Method):
    """Fine-tunes under a penalty on the distance to the source's weights.

    Li et al., ICML 2018: the loss is cross-entropy + alpha/2 ||w - w0||^2 + beta/2 ||v||^2 with
    w the trunk's weights, w0 the source's and v the head's weights. As in the authors' code
    (``network_base.py``, lines 138-156, mode 1), weights and biases of batch normalisations and
    the head's bias have no penalty. There is no weight decay beside it. The SpotTune
    paper gives neither alpha nor beta; ours are those of that code.
    """

    paper = "Li et al., ICML 2018"
    year = 2018
    trains = "all, drawn to the source"
    bibtex = LI_2018_EXPLICIT
    recipes: ClassVar[dict[str, Recipe]] = {"paper": L2SPRecipe(weight_decay={"default": 0.0})}
    recipe: L2SPRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network with a new head, and w0 beside it."""
        network = normalise_by(super().build(source, tasks), self.recipe.bn)
        fix_beginning(network, self.recipe.fixed_macros(source))
        start = [w.detach().clone() for w in trunk_weights(network)]
        network.add_module("start", nn.ParameterList(nn.Parameter(w, False) for w in start))
        return network

    def penalty(self, network: nn.Module) -> Tensor:
        """Returns alpha/2 ||w - w0||^2 + beta/2 ||v||^2, scalar."""
        start = network.get_submodule("start").parameters()
        pairs = zip(trunk_weights(network), start, strict=True)
        to_source = torch.stack([(w - w0).square().sum() for w, w0 in pairs]).sum()
        head = network.get_parameter(f"{HEAD}weight").square().sum()
        return 0.5 * (self.recipe.alpha * to_source + self.recipe.beta * head)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy and the penalty."""
        return super().loss(network, batch) + self.penalty(network)

    def finalise(self, network: nn.Module) -> nn.Module:
        """Drops w0."""
        del network.start
        return network
