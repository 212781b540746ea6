"""Binary masks over frozen weights, learnt through real-valued ones."""

import torch
from torch import Tensor, nn

from decathlon.models.layers import ExtendedConv2d


def threshold_mask(scores: Tensor, threshold: float) -> Tensor:
    """Returns 1 where a score exceeds the threshold, else 0; same shape.

    The gradient of the mask is passed on to the scores unchanged.
    """
    hard = (scores > threshold).to(scores.dtype)
    return hard + (scores - scores.detach())


class MaskedConv2d(ExtendedConv2d):
    """A convolution whose weights are kept or left out one by one.

    Attributes:
        scores: Real-valued masks, of the weight's shape; None once :meth:`harden` was
            called.
        mask: The binary mask from then on, bool: one bit a weight on disk.
        threshold: Scores above it keep their weight.
    """

    def __init__(self, conv: nn.Conv2d, initial: float, threshold: float) -> None:
        """Adds a mask to a convolution.

        Args:
            conv: The convolution, which is taken over and frozen.
            initial: All scores at the start.
            threshold: See the class.
        """
        super().__init__(conv)
        self.scores: nn.Parameter | None = nn.Parameter(torch.full_like(conv.weight, initial))
        self.threshold = threshold
        self.mask: Tensor | None
        self.register_buffer("mask", None)
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.requires_grad_(False)

    def harden(self) -> None:
        """Puts the binary mask in the place of the scores."""
        if self.scores is not None:
            self.mask = self.scores.detach() > self.threshold
            self.scores = None

    def forward(self, x: Tensor) -> Tensor:
        """Convolves N x C_in x H x W with the weights that the mask keeps."""
        if self.scores is not None:
            mask = threshold_mask(self.scores, self.threshold)
        else:
            assert self.mask is not None
            mask = self.mask.to(self.weight.dtype)
        out: Tensor = self._conv_forward(x, self.weight * mask, self.bias)
        return out
