"""LP-FT: linear probing, then fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from decathlon.method import Method, Phase, Task
from decathlon.models.layers import freeze, normalise_by, unfreeze
from decathlon.models.residual import ResidualNetwork, fix_beginning
from decathlon.models.weights import Source
from decathlon.recipes import Fraction, Recipe, TuningRecipe
from decathlon.suites.papers import KUMAR_2022


@dataclass(frozen=True)
class LPFTRecipe(TuningRecipe):
    """Settings of LP-FT; ``probe`` is the share of the training for the head alone."""

    probe: Fraction = 0.5


class LPFT(Method):
    """Trains the head on the frozen source network, then all of the network.

    Kumar et al., ICLR 2022: from a good head, fine-tuning distorts the features less. There the
    head is a logistic regression on stored features, and a whole fine-tuning with the source's
    batch statistics follows (``lp_then_ft_valmode`` in the authors' code; here ``bn=source``).
    Ours is one training of the common length by SGD, the first half of it for the head.
    """

    paper = "Kumar et al., ICLR 2022"
    year = 2022
    trains = "head, then all"
    bibtex = KUMAR_2022
    recipes: ClassVar[dict[str, Recipe]] = {"paper": LPFTRecipe()}
    recipe: LPFTRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network with a new head, its beginning as ``fixed`` says."""
        return fix_beginning(super().build(source, tasks), self.recipe.fixed_macros(source))

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """The head alone; then everything."""
        assert isinstance(network, ResidualNetwork)
        head = self.groups(network.head.named_parameters("head"), tasks)
        everything = self.groups(network.named_parameters(), tasks)
        return [
            Phase(self.recipe.probe, head, lambda: unfreeze(freeze(network).head)),
            Phase(1.0, everything, lambda: self.finalise(network)),
        ]

    def finalise(self, network: nn.Module) -> nn.Module:
        """Lets everything learn but what is fixed."""
        return fix_beginning(normalise_by(unfreeze(network), self.recipe.bn), self.recipe.fixed)
