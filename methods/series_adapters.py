"""Series residual adapters: a 1x1 convolution after each shared 3x3 convolution."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from decathlon.method import Method, Phase, Task
from decathlon.models.adapters import Kind, renew_adapters
from decathlon.models.capabilities import lacks_3x3_convolutions
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.recipes import NonNegative, Recipe
from decathlon.suites.papers import REBUFFI_2017, REBUFFI_2018


@dataclass(frozen=True)
class AdapterRecipe(Recipe):
    """Settings of residual adapters.

    Attributes:
        rest_weight_decay: Decay of batch normalisations and head; None: the domain's, as
            for the adapters. The release's README sets 5e-4 (``--wd 5.``).
    """

    rest_weight_decay: NonNegative | None = 5e-4


def source_convolutions(network: nn.Module) -> Iterator[str]:
    """Yields the names of all convolutions' weights but the adapters', in order."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.endswith(".adapter.conv"):
            yield f"{name}.weight"


class SeriesAdapters(Method):
    """Adds a 1x1 convolution after each frozen 3x3 convolution.

    Rebuffi et al., NeurIPS 2017: BN2(y + W BN1(y)) with y = f(x) and W of C x C. The row of
    Table 3 is the rerun of Rebuffi et al., CVPR 2018. Every 3x3 convolution has an adapter,
    the stem's too (srebuffi/residual_adapters, ``models.py``, 25-49, 102). The 1x1 convolutions
    W are newly drawn, batch normalisations are the source's, BN1 too where the source was
    pretrained with adapters, which the release's README finds much better (``pretrain
    --method series-adapters``). Adapters, all batch normalisations and the head are trained
    (``train_new_task_adapters.py``, 84-149).

    ``released``: its optimiser gives everything the adapters' decay, except the first batch
    normalisation, which comes before any convolution that is trained (``sgd.py``, 30-46).
    """

    paper = "Rebuffi et al., NeurIPS 2017, rerun in CVPR 2018"
    year = 2017
    trains = "series adapters, batch norms, head"
    bibtex = REBUFFI_2017 + REBUFFI_2018
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": AdapterRecipe(),
        "released": AdapterRecipe(protocol="released"),
    }
    recipe: AdapterRecipe
    kind: ClassVar[Kind] = "series"
    leaked = "stem.conv.adapter.bn."
    """In ``released``, only what begins so has the decay that is meant for the rest."""

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source with frozen convolutions, new adapters and a new head."""
        source.expect_adapters(f"a method with {self.kind} adapters", "none", self.kind)
        network = source.network(tasks[0].num_classes)
        renew_adapters(network, self.kind)
        for name in source_convolutions(network):
            network.get_parameter(name).requires_grad_(False)
        return network

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses plain networks that cannot be pretrained with series adapters here."""
        given = source.architecture
        if reason := lacks_3x3_convolutions(given):
            return reason
        if given.adapters != "none" or given.name == cls().pretraining(given.width).name:
            return ""
        return (
            f"a {given.name} is not pretrained with series adapters, and new ones after its"
            " convolutions would scramble what it has learnt; parallel-adapters starts from any"
            " network"
        )

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """One phase: adapters, at the rate of new layers, and the rest with its own decay."""
        released = self.recipe.protocol == "released"
        adapters: list[nn.Parameter] = []
        rest: list[tuple[str, nn.Parameter]] = []
        for name, parameter in network.named_parameters():
            if name.startswith(self.leaked) if released else parameter.ndim != 4:
                rest.append((name, parameter))
            else:
                adapters.append(parameter)
        groups = [
            self.sgd(adapters, tasks, self.recipe.head_lr),
            *self.groups(rest, tasks, self.recipe.rest_weight_decay),
        ]
        return [Phase(1.0, groups)]

    def pretraining(self, width: float) -> Architecture:
        """Returns a source network with adapters."""
        return Architecture(width=width, adapters=self.kind)
