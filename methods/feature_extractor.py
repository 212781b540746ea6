"""Feature extractor: the source network as it is, and a new linear head."""

from collections.abc import Sequence

from torch import nn

from decathlon.method import Method, Task
from decathlon.models.layers import freeze
from decathlon.models.weights import Source
from decathlon.recipes import Recipe


class FeatureExtractor(Method):
    """Freezes the source network and trains a new head.

    SpotTune paper, section 4.1. Rate, epochs and decay are not given there; ours are
    Protocol R's, with the decay of 5e-4 that the residual adapters' README sets for
    classifiers. Batch statistics stay the source's.
    """

    paper = "SpotTune baseline, CVPR 2019, section 4.1"
    year = 2017
    trains = "head"
    recipes = {"paper": Recipe(weight_decay={"default": 5e-4})}

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network, frozen, with a new head."""
        network = freeze(source.network())
        network.new_head(tasks[0].num_classes)
        return network
