"""Networks whose residual blocks exist twice, frozen and tuned, and a policy between them."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from decathlon.models.layers import unfreeze
from decathlon.models.resnet import Architecture, Block, ResidualNetwork

from .paths import choose, take
from .policy import policy_network


class RoutedBlock(nn.Module):
    """A residual block with a frozen path and a tuned copy of it.

    A shortcut without parameters is the x that equation 2 adds to either path. One that has
    parameters belongs to the residual block, so that each path has its own: the frozen path
    then is the source's block, and the tuned path that of fine-tuning.

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
        own = any(True for _ in block.shortcut.parameters())
        whole = Block(block.branch, block.shortcut, nn.Identity())
        self.frozen: nn.Module = whole if own else block.branch
        self.tuned: nn.Module = unfreeze(copy.deepcopy(self.frozen))
        self.shortcut = None if own else block.shortcut
        self.activation = block.activation
        self.mix_outputs = mix_outputs

    def forward(self, x: Tensor, decision: Tensor) -> Tensor:
        """Equation 2, followed by the block's activation.

        Args:
            x: N x C x H x W.
            decision: I_l(x), N, in {0, 1}; 1 takes the tuned branch.
        """
        tuned, skip = self.tuned(x), self._skip(x)
        if not self.mix_outputs:
            return self._sum(choose(x, decision, tuned, self.frozen), skip)
        share = decision.to(tuned.dtype)[:, None, None, None]
        frozen = self._sum(self.frozen(x), skip)
        return share * self._sum(tuned, skip) + (1 - share) * frozen

    def plain(self, tuned: bool) -> Block:
        """Returns the block of one path; it shares its tensors with this one."""
        path = self.tuned if tuned else self.frozen
        if self.shortcut is not None:
            return Block(path, self.shortcut, self.activation)
        assert isinstance(path, Block)
        return Block(path.branch, path.shortcut, self.activation)

    def _skip(self, x: Tensor) -> Tensor | None:
        return None if self.shortcut is None else self.shortcut(x)

    def _sum(self, y: Tensor, skip: Tensor | None) -> Tensor:
        out: Tensor = self.activation(y if skip is None else y + skip)
        return out

    def split(self, x: Tensor, num_frozen: int) -> Tensor:
        """Takes the first ``num_frozen`` images through the frozen path, the others not.

        Equation 2 for images, N x C x H x W, that are in the order of their decisions.
        """
        skip = self._skip(x)
        halves = (self.frozen, x[:num_frozen]), (self.tuned, x[num_frozen:])
        parts = [branch(rows) for branch, rows in halves if len(rows)]
        return self._sum(torch.cat(parts) if len(parts) > 1 else parts[0], skip)


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
        beta = self.policy_logits(images)
        return (beta[..., 1] > beta[..., 0]).to(images.dtype)

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
        for block in self._blocks():
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
        for block in self._blocks():
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

    def _blocks(self) -> Iterator[nn.Module]:
        for macro in self.macros:
            yield from macro.children()
