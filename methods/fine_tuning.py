"""Fine-tuning: everything is trained on, starting from the source network."""

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from decathlon.method import Method, Task
from decathlon.models.layers import normalise_by
from decathlon.models.residual import fix_beginning
from decathlon.models.weights import Source
from decathlon.recipes import Recipe, TuningRecipe
from decathlon.suites.papers import REBUFFI_2018


class FineTuning(Method):
    """Starts from the source network and trains all of it, one network a domain.

    Rebuffi et al., CVPR 2018. In their code convolutions and batch normalisation (statistics
    too) are copied from the source, the head is new, and the rate is 0.1 from the start.

    ``released``: that code, srebuffi/residual_adapters, ``train_new_task_finetuning.py``, lines
    84-124. Its optimiser applies 1e-4 to every parameter (``sgd.py``, lines 30-46), which
    is what ``paper`` does too.
    """

    paper = "Rebuffi et al., CVPR 2018"
    year = 2018
    trains = "all"
    bibtex = REBUFFI_2018
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": TuningRecipe(),
        "released": TuningRecipe(protocol="released"),
    }
    recipe: TuningRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network with a new head, its beginning as ``fixed`` says."""
        network = normalise_by(super().build(source, tasks), self.recipe.bn)
        return fix_beginning(network, self.recipe.fixed_macros(source))
