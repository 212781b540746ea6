"""The frozen and the tuned path of a routed block, neither computed more than it has to be.

For decisions in {0, 1} the mixture of equation 2 is a choice. Its gradients are

* to the tuned branch: that of the output, for the images that take it;
* to the frozen branch: that of the output, for the others. Its images do not depend on
  each other (its batch statistics are fixed), so only these are taken back through it;
* to the decision: the inner product of the output's gradient and the difference of the two
  paths, for which both are computed for all images while training.

Without gradients each image is computed on its own path only.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, autograd

Branch = Callable[[Tensor], Tensor]


def choose(x: Tensor, decision: Tensor, tuned: Tensor, frozen: Branch) -> Tensor:
    """Equation 2's mixture, decision * tuned + (1 - decision) * frozen(x), to be trained.

    Args:
        x: The block's input, N x C x H x W, or N x T x C of a transformer.
        decision: N, in {0, 1}; 1 takes the tuned branch.
        tuned: What the tuned branch makes of ``x``, N x C' x H' x W'.
        frozen: A branch that has neither trainable parameters nor batch statistics.

    Returns:
        Of tuned's shape, differentiable in ``x``, ``decision`` and ``tuned``.
    """
    chosen: Tensor = _Choice.apply(x, decision, tuned, frozen)
    return chosen


class _Choice(autograd.Function):
    """See :func:`choose`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decision: Tensor, tuned: Tensor, branch: Branch) -> Tensor:
        taken = decision > 0.5
        ctx.rows, ctx.inner = None, None
        if not ctx.needs_input_grad[0]:
            frozen = branch(x)
        elif knows_rows(x):
            ctx.rows, rest = (~taken).nonzero()[:, 0], taken.nonzero()[:, 0]
            frozen = torch.empty_like(tuned)
            for rows, graph in ((ctx.rows, True), (rest, False)):
                if len(rows):
                    part = take(x, rows)
                    if graph:
                        ctx.inner = _with_graph(branch, part)
                        put(frozen, rows, ctx.inner[1].detach())
                    else:
                        put(frozen, rows, branch(part))
        else:
            ctx.inner = _with_graph(branch, x)
            frozen = ctx.inner[1].detach()
        ctx.save_for_backward(taken, tuned, frozen)
        ctx.like = torch.empty_like(x, device="meta")
        return torch.where(wide(taken, tuned), tuned, frozen)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0]
        taken, tuned, frozen = ctx.saved_tensors
        to_x = None
        if ctx.inner is not None:
            leaf, out = ctx.inner
            if ctx.rows is None:
                (to_x,) = autograd.grad(out, leaf, gradient.where(wide(~taken, gradient), 0))
            else:
                (part,) = autograd.grad(out, leaf, take(gradient, ctx.rows))
                to_x = torch.zeros_like(ctx.like, device=part.device)
                put(to_x, ctx.rows, part)
        to_decision = (gradient * (tuned - frozen)).flatten(1).sum(1, dtype=torch.float32)
        return to_x, to_decision, gradient.where(wide(taken, gradient), 0), None


def knows_rows(x: Tensor) -> bool:
    """Whether it costs nothing to learn which images take a path; a GPU would be waited for."""
    return x.device.type == "cpu"


def _with_graph(branch: Branch, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (x as a leaf, what the branch makes of it) with the graph between them."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        # Not the leaf itself: torch's counter of operations cannot follow one into a module.
        return leaf, branch(leaf.view_as(leaf))


def wide(decisions: Tensor, x: Tensor) -> Tensor:
    """Returns decisions, N, in a shape that broadcasts to x, N x ..."""
    return decisions.view(-1, *(1 for _ in x.shape[1:]))


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Returns some images of a batch; feature maps stay in channels-last memory order.

    Args:
        x: N x C x H x W, or N x T x C.
        rows: M, int64.

    Returns:
        M x C x H x W, or M x T x C.
    """
    if x.ndim != 4:
        return x.index_select(0, rows)
    return x.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)


def put(out: Tensor, rows: Tensor, part: Tensor) -> None:
    """Sets some images of a batch."""
    if out.ndim != 4:
        out.index_copy_(0, rows, part)
    else:
        out.permute(0, 2, 3, 1).index_copy_(0, rows, part.permute(0, 2, 3, 1))
