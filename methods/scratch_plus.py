"""Scratch+: a network with residual adapters for each domain, from random weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from torch import nn

from decathlon.method import Method, Task
from decathlon.models.capabilities import lacks_3x3_convolutions
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.recipes import Recipe, by_size
from decathlon.suites.papers import REBUFFI_2017

from .scratch import ScratchRecipe


class ScratchPlus(Method):
    """Trains networks with series adapters from random weights, one a domain.

    The row of Table 3 is that of Rebuffi et al. (NeurIPS 2017), which the SpotTune paper
    (section 4.1) describes as training from scratch with residual adapters; its 11x is
    ten times a network and a ninth. Epochs and decay are not known; ours is Protocol R with
    a decay by the size of the domain. The source gives only the architecture's width.

    ``released``: srebuffi/residual_adapters, ``train_new_task_from_scratch.py --mode
    series_adapters``. Its optimiser gives every batch normalisation and the classifier the
    decay of the convolution before it (``sgd.py``, lines 30-46), so that 1e-4 holds for all.
    """

    paper = "Rebuffi et al., NeurIPS 2017"
    year = 2017
    trains = "all and adapters, from random weights"
    bibtex = REBUFFI_2017
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": ScratchRecipe(weight_decay=by_size(1e-4, 5e-4, 2e-3)),
        "released": ScratchRecipe(protocol="released"),
    }
    source_domain = "train"
    needs_source = False

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns a network with series adapters of the source's width, with new weights."""
        return replace(source.architecture, adapters="series").build(tasks[0].num_classes)

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks without 3x3 convolutions to adapt."""
        return lacks_3x3_convolutions(source.architecture)

    def pretraining(self, width: float) -> Architecture:
        """Returns a network with series adapters."""
        return Architecture(width=width, adapters="series")
