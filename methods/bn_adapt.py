"""BN adapt: each domain has batch normalisations of its own, the convolutions are shared."""

from collections.abc import Sequence

from torch import nn

from decathlon.method import Method, Task
from decathlon.models.capabilities import lacks_batch_norms
from decathlon.models.layers import batch_norms, freeze, unfreeze
from decathlon.models.weights import Source
from decathlon.recipes import Recipe
from decathlon.suites.papers import BILEN_2017


class BNAdapt(Method):
    """Trains batch normalisations and the head.

    Bilen and Vedaldi, 2017. They train the shared convolutions jointly with the domains'
    normalisations; how Table 3's row shares them is not known. Ours keeps the source's
    convolutions as they are and starts from its normalisations: what the residual
    adapters' code does when the adapters are left out. No code was released; the decay of
    5e-4 is the ``--wd 5.`` of that code's README, in units of 1e-4.
    """

    paper = "Bilen and Vedaldi, arXiv 1701.07275"
    year = 2017
    trains = "batch norms, head"
    bibtex = BILEN_2017
    recipes = {"paper": Recipe(weight_decay={"default": 5e-4})}

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network with a new head, frozen but for batch norms and head."""
        network = freeze(source.network())
        for layer in batch_norms(network):
            unfreeze(layer)
        network.new_head(tasks[0].num_classes)
        return network

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks without batch normalisation."""
        return lacks_batch_norms(source.architecture)
