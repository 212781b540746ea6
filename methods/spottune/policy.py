"""The policy of SpotTune: its network, and how decisions are drawn from its logits."""

import torch
from torch import Tensor

from decathlon.models.networks import Architecture
from decathlon.models.residual import ResidualNetwork


def policy_network(architecture: Architecture, num_routed: int) -> ResidualNetwork:
    """Builds the network from images to the policy's logits, N x 2 L.

    Args:
        architecture: The source's, which says what policy network suits it.
        num_routed: L, the number of routed blocks.
    """
    return architecture.policy.build(2 * num_routed)


def most_likely(beta: Tensor) -> Tensor:
    """Returns the most likely decisions of the policy's logits, N x L x 2; N x L in {0, 1}."""
    return (beta[..., 1] > beta[..., 0]).to(beta.dtype)


def straight_through(beta: Tensor, noise: Tensor, tau: float) -> Tensor:
    """Samples a routing with the straight-through Gumbel-softmax estimator.

    Args:
        beta: Logits of the policy, N x L x 2; the second is "fine-tune".
        noise: Standard Gumbel noise of the same shape.
        tau: Temperature, > 0.

    Returns:
        N x L: forward exactly 0 or 1 (equation 3); backward the gradient of the
        relaxation (equation 4).
    """
    scores = beta.float() + noise
    soft = torch.softmax(scores / tau, dim=-1)[..., 1]
    hard = (scores[..., 1] > scores[..., 0]).to(soft.dtype)
    return hard + (soft - soft.detach())
