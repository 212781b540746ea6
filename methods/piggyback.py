"""Piggyback: each domain leaves out some of the source's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from decathlon.method import Group, Method, Phase, Task
from decathlon.models.capabilities import lacks_convolutions
from decathlon.models.layers import ExtendedConv2d, batch_norms, freeze, replace, unfreeze
from decathlon.models.weights import Source
from decathlon.recipes import Positive, Recipe, Threshold
from decathlon.suites.papers import MALLYA_2018


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


def threshold_mask(scores: Tensor, threshold: float) -> Tensor:
    """Returns 1 where a score exceeds the threshold, else 0; same shape.

    The gradient of the mask is passed on to the scores unchanged.
    """
    hard = (scores > threshold).to(scores.dtype)
    return hard + (scores - scores.detach())


class MaskedConv2d(ExtendedConv2d):
    """A convolution whose weights are kept or left out one by one.

    Attributes:
        scores: Real-valued masks, of the weight's shape; None once :meth:`harden` was
            called.
        mask: The binary mask from then on, bool: one bit a weight on disk.
        threshold: Scores above it keep their weight.
    """

    def __init__(self, conv: nn.Conv2d, initial: float, threshold: float) -> None:
        """Adds a mask to a convolution, which is frozen; all scores start at ``initial``."""
        super().__init__(conv)
        self.scores: nn.Parameter | None = nn.Parameter(torch.full_like(conv.weight, initial))
        self.threshold = threshold
        self.mask: Tensor | None
        self.register_buffer("mask", None)
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(False)

    def harden(self) -> None:
        """Puts the binary mask in the place of the scores."""
        if self.scores is not None:
            self.mask = self.scores.detach() > self.threshold
            self.scores = None

    def forward(self, x: Tensor) -> Tensor:
        """Convolves N x C_in x H x W with the weights that the mask keeps."""
        if self.scores is not None:
            mask = threshold_mask(self.scores, self.threshold)
        else:
            assert self.mask is not None
            mask = self.mask.to(self.weight.dtype)
        out: Tensor = self._conv_forward(x, self.weight * mask, self.bias)
        return out


class Piggyback(Method):
    """Learns a binary mask over the source's weights.

    Mallya and Lazebnik, arXiv 1801.06519: m = [m_r > threshold]. The real-valued masks m_r receive
    the gradient of m unchanged and are trained by Adam, without decay, the rate divided by 10
    halfway. Weights and batch normalisations stay the source's; stored are one bit a weight, and
    the head. No code for this benchmark was released: the constants of the masks are those of
    arunmallya/piggyback; ours is the head, trained by SGD at the common rate, without decay.

    ``released``: that code's 30 epochs (``run_piggyback_training.sh``) of batches of 32
    (``main.py``, 58), Adam at 1e-4 for the head too, but not its choice of the best test epoch.
    """

    paper = "Mallya and Lazebnik, arXiv 1801.06519"
    year = 2018
    trains = "binary masks, head"
    bibtex = MALLYA_2018
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
        first, threshold = self.recipe.mask_init, self.recipe.threshold
        network = freeze(source.network())
        network.new_head(tasks[0].num_classes)
        replace(network, nn.Conv2d, lambda _, conv: MaskedConv2d(conv, first, threshold))
        if self.recipe.train_bn:
            for layer in batch_norms(network):
                unfreeze(layer)
        return network

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks whose weights are not those of convolutions."""
        return lacks_convolutions(source.architecture)

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """One phase: the masks in a group of their own, head and batch norms in others."""
        recipe = self.recipe
        masks = [p for name, p in network.named_parameters() if name.endswith(".scores")]
        rest = [item for item in network.named_parameters() if not item[0].endswith(".scores")]
        adam = Group(
            masks, recipe.mask_lr, 0.0, "adam", milestones=recipe.milestones, gamma=recipe.gamma
        )
        others = self.groups(rest, tasks)
        for group in others:
            group.optimiser = recipe.head_optimiser
        return [Phase(1.0, [adam, *others])]

    def finalise(self, network: nn.Module) -> nn.Module:
        """Puts bits in the place of the real-valued masks."""
        for layer in network.modules():
            if isinstance(layer, MaskedConv2d):
                layer.harden()
        return network
