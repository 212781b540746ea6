"""Piggyback: each domain leaves out some of the source's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from decathlon.method import Group, Method, Phase, Task
from decathlon.models.layers import BatchNorm2d, freeze, replace, unfreeze
from decathlon.models.masks import MaskedConv2d
from decathlon.models.weights import Source
from decathlon.recipes import Positive, Recipe, Threshold


@dataclass(frozen=True)
class PiggybackRecipe(Recipe):
    """Settings of Piggyback.

    Attributes:
        mask_init: All real-valued masks at the start (arunmallya/piggyback, ``layers.py``, 52).
        threshold: Weights whose real-valued mask exceeds it are kept (``layers.py``, 9).
        mask_lr: Adam's rate for the masks (``scripts/run_piggyback_training.sh``).
        head_optimiser: Of the head, at the rate ``lr``: ``sgd``, or ``adam`` as released.
        train_bn: Whether batch normalisations are the domain's own, and trained with the head.
    """

    mask_init: Threshold = 1e-2
    threshold: Threshold = 5e-3
    mask_lr: Positive = 1e-4
    head_optimiser: Literal["sgd", "adam"] = "sgd"
    train_bn: bool = False


class Piggyback(Method):
    """Learns a binary mask over the source's weights.

    Mallya and Lazebnik, arXiv 1801.06519: m = [m_r > threshold]. The real-valued masks m_r
    receive the gradient of m unchanged and are trained by Adam, without decay, the rate
    divided by 10 halfway. Weights and batch normalisations stay the source's; stored are
    one bit a weight, and the head. No code for this benchmark was released: the constants of
    the masks are those of arunmallya/piggyback; ours is the head, trained by SGD at the rate
    of all methods here, without decay.

    ``released``: that code's 30 epochs of batches of 32, with Adam at 1e-4 for the head too
    (``run_piggyback_training.sh``). Its choice of the best epoch on the evaluated split is
    left out.
    """

    paper = "Mallya and Lazebnik, arXiv 1801.06519"
    year = 2018
    trains = "binary masks, head"
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": PiggybackRecipe(milestones=(0.5,), weight_decay={"default": 0.0}),
        "released": PiggybackRecipe(
            protocol="released",
            head_optimiser="adam",
            lr=1e-4,
            epochs=30,
            batch_size=32,
            milestones=(0.5,),
            weight_decay={"default": 0.0},
        ),
    }
    recipe: PiggybackRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the frozen source with a mask at each convolution and a new head."""
        source.expect_adapters("Piggyback", "none")
        recipe = self.recipe
        network = freeze(source.network())
        network.new_head(tasks[0].num_classes)
        replace(
            network,
            nn.Conv2d,
            lambda name, conv: MaskedConv2d(conv, recipe.mask_init, recipe.threshold),
        )
        if recipe.train_bn:
            for layer in network.modules():
                if isinstance(layer, BatchNorm2d):
                    unfreeze(layer)
        return network

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """One phase with two groups: the masks, and head and batch norms."""
        recipe = self.recipe
        masks: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in network.named_parameters():
            (masks if name.endswith(".scores") else rest).append(parameter)
        adam = Group(
            masks, recipe.mask_lr, 0.0, "adam", milestones=recipe.milestones, gamma=recipe.gamma
        )
        head = self.sgd(rest, tasks)
        head.optimiser = recipe.head_optimiser
        return [Phase(1.0, [adam, head])]

    def finalise(self, network: nn.Module) -> nn.Module:
        """Puts bits in the place of the real-valued masks."""
        for layer in network.modules():
            if isinstance(layer, MaskedConv2d):
                layer.harden()
        return network
