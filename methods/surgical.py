"""Surgical fine-tuning: one stage of the source network is trained, and the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from decathlon.common.errors import UsageError
from decathlon.method import Method, Task
from decathlon.models.layers import freeze, normalise_by, unfreeze
from decathlon.models.residual import fix_beginning
from decathlon.models.weights import Source
from decathlon.recipes import Count, Recipe, TuningRecipe
from decathlon.suites.papers import LEE_2023


@dataclass(frozen=True)
class SurgicalRecipe(TuningRecipe):
    """Settings of surgical fine-tuning; ``stage`` is the macro block that is trained, from 1."""

    stage: Count = 1


class Surgical(Method):
    """Trains one macro block and the head; the first one together with the stem.

    Lee et al., ICLR 2023: for shifts of the input, tuning the first stage of a network beats tuning
    all of it. There the classes stay the same, and so does the head.
    """

    paper = "Lee et al., ICLR 2023"
    year = 2023
    trains = "one stage, head"
    bibtex = LEE_2023
    recipes: ClassVar[dict[str, Recipe]] = {"paper": SurgicalRecipe()}
    recipe: SurgicalRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network, frozen but for one stage, with a new head."""
        network, stage = freeze(source.network()), self.recipe.stage
        fixed, count = self.recipe.fixed_macros(source), len(network.macros)
        if not (fixed or 0) < stage <= count:
            raise UsageError(
                f"--set stage={stage}: the network has {count} stages (macro blocks), of which"
                f" {fixed or 0} are fixed; choose one from {(fixed or 0) + 1} to {count}"
            )
        for part in [network.macros[stage - 1], *[network.stem] * (stage == 1)]:
            normalise_by(unfreeze(part), self.recipe.bn)
        fix_beginning(network, fixed)
        network.new_head(tasks[0].num_classes)
        return network
