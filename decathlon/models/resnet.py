"""The networks that are known by name, and ResNet-26.

ResNet-26 is the network of all Visual Decathlon results (Rebuffi et al., CVPR 2018; the
graph is that of srebuffi/residual_adapters, ``models.py``, lines 41-143).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from decathlon.common.errors import DataError
from decathlon.models.adapters import KINDS, Kind, add_adapters
from decathlon.models.layers import BatchNorm2d, initialise_convolutions, normalised
from decathlon.models.residual import Block, ResidualNetwork
from decathlon.models.torchvision_resnet import basic_blocks, bottlenecks

__all__ = ["FAMILIES", "Architecture", "Block", "Family", "PoolAndPad", "ResidualNetwork"]

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


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network again.

    Attributes:
        name: Family, a key of :data:`FAMILIES`.
        width: Factor on all channel numbers.
        blocks: Residual blocks in each macro block; by default as many as the family has.
        adapters: ``none``, ``series`` or ``parallel``: residual adapters at every 3x3
            convolution.
    """

    name: str = "resnet26"
    width: float = 1.0
    blocks: tuple[int, ...] = ()
    adapters: Kind = "none"

    def __post_init__(self) -> None:
        if not self.blocks and self.name in FAMILIES:
            object.__setattr__(self, "blocks", FAMILIES[self.name].blocks)

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
            self = cls(**{**value, "blocks": tuple(value.get("blocks", ()))})
        except (AttributeError, TypeError) as error:
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
        """Builds the network with new weights from torch's random state.

        Convolutions are drawn from N(0, 2 / (k^2 C_out)) and linear layers as torch does, as in
        the residual adapters' code (``models.py``, 110-116) and in torchvision.
        """
        network = FAMILIES[self.name].build(self.width, self.blocks, num_classes)
        add_adapters(network, self.adapters)
        initialise_convolutions(network)
        return network

    @property
    def policy(self) -> "Architecture":
        """The network of the same width that decides for SpotTune (section 4.1 of the paper)."""
        name, blocks = FAMILIES[self.name].policy
        return Architecture(name, self.width, blocks)

    @property
    def fixed_macros(self) -> int:
        """Macro blocks at the beginning among whose blocks SpotTune does not choose."""
        return FAMILIES[self.name].fixed_macros


def resnet26(width: float, blocks: Sequence[int], num_classes: int) -> ResidualNetwork:
    """Builds a ResNet of basic blocks for small images.

    With (4, 4, 4) blocks it has 25 convolutions and one linear layer: ResNet-26, of
    5,814,688 parameters without the head at width 1. There is no ReLU after the stem,
    shortcuts have no parameters, every macro block starts with stride 2, and one
    more BN and ReLU come before pooling.
    """
    channels = int(BASE_CHANNELS * width)
    stem = Stem(channels)
    macros = []
    for count in blocks:
        macro = [Block(Branch(channels, 2 * channels, 2), PoolAndPad(), nn.ReLU())]
        channels *= 2
        for _ in range(count - 1):
            macro.append(Block(Branch(channels, channels, 1), nn.Identity(), nn.ReLU()))
        macros.append(macro)
    tail = nn.Sequential()
    tail.add_module("bn", BatchNorm2d(channels))
    tail.add_module("relu", nn.ReLU())
    tail.add_module("pool", nn.AdaptiveAvgPool2d(1))
    tail.add_module("flatten", nn.Flatten())
    return ResidualNetwork(stem, macros, tail, channels, num_classes)


@dataclass(frozen=True)
class Family:
    """Networks that differ in width and number of blocks only.

    Attributes:
        build: Builds one: (width, blocks in each macro block, number of classes) -> network.
        blocks: Residual blocks in each macro block, unless an architecture has its own.
        policy: Family and blocks of the policy network that SpotTune, section 4.1, uses with it.
        fixed_macros: Macro blocks that SpotTune leaves to the source, whatever the image. The first
            one of ResNet-26 (section 4.1); none of the others, for which Figure 3 shows all blocks.
    """

    build: Callable[[float, Sequence[int], int], ResidualNetwork]
    blocks: tuple[int, ...]
    policy: tuple[str, tuple[int, ...]]
    fixed_macros: int


FAMILIES = {
    "resnet26": Family(resnet26, (4, 4, 4), ("resnet26", (1, 1, 1)), 1),
    "resnet50": Family(bottlenecks, (3, 4, 6, 3), ("resnet10", (1, 1, 1, 1)), 0),
    "resnet101": Family(bottlenecks, (3, 4, 23, 3), ("resnet10", (1, 1, 1, 1)), 0),
    "resnet10": Family(basic_blocks, (1, 1, 1, 1), ("resnet10", (1, 1, 1, 1)), 0),
}
"""Families by name."""
