"""DAN: new filters are linear combinations of the source's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from decathlon.method import Method, Task
from decathlon.models.capabilities import lacks_convolutions, outline
from decathlon.models.layers import ExtendedConv2d, batch_norms, replace
from decathlon.models.weights import Source
from decathlon.recipes import Recipe
from decathlon.suites.papers import ROSENFELD_2017


@dataclass(frozen=True)
class DANRecipe(Recipe):
    """Settings of DAN.

    Attributes:
        train_bn: Whether weights and biases of batch normalisations are trained. The released
            notebook leaves them, while their running statistics follow the domain.
    """

    train_bn: bool = False


class ControlledConv2d(ExtendedConv2d):
    """A convolution whose filters are recombined: F_a = W F.

    F is the bank of C_out filters as a matrix of C_out x (C_in k k).

    Attributes:
        controller: W, C_out x C_out.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Adds a controller near the identity (incremental_learning notebook, cell 3).

        Args:
            conv: The convolution, which is taken over and frozen.
        """
        super().__init__(conv)
        size = conv.out_channels
        noise = torch.randn(size) / size
        self.controller = nn.Parameter(torch.diag(1 + noise))
        self.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves N x C_in x H x W with the recombined filters."""
        filters = (self.controller @ self.weight.flatten(1)).view_as(self.weight)
        out: Tensor = self._conv_forward(x, filters, self.bias)
        return out


class DAN(Method):
    """Recombines the source's filters by a controller at each convolution.

    Rosenfeld and Tsotsos, arXiv 1705.04228: F_a = W F with W of C_out x C_out. F is the source's.
    W starts as the identity with a little noise on its diagonal (in their notebook, cell 3). W,
    the head and (``train_bn``) batch normalisations are trained; only these are stored. The
    paper's rate, epochs and decay for this benchmark are not known; ours are Protocol R's. Its
    choice of another base network for some domains is left out.

    ``released``: rosenfeldamir/incremental_learning, the notebook's settings with SGD (cells
    37, 49 and 122): batches of 64, 50 epochs, the rate divided by 10 before the 25th and the
    last (``(epoch + 1) % 25``, cell 3), decay 5e-4, the head's biases 0 at first, and crops of
    64 pixels in all domains. It runs a WRN-28-4, YellowFin in place of SGD, and 25 epochs on
    gtsrb; here the network is ResNet-26, and those two are left out.
    """

    paper = "Rosenfeld and Tsotsos, arXiv 1705.04228"
    year = 2017
    trains = "controllers, head"
    bibtex = ROSENFELD_2017
    release = "dan"
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": DANRecipe(),
        "released": DANRecipe(
            protocol="released",
            epochs=50,
            batch_size=64,
            milestones=(24 / 50, 49 / 50),
            weight_decay={"default": 5e-4},
        ),
    }
    recipe: DANRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source with a controller at each convolution and a new head."""
        source.expect_adapters("DAN", "none")
        network = source.network(tasks[0].num_classes)
        replace(network, nn.Conv2d, lambda name, conv: ControlledConv2d(conv))
        for layer in batch_norms(network):
            for parameter in layer.parameters():
                parameter.requires_grad_(self.recipe.train_bn)
        if self.recipe.protocol == "released":
            nn.init.zeros_(network.head.bias)
        return network

    @classmethod
    def refusal(cls, source: Source) -> str:
        """Refuses networks whose controllers would have more numbers than their filters.

        Filters of a convolution in groups see different channels, and are not recombined.
        """
        if reason := lacks_convolutions(source.architecture):
            return reason
        layers = outline(source.architecture).modules()
        convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        if any(conv.groups > 1 for conv in convs):
            return (
                f"filters of a {source.architecture.name} see different groups of channels, and"
                " controllers cannot recombine them"
            )
        filters = sum(conv.weight.numel() for conv in convs)
        controllers = sum(conv.out_channels**2 for conv in convs)
        if controllers <= filters:
            return ""
        return (
            f"the controllers of a {source.architecture.name}, C_out x C_out at each convolution,"
            f" would have {controllers:,} numbers, and its convolutions have {filters:,}:"
            " fine-tuning stores less"
        )
