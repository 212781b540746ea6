"""Torchvision's own networks, narrow or not, with weights and statistics that are not trivial."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


class Narrow(ResNet):
    """Torchvision's ResNet with a factor on all channel numbers."""

    def __init__(
        self, width: float, blocks: list[int], num_classes: int, block: Any = Bottleneck
    ) -> None:
        self.factor = width
        super().__init__(block, blocks, num_classes)
        channels = int(64 * width)
        self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(int(512 * width) * block.expansion, num_classes)

    def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
        if planes == 64:
            self.inplanes = int(64 * self.factor)
        return super()._make_layer(block, int(planes * self.factor), *args, **kwargs)


def torchvision_network(
    width: float = 0.125,
    blocks: tuple[int, ...] = (3, 4, 6, 3),
    num_classes: int = 7,
    basic: bool = False,
) -> ResNet:
    """Builds a network in evaluation mode."""
    torch.manual_seed(0)
    network = Narrow(width, list(blocks), num_classes, BasicBlock if basic else Bottleneck)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.2, 0.9)
            nn.init.normal_(layer.bias, 0, 0.2)
    return network.eval()


def images(count: int, side: int) -> Tensor:
    """Draws images."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(3))
