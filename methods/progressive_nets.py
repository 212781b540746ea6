"""Progressive nets: a tuned network that also reads the features of the frozen source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from decathlon.method import Method, Phase, Task
from decathlon.models.capabilities import stage_channels
from decathlon.models.layers import Conv2d, freeze, initialise_convolutions, normalise_by
from decathlon.models.residual import ResidualNetwork, fix_beginning
from decathlon.models.tensor_names import HEAD
from decathlon.models.weights import Source
from decathlon.recipes import Count, Recipe, TuningRecipe
from decathlon.suites.papers import RUSU_2016

LATERALS = "laterals"


@dataclass(frozen=True)
class ProgressiveRecipe(TuningRecipe):
    """Settings of progressive nets.

    Attributes:
        reduction: By which the channels of a stage are divided inside its adapter.
    """

    reduction: Count = 4


class Lateral(nn.Module):
    """An adapter U ReLU(V a h) from the source's features h to a stage's output.

    Attributes:
        scale: a, scalar, 1 at the start (ours; in the paper it is a small random number).
        layers: V, a 1x1 convolution to fewer channels; ReLU; U, one back, 0 at the start.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.scale = nn.Parameter(torch.ones(()))
        self.layers = nn.Sequential(
            Conv2d(channels, inner, 1, bias=False),
            nn.ReLU(),
            Conv2d(inner, channels, 1, bias=False),
        )
        initialise_convolutions(self.layers)
        nn.init.zeros_(self.layers.get_parameter("2.weight"))

    def forward(self, h: Tensor) -> Tensor:
        """Maps N x C x H x W to the same shape."""
        out: Tensor = self.layers(self.scale * h)
        return out


class ProgressiveNetwork(nn.Module):
    """A column that is tuned and the source's, with an adapter at each macro block.

    Attributes:
        stem, macros, tail, head: Of the tuned column.
        source_stem, source_macros: Of the source's column, frozen.
        laterals: An adapter for each macro block.
    """

    def __init__(
        self,
        own: ResidualNetwork,
        source: ResidualNetwork,
        channels: Sequence[int],
        reduction: int,
    ) -> None:
        """Takes over the parts of two networks of the same build.

        Args:
            own: Is tuned.
            source: Is frozen.
            channels: Of each macro block's output.
            reduction: See :class:`ProgressiveRecipe`.
        """
        super().__init__()
        self.stem, self.macros, self.tail, self.head = own.stem, own.macros, own.tail, own.head
        self.source_stem, self.source_macros = freeze(source.stem), freeze(source.macros)
        self.laterals = nn.ModuleList(Lateral(number, reduction) for number in channels)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images, N x 3 x H x W, normalised, to logits, N x classes."""
        x, h = self.stem(images), self.source_stem(images)
        stages = zip(self.macros, self.source_macros, self.laterals, strict=True)
        for macro, source_macro, lateral in stages:
            h = source_macro(h)
            x = macro(x) + lateral(h)
        logits: Tensor = self.head(self.tail(x))
        return logits


class ProgressiveNets(Method):
    """Fine-tunes a network that reads the source's features through lateral adapters.

    Rusu et al., arXiv 1606.04671, equation 2: an adapter U ReLU(V a h) reads the layer below of
    another column, and is added inside the activation. The SpotTune paper starts from pretrained
    weights and says nothing of the adapters. Ours: two columns, h_i = f_i(h_{i-1}) + U_i
    ReLU(V_i a_i h'_i), where h' are the features of the frozen source after the same macro block,
    added after its last activation; the tuned column starts from the source; adapters have a
    quarter of the channels inside; U starts at 0, so that the first step computes what
    fine-tuning computes. New layers learn at the head's rate. Stored are the
    tuned column, the adapters and the head.
    """

    paper = "Rusu et al., arXiv 1606.04671"
    year = 2016
    trains = "all, lateral adapters"
    bibtex = RUSU_2016
    recipes: ClassVar[dict[str, Recipe]] = {"paper": ProgressiveRecipe()}
    recipe: ProgressiveRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network twice, one of them with a new head, and the adapters."""
        own = normalise_by(source.network(tasks[0].num_classes), self.recipe.bn)
        fix_beginning(own, self.recipe.fixed_macros(source))
        channels = stage_channels(source.architecture)
        assert channels is not None
        return ProgressiveNetwork(own, source.network(), channels, self.recipe.reduction)

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks whose stages do not return feature maps."""
        if stage_channels(source.architecture) is not None:
            return ""
        return (
            f"the adapters are convolutions of feature maps, and the stages of a"
            f" {source.architecture.name} return tokens"
        )

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """One phase: the tuned column; head and adapters at the rate of new layers."""
        named = network.named_parameters()
        return [Phase(1.0, self.groups(named, tasks, new=(HEAD, LATERALS)))]
