"""BitFit: biases, normalisations' weights and the head are trained; all else is the source's."""

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from decathlon.method import Method, Task
from decathlon.models.capabilities import outline
from decathlon.models.layers import freeze
from decathlon.models.weights import Source
from decathlon.suites.papers import BEN_ZAKEN_2022

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


def tuned(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yields all biases of a network and, of its normalisations, the weights too."""
    for layer in network.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if name.endswith("bias") or isinstance(layer, NORMS):
                yield parameter


class BitFit(Method):
    """Trains biases, the affine parameters of normalisations, and the head.

    Ben Zaken, Ravfogel and Goldberg, ACL 2022, train the biases of BERT and the task's head. Ours
    adds the weights of normalisations: most networks for images have no other biases than theirs.
    All else, batch statistics too, stays the source's.
    """

    paper = "Ben Zaken et al., ACL 2022"
    year = 2022
    trains = "biases, norms, head"
    bibtex = BEN_ZAKEN_2022

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network with a new head, frozen but for biases and norms."""
        network = freeze(source.network())
        for parameter in tuned(network):
            parameter.requires_grad_(True)
        network.new_head(tasks[0].num_classes)
        return network

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks that have neither biases nor normalisations with parameters."""
        network = outline(source.architecture)
        if any(True for _ in tuned(nn.ModuleList([network.stem, network.macros, network.tail]))):
            return ""
        return f"a {source.architecture.name} has neither biases nor normalisations to train"
