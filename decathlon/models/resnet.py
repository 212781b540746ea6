"""ResNet-26.

It is the network of Rebuffi et al., CVPR 2018, and of the SpotTune paper (the graph is that
of srebuffi/residual_adapters, ``models.py``, lines 41-143). DAN and MTAN used wide ResNets.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from decathlon.models.layers import BatchNorm2d
from decathlon.models.networks import Family
from decathlon.models.residual import Block, ResidualNetwork
from decathlon.suites.papers import REBUFFI_2018

BASE_CHANNELS = 32
"""Channels of the stem at width 1."""


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
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.bn2(self.conv2(x))
        return out


class Stem(nn.Module):
    """The first layers: conv 3x3, BN; no ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn = BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N x 3 x H x W to N x C x H x W."""
        out: Tensor = self.bn(self.conv(images))
        return out


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


RESNET26 = Family(
    "ResNet-26, of the Visual Decathlon",
    resnet26,
    (4, 4, 4),
    ("resnet26", (1, 1, 1)),
    1,
    bibtex=REBUFFI_2018,
)
