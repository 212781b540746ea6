"""ResNets as torchvision builds them: a 7x7 stem, and shortcuts with parameters.

The graph is that of ``torchvision.models.resnet`` (0.29), whose bottlenecks have their stride at
the 3x3 convolution. Layers keep its names inside stem, branch and shortcut. In evaluation mode they
do the same operations in the same order, so that the logits are equal bit for bit.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from decathlon.models.layers import BatchNorm2d, normalised
from decathlon.models.networks import Family
from decathlon.models.residual import Block, ResidualNetwork
from decathlon.suites.papers import HE_2016

STEM_CHANNELS = 64
"""Channels of the stem, and of the first macro block's 3x3 convolutions, at width 1."""


class Stem(nn.Module):
    """The first layers: conv 7x7, BN, ReLU, max pool 3x3; a quarter of the height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps N x 3 x H x W to N x C x H/4 x W/4."""
        out: Tensor = self.maxpool(self.relu(normalised(self.conv1, self.bn1, images)))
        return out


class Basic(nn.Module):
    """The branch F_l of a basic block: conv 3x3, BN, ReLU, conv 3x3, BN."""

    expansion: ClassVar[int] = 1
    """Output channels for each channel of the 3x3 convolution."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x C_in x H x W to N x C x H/stride x W/stride."""
        x = self.relu(normalised(self.conv1, self.bn1, x))
        return normalised(self.conv2, self.bn2, x)


class Bottleneck(nn.Module):
    """The branch F_l of a bottleneck: conv 1x1, conv 3x3, conv 1x1, each with BN, ReLU between."""

    expansion: ClassVar[int] = 4

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, 1, bias=False)
        self.bn3 = BatchNorm2d(self.expansion * channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x C_in x H x W to N x 4C x H/stride x W/stride."""
        x = self.relu(normalised(self.conv1, self.bn1, x))
        x = self.relu(normalised(self.conv2, self.bn2, x))
        return normalised(self.conv3, self.bn3, x)


class Projection(nn.Sequential):
    """The shortcut where the shape changes: conv 1x1, BN; torchvision's ``downsample``."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        conv = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
        super().__init__(conv, BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Maps N x C_in x H x W to N x C_out x H/stride x W/stride."""
        return normalised(self[0], self[1], x)


def bottlenecks(width: float, blocks: Sequence[int], num_classes: int) -> ResidualNetwork:
    """Builds a ResNet of bottlenecks; with (3, 4, 6, 3) blocks ResNet-50.

    ResNet-50 has 23,508,032 parameters without the head at width 1.
    """
    return _network(Bottleneck, width, blocks, num_classes)


def basic_blocks(width: float, blocks: Sequence[int], num_classes: int) -> ResidualNetwork:
    """Builds a ResNet of basic blocks; with (1, 1, 1, 1) blocks ResNet-10."""
    return _network(Basic, width, blocks, num_classes)


def _network(
    branch: type[Basic] | type[Bottleneck],
    width: float,
    num_blocks: Sequence[int],
    num_classes: int,
) -> ResidualNetwork:
    """Builds a network.

    The 3x3 convolutions of each macro block have twice the channels of those before; all but the
    first macro block start with stride 2.
    """
    channels = int(STEM_CHANNELS * width)
    stem, channels_in = Stem(channels), channels
    macros = []
    for macro, count in enumerate(num_blocks):
        blocks = []
        for index in range(count):
            stride = 2 if macro > 0 and index == 0 else 1
            out = branch.expansion * channels
            shortcut: nn.Module = nn.Identity()
            if stride != 1 or channels_in != out:
                shortcut = Projection(channels_in, out, stride)
            block = branch(channels_in, channels, stride)
            blocks.append(Block(block, shortcut, nn.ReLU(inplace=True)))
            channels_in = out
        macros.append(blocks)
        channels *= 2
    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ResidualNetwork(stem, macros, tail, channels_in, num_classes)


POLICY = ("resnet10", (1, 1, 1, 1))
RESNET10 = Family(
    "the policy network of ResNet-50", basic_blocks, POLICY[1], POLICY, bibtex=HE_2016
)
RESNET50 = Family(
    "ResNet-50 as torchvision builds it", bottlenecks, (3, 4, 6, 3), POLICY, bibtex=HE_2016
)
RESNET101 = Family(
    "ResNet-101 as torchvision builds it", bottlenecks, (3, 4, 23, 3), POLICY, bibtex=HE_2016
)
