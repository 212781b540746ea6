"""Random policy: SpotTune's routing without a policy network that learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from decathlon.common.errors import UsageError
from decathlon.method import Batch, Method, Policy, Task
from decathlon.models.noise import keyed_uniform
from decathlon.models.weights import Source
from decathlon.recipes import Count, Fraction, Recipe
from decathlon.suites.papers import GUO_2019

from . import SpotTune, SpotTuneRecipe
from .recipe import RoutingRecipe
from .routed_block import RoutedBlock
from .routing import RoutedNetwork

KEYS = 1 << 31
"""Number of keys. Data-parallel training averages buffers exactly in double precision: the sum of
as many keys as there are processes has to fit."""


@dataclass(frozen=True)
class RandomPolicyRecipe(RoutingRecipe):
    """Settings of the random policy.

    Attributes:
        probability: Of the tuned path, for each image and block.
        always: Blocks at the end that are tuned for all images.
    """

    probability: Fraction = 0.5
    always: Count = 3


class RandomDecisions(nn.Module):
    """Stands in the place of the policy network.

    Attributes:
        key: Of the noise, scalar, int64.
        num_routed: Blocks that decisions are drawn for.
        probability: Of the tuned path.
    """

    key: Tensor

    def __init__(self, key: Tensor, num_routed: int, probability: float) -> None:
        super().__init__()
        self.register_buffer("key", key)
        self.num_routed, self.probability = num_routed, probability

    def decide(self, ids: Tensor) -> Tensor:
        """Draws the decisions of images by their ids, N; N x L in {0, 1}."""
        return (keyed_uniform(self.key, ids, self.num_routed) < self.probability).float()

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits, N x 2 L, of images without ids: their places in the batch count."""
        tuned = self.decide(torch.arange(len(images), device=images.device))
        return torch.stack([1 - tuned, tuned], dim=-1).flatten(1)


def tune_last(network: RoutedNetwork, count: int) -> None:
    """Takes the frozen copies of the last routed blocks away, in place."""
    routed = [name for name, module in network.named_modules() if isinstance(module, RoutedBlock)]
    for name in routed[len(routed) - count :]:
        parent, _, child = name.rpartition(".")
        block = network.get_submodule(name)
        assert isinstance(block, RoutedBlock)
        setattr(network.get_submodule(parent), child, block.plain(tuned=True))
    network.num_routed -= count


class RandomPolicy(Method):
    """Routes each image through frozen and tuned blocks at random.

    SpotTune paper, section 4.1: the last three layers are tuned for all images, the others at
    random for each image. Ours: layers are residual blocks, and every other block that SpotTune
    routes takes an image through its tuned copy with probability 1/2 (the paper gives none). The
    decisions are a function of (seed, domain, image): an image takes the same path in every
    epoch, and images of the test set have one too. The last blocks have no frozen copy, and there
    is no policy network.
    """

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2019
    trains = "copies of blocks, head"
    bibtex = GUO_2019
    routes_images = True
    recipes: ClassVar[dict[str, Recipe]] = {"paper": RandomPolicyRecipe()}
    recipe: RandomPolicyRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns SpotTune's network with random decisions, its last blocks tuned only."""
        key, recipe = torch.randint(KEYS, ()), self.recipe
        routing = SpotTuneRecipe(bn=recipe.bn, fixed=recipe.fixed)
        network = SpotTune(routing).build(source, tasks)
        assert isinstance(network, RoutedNetwork)
        if recipe.always > network.num_routed:
            raise UsageError(
                f"--set always={recipe.always}: SpotTune routes {network.num_routed} blocks of this"
                " network; always is at most that"
            )
        tune_last(network, recipe.always)
        decisions = RandomDecisions(key, network.num_routed, recipe.probability)
        network.add_module("policy", decisions)
        return network

    def beginning(self, network: nn.Module) -> list[nn.Module]:
        """Stem, blocks and tail."""
        assert isinstance(network, RoutedNetwork)
        return network.layers()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the network under the decisions of each image."""
        return cross_entropy(self.predict(network, batch)[0].float(), batch.labels)

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits under the decisions of each image, and the decisions, the last ones always 1."""
        return self.predict_on(network, batch, self.policy(network, batch).decisions)

    def policy(self, network: nn.Module, batch: Batch) -> Policy:
        """The decisions of each image, without the last blocks; one probability for all."""
        decisions = network.get_submodule("policy")
        assert isinstance(decisions, RandomDecisions)
        drawn = decisions.decide(batch.ids)
        return Policy(drawn, torch.full_like(drawn, decisions.probability))

    def predict_on(
        self, network: nn.Module, batch: Batch, decisions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits under the decisions, and these, the last ones always 1."""
        logits: Tensor = network(batch.images, policy=decisions)
        return logits, pad(decisions, (0, self.recipe.always), value=1)
