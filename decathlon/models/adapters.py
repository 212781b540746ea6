"""Residual adapters: small 1x1 convolutions beside or after every 3x3 convolution.

Rebuffi et al., NeurIPS 2017 (series) and CVPR 2018 (parallel); the details are those of
srebuffi/residual_adapters, ``models.py``, lines 25-70.
"""

from collections.abc import Iterator
from typing import Literal

from torch import Tensor, nn

from decathlon.models.layers import (
    BatchNorm2d,
    Conv2d,
    ExtendedConv2d,
    initialise_convolutions,
    replace,
)

Kind = Literal["none", "series", "parallel"]
KINDS: tuple[Kind, ...] = ("none", "series", "parallel")


class AdaptedConv2d(ExtendedConv2d):
    """A 3x3 convolution f with a residual adapter.

    ``series``: y + W BN(y) with y = f(x), W of C_out x C_out.
    ``parallel``: f(x) + W x, W of C_out x C_in with the stride of f.

    Attributes:
        kind: ``series`` or ``parallel``.
        adapter: ``bn`` (series only) and ``conv``, a 1x1 convolution without bias.
    """

    def __init__(self, conv: nn.Conv2d, kind: Kind) -> None:
        """Adds an adapter to a convolution.

        Args:
            conv: The convolution, which is taken over.
            kind: ``series`` or ``parallel``.
        """
        super().__init__(conv)
        self.kind = kind
        channels = conv.out_channels
        self.adapter = nn.Sequential()
        if kind == "series":
            self.adapter.add_module("bn", BatchNorm2d(channels))
            added = Conv2d(channels, channels, 1, bias=False)
        else:
            added = Conv2d(conv.in_channels, channels, 1, conv.stride[0], bias=False)
        self.adapter.add_module("conv", added)
        # W is not zero (lines 110-113).
        initialise_convolutions(self.adapter)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x C_in x H x W to N x C_out x H/stride x W/stride."""
        y = super().forward(x)
        added: Tensor = self.adapter(y if self.kind == "series" else x)
        return y + added


def add_adapters(network: nn.Module, kind: Kind) -> None:
    """Adds an adapter to every 3x3 convolution of a network, in place."""

    def adapted(name: str, conv: nn.Conv2d) -> nn.Module:
        return AdaptedConv2d(conv, kind) if conv.kernel_size == (3, 3) else conv

    if kind != "none":
        replace(network, nn.Conv2d, adapted)


def renew_adapters(network: nn.Module, kind: Kind) -> None:
    """Gives a network newly drawn adapters, in place.

    As the release does for a new domain (``train_new_task_adapters.py``, 84-149): batch
    normalisations inside adapters that are there already are kept, W is drawn again.

    Args:
        network: A plain one, or one with adapters of the same kind.
        kind: ``series`` or ``parallel``.
    """
    present = list(adapted_convolutions(network))
    for _, conv in present:
        assert conv.kind == kind
        initialise_convolutions(conv.adapter)
    if not present:
        add_adapters(network, kind)


def adapted_convolutions(network: nn.Module) -> Iterator[tuple[str, AdaptedConv2d]]:
    """Yields (dotted name, convolution) for all convolutions with an adapter, in order."""
    for name, layer in network.named_modules():
        if isinstance(layer, AdaptedConv2d):
            yield name, layer
