"""Scratch: a network of its own for each domain, from random weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from torch import nn

from decathlon.method import Method, Task
from decathlon.models.weights import Source
from decathlon.recipes import Recipe, by_size
from decathlon.suites.base import Suite
from decathlon.suites.papers import REBUFFI_2017


@dataclass(frozen=True)
class ScratchRecipe(Recipe):
    """Settings of trainings from random weights."""

    def on(self, suite: Suite) -> Self:
        """Returns the recipe for a suite, with its own rate for all layers.

        A suite's rate is meant for pretrained weights.
        """
        return replace(super().on(suite), lr=self.lr, head_lr=None)


class Scratch(Method):
    """Trains everything from random weights, one network a domain.

    The row of Table 3 is that of Rebuffi et al. (NeurIPS 2017). Their epochs and decay are
    not known; ours is Protocol R with a decay by the size of the domain. The source
    gives only the architecture and its width.

    ``released``: srebuffi/residual_adapters, ``train_new_task_from_scratch.py --mode bn``,
    whose optimiser applies 1e-4 to every parameter (``sgd.py``, lines 30-46).
    """

    paper = "Rebuffi et al., NeurIPS 2017"
    year = 2017
    trains = "all, from random weights"
    bibtex = REBUFFI_2017
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": ScratchRecipe(weight_decay=by_size(1e-4, 5e-4, 2e-3)),
        "released": ScratchRecipe(protocol="released"),
    }
    source_domain = "train"
    needs_source = False

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns a plain network of the source's blocks and width, with new weights."""
        return replace(source.architecture, adapters="none").build(tasks[0].num_classes)
