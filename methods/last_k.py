"""Fine-tuning last-k: the last residual blocks are trained, all before them is frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from decathlon.common.errors import UsageError
from decathlon.method import Method, Task
from decathlon.models.layers import freeze, normalise_by, unfreeze
from decathlon.models.residual import fix_beginning
from decathlon.models.weights import Source
from decathlon.recipes import Count, Recipe, TuningRecipe
from decathlon.suites.papers import GUO_2019


@dataclass(frozen=True)
class LastKRecipe(TuningRecipe):
    """Settings of fine-tuning the last blocks.

    Attributes:
        k: Residual blocks at the end that are trained.
    """

    k: Count = 3


@dataclass(frozen=True)
class LastTwoRecipe(LastKRecipe):
    """Settings of fine-tuning the last two blocks."""

    k: Literal[2] = 2


@dataclass(frozen=True)
class LastOneRecipe(LastKRecipe):
    """Settings of fine-tuning the last block."""

    k: Literal[1] = 1


class LastK(Method):
    """Trains the last k residual blocks and the head.

    SpotTune paper, section 4.1, with k = 3, 2 and 1. Ours: all else is the source's, its batch
    statistics included. A normalisation between the last block and the head, which ResNet-50
    does not have, stays the source's too. So do those of the k blocks that ``fixed`` fixes.
    """

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2019
    trains = "last k blocks, head"
    bibtex = GUO_2019
    recipes: ClassVar[dict[str, Recipe]] = {"paper": LastKRecipe()}
    recipe: LastKRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network, frozen up to its last k blocks, with a new head."""
        network = freeze(source.network())
        blocks = [block for _, block in network.blocks()]
        if self.recipe.k > len(blocks):
            raise UsageError(
                f"--set k={self.recipe.k}: the network has {len(blocks)} residual blocks; k is at"
                " most that"
            )
        for block in blocks[-self.recipe.k :]:
            normalise_by(unfreeze(block), self.recipe.bn)
        fix_beginning(network, self.recipe.fixed_macros(source))
        network.new_head(tasks[0].num_classes)
        return network


class LastTwo(LastK):
    """Trains the last two residual blocks and the head."""

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2019
    trains = "last 2 blocks, head"
    recipes: ClassVar[dict[str, Recipe]] = {"paper": LastTwoRecipe()}


class LastOne(LastK):
    """Trains the last residual block and the head."""

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2019
    trains = "last block, head"
    recipes: ClassVar[dict[str, Recipe]] = {"paper": LastOneRecipe()}
