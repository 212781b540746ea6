"""A routed network whose policy becomes the same for all images, and then disappears."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from decathlon.models.networks import Architecture
from decathlon.models.residual import Block, ResidualNetwork

from .routed_block import RoutedBlock
from .routing import RoutedNetwork

MEMORY = 0.99
"""Weight of the past in the running mean of the fractions v."""


class CompactNetwork(ResidualNetwork):
    """The network of a fixed routing: one path for each block.

    Attributes:
        fixed: Whether each of the blocks that could be routed is tuned.
    """

    fixed: tuple[bool, ...]


class GlobalNetwork(RoutedNetwork):
    """A :class:`RoutedNetwork` that remembers how often each block is fine-tuned.

    Attributes:
        usage: Running mean of v, L: the fraction of images that block l is tuned for.
        fixed: Whether each block is tuned, for all images; None as long as the policy
            decides. It follows from ``usage``.
    """

    usage: Tensor

    def __init__(
        self,
        base: ResidualNetwork,
        architecture: Architecture,
        fixed_macros: int,
        mix_outputs: bool,
    ) -> None:
        """Takes over the parts of ``base``, as :class:`RoutedNetwork` does."""
        super().__init__(base, architecture, fixed_macros, mix_outputs)
        self.register_buffer("usage", torch.full((self.num_routed,), 0.5))
        self.fixed: tuple[bool, ...] | None = None

    def remember(self, v: Tensor) -> None:
        """Moves ``usage`` towards the fractions of a batch, L."""
        self.usage.lerp_(v.detach().to(self.usage.dtype), 1 - MEMORY)

    def fix(self, k: int) -> None:
        """Fixes the routing: the k blocks that are tuned most often are tuned for all."""
        chosen = set(self.usage.topk(k).indices.tolist())
        self.fixed = tuple(index in chosen for index in range(self.num_routed))

    def forward(self, images: Tensor, policy: Tensor | None = None) -> Tensor:
        """Maps images to logits; as :class:`RoutedNetwork` until the routing is fixed."""
        if self.fixed is None:
            return super().forward(images, policy)
        taken = iter(self.fixed)
        x = self.stem(images)
        for macro in self.macros:
            for block in macro.children():
                x = _plain(block, taken)(x)
        logits: Tensor = self.head(self.tail(x))
        return logits

    def blocks(self) -> Iterator[tuple[str, RoutedBlock]]:
        """Yields (dotted name, block) for all routed blocks, in order."""
        for name, module in self.named_modules():
            if isinstance(module, RoutedBlock):
                yield name, module

    def compact(self) -> CompactNetwork:
        """Returns the network of the fixed routing: one path for each block, and no policy.

        It shares its tensors with this one. Names are those of the source network.
        """
        assert self.fixed is not None
        taken = iter(self.fixed)
        macros = [[_plain(block, taken) for block in macro.children()] for macro in self.macros]
        head = self.head
        network = CompactNetwork(self.stem, macros, self.tail, head.in_features, head.out_features)
        network.head, network.fixed = head, self.fixed
        return network


def _plain(block: nn.Module, taken: Iterator[bool]) -> Block:
    if isinstance(block, RoutedBlock):
        return block.plain(tuned=next(taken))
    assert isinstance(block, Block)
    return block
