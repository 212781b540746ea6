"""Feature extractor: the source network as it is, and a new linear head."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from torch import nn

from decathlon.method import Method, Task
from decathlon.models.layers import batch_norms, freeze, unfreeze
from decathlon.models.weights import Source
from decathlon.recipes import Recipe
from decathlon.suites.base import Suite
from decathlon.suites.papers import GUO_2019


@dataclass(frozen=True)
class FeatureExtractorRecipe(Recipe):
    """Settings of the feature extractor.

    Attributes:
        bn: Batch normalisations are ``frozen``; or their ``stats`` follow the domain's images;
            or they ``train``: their weights and biases are learnt too.
    """

    bn: Literal["frozen", "stats", "train"] = "frozen"
    left_out = {**Recipe.left_out, "bn": "frozen"}

    def on(self, suite: Suite) -> Self:
        """Returns the recipe for a suite; the rate of ``piggyback`` is constant.

        Its code trains classifiers alone so (arunmallya/piggyback, ``run_baselines.sh``).
        """
        own = super().on(suite)
        return replace(own, milestones=()) if self.protocol == "piggyback" else own


class FeatureExtractor(Method):
    """Freezes the source network and trains a new head.

    SpotTune paper, section 4.1, "with all parameters frozen" (4.2.1). Rate, epochs and decay are
    not given there; ours are Protocol R's, with a decay of 5e-4: the ``--wd 5.`` in the residual
    adapters' README, which its help calls that of the classification layer. Batch statistics, of
    which the paper says nothing, stay the source's, unless the setting ``bn`` says otherwise: its
    code for the Visual Decathlon froze convolutions only.
    """

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2019
    trains = "head"
    bibtex = GUO_2019
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": FeatureExtractorRecipe(weight_decay={"default": 5e-4})
    }
    recipe: FeatureExtractorRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network, frozen up to what ``bn`` says, with a new head."""
        network = freeze(source.network())
        if self.recipe.bn != "frozen":
            for layer in batch_norms(network):
                for parameter in unfreeze(layer).parameters():
                    parameter.requires_grad_(self.recipe.bn == "train")
        network.new_head(tasks[0].num_classes)
        return network
