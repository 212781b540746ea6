"""Stochastic fine-tuning: residual blocks drawn at random are trained, the others frozen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from decathlon.method import Batch, Method, Task
from decathlon.models.layers import freeze, normalise_by, unfreeze
from decathlon.models.noise import keyed_uniform, noise_key
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source
from decathlon.recipes import Fraction, Recipe, TuningRecipe
from decathlon.suites.papers import GUO_2019


@dataclass(frozen=True)
class StochasticRecipe(TuningRecipe):
    """Settings of stochastic fine-tuning.

    Attributes:
        share: Of the residual blocks that are trained; their number is rounded.
        per: Blocks are drawn once for each ``run``, or for each ``step``.
    """

    share: Fraction = 0.5
    per: Literal["run", "step"] = "run"


def drawn(key: int, num_blocks: int, share: float) -> set[int]:
    """Draws blocks without replacement.

    Args:
        key: What the draw is a function of.
        num_blocks: Blocks of the network.
        share: Of the blocks that are drawn.
    """
    numbers = keyed_uniform(key, torch.arange(num_blocks), 1)[:, 0]
    return set(numbers.argsort()[: round(share * num_blocks)].tolist())


class StochasticFineTuning(Method):
    """Trains half of the residual blocks, drawn at random, and the head.

    SpotTune paper, section 4.1: "We randomly sample 50% of the blocks". When they are drawn is
    not said. Ours: once for each run, as a function of seed and domain; what is not drawn
    stays the source's, its batch statistics included, as stem and tail do. Blocks that ``fixed``
    fixes are not among those that can be drawn.

    With ``per=step``, blocks are drawn for each step as a function of (seed, domain, step), and
    all are stored. In a step, the blocks that are not drawn have no gradient and normalise by
    their running statistics. The optimiser passes over them: their weights do not decay, and
    their momentum stays as it is until they are drawn again.
    """

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2019
    trains = "half of the blocks, head"
    bibtex = GUO_2019
    recipes: ClassVar[dict[str, Recipe]] = {"paper": StochasticRecipe()}
    recipe: StochasticRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network, frozen but for the blocks that can be drawn."""
        key = int(torch.randint(1 << 62, ()))
        network = freeze(source.network())
        network.new_head(tasks[0].num_classes)
        self.recipe.fixed_macros(source)
        self._tune(network, key if self.recipe.per == "run" else None)
        return network

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy, with the blocks of this step."""
        if self.recipe.per == "step":
            # The key is that of (seed, domain, epoch), and no two steps have the same progress.
            self._tune(network, noise_key(batch.key, "blocks", repr(batch.progress)))
        return super().loss(network, batch)

    def _tune(self, network: nn.Module, key: int | None) -> None:
        """Unfreezes the blocks of a key and freezes the others; unfreezes all without a key."""
        assert isinstance(network, ResidualNetwork)
        fixed = sum(len(list(m.children())) for m in network.macros[: self.recipe.fixed or 0])
        blocks = [block for _, block in network.blocks()][fixed:]
        share = 1.0 if key is None else self.recipe.share
        tuned = drawn(key or 0, len(blocks), share)
        for index, block in enumerate(blocks):
            if index in tuned:
                self._learn(block).train(network.training)
            else:
                freeze(block)

    def _learn(self, block: nn.Module) -> nn.Module:
        return normalise_by(unfreeze(block), self.recipe.bn)

    def finalise(self, network: nn.Module) -> nn.Module:
        """Keeps all blocks that were drawn in any step."""
        if self.recipe.per == "step":
            self._tune(network, None)
        return network

    def restore(self, network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
        """Takes the blocks that were stored as those that were drawn."""
        assert isinstance(network, ResidualNetwork)
        for name, block in network.blocks():
            stored = any(key.startswith(f"{name}.") for key in tensors)
            (self._learn if stored else freeze)(block)
        return super().restore(network, tensors)
