"""Residual blocks that exist twice, frozen and tuned."""

import copy

import torch
from torch import Tensor, nn

from decathlon.models.layers import unfreeze
from decathlon.models.residual import Block, WholeBlock

from .paths import choose, wide


class RoutedBlock(nn.Module):
    """A residual block with a frozen path and a tuned copy of it.

    Of a :class:`WholeBlock`, each path is all of it. Else a shortcut without parameters is the x
    that equation 2 adds to either path. One that has parameters belongs to the residual block, so
    that each path has its own: the frozen path then is the source's block, and the tuned path that
    of fine-tuning.

    Attributes:
        frozen: F_l; with the sum with its shortcut if that has parameters.
        tuned: The copy, initialised from it.
        shortcut: What both paths share; None if each has its own.
        activation: As in the original block.
        mix_outputs: Mix the two paths after the activation, as the released code does;
            it is the same for decisions in {0, 1}, but not its gradient.
    """

    def __init__(self, block: Block, mix_outputs: bool) -> None:
        super().__init__()
        in_parts = not isinstance(block, WholeBlock)
        own = not in_parts or any(True for _ in block.shortcut.parameters())
        whole = Block(block.branch, block.shortcut, nn.Identity()) if in_parts else block
        self.frozen: nn.Module = whole if own else block.branch
        self.tuned: nn.Module = unfreeze(copy.deepcopy(self.frozen))
        self.shortcut = None if own else block.shortcut
        self.activation = block.activation
        self.mix_outputs = mix_outputs

    def forward(self, x: Tensor, decision: Tensor) -> Tensor:
        """Equation 2, followed by the block's activation.

        Args:
            x: N x C x H x W, or N x T x C of a transformer.
            decision: I_l(x), N, in {0, 1}; 1 takes the tuned branch.
        """
        tuned, skip = self.tuned(x), self._skip(x)
        if not self.mix_outputs:
            return self._sum(choose(x, decision, tuned, self.frozen), skip)
        share = wide(decision.to(tuned.dtype), tuned)
        frozen = self._sum(self.frozen(x), skip)
        return share * self._sum(tuned, skip) + (1 - share) * frozen

    def plain(self, tuned: bool) -> Block:
        """Returns the block of one path; it shares its tensors with this one."""
        path = self.tuned if tuned else self.frozen
        if self.shortcut is not None:
            return Block(path, self.shortcut, self.activation)
        assert isinstance(path, Block)
        if isinstance(path, WholeBlock):
            return path
        return Block(path.branch, path.shortcut, self.activation)

    def _skip(self, x: Tensor) -> Tensor | None:
        return None if self.shortcut is None else self.shortcut(x)

    def _sum(self, y: Tensor, skip: Tensor | None) -> Tensor:
        out: Tensor = self.activation(y if skip is None else y + skip)
        return out

    def split(self, x: Tensor, num_frozen: int) -> Tensor:
        """Takes the first ``num_frozen`` images through the frozen path, the others not.

        Equation 2 for images that are in the order of their decisions.
        """
        skip = self._skip(x)
        halves = (self.frozen, x[:num_frozen]), (self.tuned, x[num_frozen:])
        parts = [branch(rows) for branch, rows in halves if len(rows)]
        return self._sum(torch.cat(parts) if len(parts) > 1 else parts[0], skip)
