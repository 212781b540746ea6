"""Controllers: filters as learnt linear combinations of the source's filters."""

import torch
from torch import Tensor, nn

from decathlon.models.layers import ExtendedConv2d


class ControlledConv2d(ExtendedConv2d):
    """A convolution whose filters are recombined: F_a = W F.

    F is the bank of C_out filters as a matrix of C_out x (C_in k k).

    Attributes:
        controller: W, C_out x C_out.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Adds a controller near the identity (incremental_learning notebook, cells 3 and 27).

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
