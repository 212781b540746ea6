"""kNN: an image gets the class that its nearest training images vote for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from decathlon.method import Stored, Task
from decathlon.method.probe import Features, Probe, ProbeRecipe
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source
from decathlon.recipes import Count, Positive, Recipe
from decathlon.suites.papers import WU_2018

LEAST = 1e-12
"""Share of the votes of a class that got none, so that its logarithm is finite."""


@dataclass(frozen=True)
class KNNRecipe(ProbeRecipe):
    """Settings of kNN.

    Attributes:
        k: Training images that vote; all if there are fewer.
        temperature: Divides the cosine similarity in the weight of a vote.
    """

    k: Count = 20
    temperature: Positive = 0.07


class Neighbours(nn.Module):
    """A head without parameters: weighted votes of the nearest stored features.

    Attributes:
        features: Of the training images, N x D, each of length 1.
        labels: Their classes, N, int32.
    """

    features: Tensor
    labels: Tensor

    def __init__(self, count: int, size: int, num_classes: int, recipe: KNNRecipe) -> None:
        super().__init__()
        self.num_classes, self.recipe = num_classes, recipe
        self.register_buffer("features", torch.zeros(count, size))
        self.register_buffer("labels", torch.zeros(count, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Maps features, M x D, to the logarithm of each class's share of the votes, M x classes.

        A neighbour of cosine similarity s votes with weight exp(s / temperature).
        """
        similarity = normalize(x.float()) @ self.features.T
        nearest, index = similarity.topk(min(self.recipe.k, len(self.features)))
        weights = (nearest / self.recipe.temperature).softmax(1)
        votes = weights.new_zeros(len(x), self.num_classes)
        votes.scatter_add_(1, self.labels[index].long(), weights)
        return votes.clamp_min(LEAST).log()


class KNN(Probe):
    """Lets the k nearest training images vote, by cosine similarity of the source's features.

    Wu et al., CVPR 2018, section 3.4: the weight of a vote is exp(similarity / 0.07), with k = 200.
    Caron et al., ICCV 2021, found 20 neighbours best. Nothing is learnt; what is stored are the
    features of the training images, which count as the domain's parameters.
    """

    paper = "Wu et al., CVPR 2018"
    year = 2018
    trains = "nothing"
    bibtex = WU_2018
    recipes: ClassVar[dict[str, Recipe]] = {"paper": KNNRecipe()}
    recipe: KNNRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the frozen source network with room for the features of all training images."""
        network, (task,) = super().build(source, tasks), tasks
        assert isinstance(network, ResidualNetwork)
        size = network.head.in_features
        head = Neighbours(task.num_images, size, task.num_classes, self.recipe)
        network.head = head  # type: ignore[assignment]
        return network

    def fit(self, network: ResidualNetwork, features: Features) -> dict[str, Any]:
        """Stores the features."""
        network.head.features.copy_(normalize(features.values))  # type: ignore[operator]
        network.head.labels.copy_(features.labels)  # type: ignore[operator]
        return {}

    def stored(self, network: nn.Module) -> list[Stored]:
        """Counts the stored features as the domain's, not as a head."""
        listed = super().stored(network)
        return [replace(s, place="domain") if s.place == "head" else s for s in listed]
