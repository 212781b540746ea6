"""Residual networks, seen as stem, macro blocks of residual blocks, tail and head.

ResNet-26 is the network of all Visual Decathlon results (Rebuffi et al., CVPR 2018; the
graph is that of srebuffi/residual_adapters, ``models.py``, lines 41-143).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from decathlon.common.errors import DataError
from decathlon.models.adapters import KINDS, Kind, add_adapters
from decathlon.models.layers import BatchNorm2d, initialise_convolutions, normalised

BASE_CHANNELS = 32
"""Channels of the stem at width 1."""
MAX_WIDTH, MAX_BLOCKS = 64, 1000
"""No file describes a larger network unless it is damaged."""


class Branch(nn.Module):
    """The branch F_l of a basic block: conv 3x3, BN, ReLU, conv 3x3, BN."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x C_in x H x W to N x C_out x H/stride x W/stride."""
        x = self.relu(normalised(self.conv1, self.bn1, x))
        return normalised(self.conv2, self.bn2, x)


class Stem(nn.Module):
    """The first layers: conv 3x3, BN; no ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn = BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N x 3 x H x W to N x C x H x W."""
        return normalised(self.conv, self.bn, images)


class PoolAndPad(nn.Module):
    """The parameter-free shortcut of a strided block.

    A 2 x 2 average pool, then the channels are doubled by zeros (``models.py``, 83-92).
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x C x H x W to N x 2C x H/2 x W/2."""
        x = self.pool(x)
        return torch.cat([x, torch.zeros_like(x)], dim=1)


class Block(nn.Module):
    """A residual block: activation(F_l(x) + shortcut(x)), its three parts kept apart.

    Attributes:
        branch: F_l of the SpotTune paper's equation 1.
        shortcut: The identity, or what makes it fit.
        activation: What follows the sum.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.activation = branch, shortcut, activation

    def forward(self, x: Tensor) -> Tensor:
        """Equation 1, followed by the block's activation."""
        out: Tensor = self.activation(self.branch(x) + self.shortcut(x))
        return out


class ResidualNetwork(nn.Module):
    """A classifier made of a stem, macro blocks, a tail and a head.

    Attributes:
        stem: N x 3 x H x W to the first macro block's input.
        macros: Macro blocks, each a sequence of :class:`Block`.
        tail: From the last block's output to N x features.
        head: From N x features to N x classes.
    """

    def __init__(
        self,
        stem: nn.Module,
        macros: Sequence[Sequence[Block]],
        tail: nn.Module,
        features: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.macros = nn.ModuleList(nn.Sequential(*blocks) for blocks in macros)
        self.tail = tail
        self.head = nn.Linear(features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Maps images, N x 3 x H x W, normalised, to what the head sees, N x features."""
        x = self.stem(images)
        for macro in self.macros:
            x = macro(x)
        out: Tensor = self.tail(x)
        return out

    def forward(self, images: Tensor) -> Tensor:
        """Maps images, N x 3 x H x W, normalised, to logits, N x classes."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """Yields (dotted name, block) for all residual blocks, in order."""
        for name, module in self.named_modules():
            if isinstance(module, Block):
                yield name, module

    def new_head(self, num_classes: int) -> None:
        """Puts a newly initialised linear head in the place of the present one."""
        self.head = nn.Linear(self.head.in_features, num_classes)


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network again.

    Attributes:
        name: Family, a key of :data:`FAMILIES`.
        width: Factor on all channel numbers.
        blocks: Residual blocks in each macro block.
        adapters: ``none``, ``series`` or ``parallel``: residual adapters at every 3x3
            convolution.
    """

    name: str = "resnet26"
    width: float = 1.0
    blocks: tuple[int, ...] = (4, 4, 4)
    adapters: Kind = "none"

    def as_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {**asdict(self), "blocks": list(self.blocks)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Architecture":
        """Reads what :meth:`as_json` wrote.

        Raises:
            DataError: The value does not describe a network that is known here.
        """
        try:
            self = cls(**{**value, "blocks": tuple(value["blocks"])})
        except (TypeError, KeyError) as error:
            raise DataError(f"the weights describe no known network ({error})") from None
        if self.name not in FAMILIES:
            raise DataError(f"the weights are of a network '{self.name}', which is not known here")
        sizes = [self.width, *self.blocks]
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in sizes) or not (
            0 < self.width <= MAX_WIDTH and all(n in range(1, MAX_BLOCKS + 1) for n in self.blocks)
        ):
            raise DataError(
                f"the weights describe no possible network (width {self.width}, blocks"
                f" {list(self.blocks)})"
            )
        if self.adapters not in KINDS:
            raise DataError(f"the weights have adapters '{self.adapters}', not known here")
        return self

    def build(self, num_classes: int) -> ResidualNetwork:
        """Builds the network with new weights from torch's random state."""
        return FAMILIES[self.name](self, num_classes)


def resnet26(architecture: Architecture, num_classes: int) -> ResidualNetwork:
    """Builds a ResNet of basic blocks for small images.

    With (4, 4, 4) blocks it has 25 convolutions and one linear layer: ResNet-26, of
    5,814,688 parameters without the head at width 1. There is no ReLU after the stem,
    shortcuts have no parameters, every macro block starts with stride 2, and one
    more BN and ReLU come before pooling. Convolutions are drawn from
    N(0, 2 / (k^2 C_out)); linear layers as torch does (``models.py``, 110-116).
    """
    channels = int(BASE_CHANNELS * architecture.width)
    stem = Stem(channels)
    macros = []
    for num_blocks in architecture.blocks:
        blocks = [Block(Branch(channels, 2 * channels, 2), PoolAndPad(), nn.ReLU())]
        channels *= 2
        for _ in range(num_blocks - 1):
            blocks.append(Block(Branch(channels, channels, 1), nn.Identity(), nn.ReLU()))
        macros.append(blocks)
    tail = nn.Sequential()
    tail.add_module("bn", BatchNorm2d(channels))
    tail.add_module("relu", nn.ReLU())
    tail.add_module("pool", nn.AdaptiveAvgPool2d(1))
    tail.add_module("flatten", nn.Flatten())
    network = ResidualNetwork(stem, macros, tail, channels, num_classes)
    add_adapters(network, architecture.adapters)
    initialise_convolutions(network)
    return network


FAMILIES = {"resnet26": resnet26}
"""Builders by family name: (architecture, number of classes) -> network."""
