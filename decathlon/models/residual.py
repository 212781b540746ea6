"""Residual networks, seen as stem, macro blocks of residual blocks, tail and head."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from decathlon.models.layers import freeze


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


class WholeBlock(Block):
    """A residual block whose parts do not come apart: all of it is its branch."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__(block, nn.Identity(), nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Computes the block."""
        out: Tensor = self.branch(x)
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


def fix_beginning(network: nn.Module, macros: int | None) -> nn.Module:
    """Freezes the stem and the first macro blocks of a residual network, in place.

    Args:
        network: A :class:`ResidualNetwork`.
        macros: How many macro blocks; None to freeze nothing, not even the stem.

    Returns:
        The same network.
    """
    assert isinstance(network, ResidualNetwork)
    if macros is not None:
        for part in (network.stem, *network.macros[:macros]):
            freeze(part)
    return network
