"""Networks whose residual blocks exist twice, frozen and tuned, and a policy between them."""

import torch
from torch import Tensor, nn

from decathlon.models.networks import Architecture
from decathlon.models.residual import Block, ResidualNetwork

from .paths import take
from .policy import most_likely, policy_network
from .routed_block import RoutedBlock


class RoutedNetwork(nn.Module):
    """A residual network with routed blocks and the policy network that decides.

    Attributes:
        policy: From images to 2 L logits.
        num_routed: L.
    """

    def __init__(
        self,
        base: ResidualNetwork,
        architecture: Architecture,
        fixed_macros: int,
        mix_outputs: bool,
    ) -> None:
        """Takes over the parts of ``base``.

        Args:
            base: The source network with its parts frozen as the method wants them.
            architecture: The source's, for the policy network.
            fixed_macros: Macro blocks at the beginning that are not routed.
            mix_outputs: See :class:`RoutedBlock`.
        """
        super().__init__()
        self.stem, self.macros, self.tail, self.head = base.stem, base.macros, base.tail, base.head
        for macro in list(self.macros)[fixed_macros:]:
            assert isinstance(macro, nn.Sequential)
            for index, block in enumerate(macro):
                assert isinstance(block, Block)
                macro[index] = RoutedBlock(block, mix_outputs)
        self.num_routed = sum(isinstance(m, RoutedBlock) for m in self.modules())
        self.policy = policy_network(architecture, self.num_routed)

    def policy_logits(self, images: Tensor) -> Tensor:
        """Returns beta, N x L x 2."""
        beta: Tensor = self.policy(images)
        return beta.view(len(images), self.num_routed, 2)

    def decide(self, images: Tensor) -> Tensor:
        """Returns the policy's most likely decisions, N x L in {0, 1}; 1 is fine-tuned."""
        return most_likely(self.policy_logits(images))

    def forward(self, images: Tensor, policy: Tensor | None = None) -> Tensor:
        """Maps images to logits.

        Args:
            images: N x 3 x H x W, normalised.
            policy: N x L in {0, 1}, 1 = fine-tuned; by default :meth:`decide`.

        Returns:
            N x classes.
        """
        decisions = self.decide(images) if policy is None else policy
        if not (self.training or torch.is_grad_enabled()):
            return self._predict(images, decisions)
        columns = iter(decisions.unbind(1))
        x = self.stem(images)
        for block in self.layers()[1:-1]:
            x = block(x, next(columns)) if isinstance(block, RoutedBlock) else block(x)
        logits: Tensor = self.head(self.tail(x))
        return logits

    def _predict(self, images: Tensor, decisions: Tensor) -> Tensor:
        """Computes for each image the path that it takes, and no other.

        Before each routed block the images are put in order, those that take the frozen
        branch first, so that both branches see a batch in one piece.
        """
        columns = iter((decisions > 0.5).cpu().unbind(1))
        order = torch.arange(len(images))
        x = self.stem(images)
        for block in self.layers()[1:-1]:
            if isinstance(block, RoutedBlock):
                tuned = next(columns)[order]
                if (tuned[:-1] & ~tuned[1:]).any():
                    rows = torch.argsort(tuned, stable=True)
                    x, order = take(x, rows.to(x.device)), order[rows]
                x = block.split(x, len(tuned) - int(tuned.sum()))
            else:
                x = block(x)
        logits: Tensor = self.head(self.tail(x))
        return logits[torch.argsort(order).to(logits.device)]

    def layers(self) -> list[nn.Module]:
        """Lists stem, blocks and tail, in order."""
        blocks = [block for macro in self.macros for block in macro.children()]
        return [self.stem, *blocks, self.tail]
