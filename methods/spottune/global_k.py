"""SpotTune (Global-k): the same k residual blocks are fine-tuned for all images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from decathlon.common.errors import UsageError
from decathlon.method import Batch, Phase, Task
from decathlon.models.processes import mean_over_processes
from decathlon.models.weights import Source
from decathlon.recipes import Count, Fraction, NonNegative, Recipe

from . import SpotTune, SpotTuneRecipe
from .global_network import CompactNetwork, GlobalNetwork

SMALLEST = 1e-6
"""Below it, log v of equation 6 is taken as that of this number."""


@dataclass(frozen=True)
class GlobalRecipe(SpotTuneRecipe):
    """Settings of Global-k. Only k is the paper's; the others are ours.

    Attributes:
        k: Residual blocks that are fine-tuned.
        lambda1: Weight of l_k in equation 7.
        lambda2: Weight of l_e in equation 7.
        fractions: v as the mean of the decisions, differentiated ``straight-through``, or
            ``soft``: as the mean of the policy's probabilities.
        warm_up: Fraction of the training without l_k and l_e.
        full_at: Where their weights, rising from then on, are lambda1 and lambda2.
        fix_at: Where the k blocks are fixed; the rest of the training re-tunes them.
    """

    k: Count = 3
    lambda1: NonNegative = 0.5
    lambda2: NonNegative = 0.5
    fractions: Literal["straight-through", "soft"] = "straight-through"
    warm_up: Fraction = 0.1
    full_at: Fraction = 0.3
    fix_at: Fraction = 0.5


def l_k(v: Tensor, k: int) -> Tensor:
    """Equation 5: ((sum_l v_l) - k)^2, of fractions v, L, in [0, 1]."""
    return (v.sum() - k) ** 2


def l_e(v: Tensor) -> Tensor:
    """Equation 6: sum_l -v_l log v_l, of fractions v, L, in [0, 1]."""
    return -(v * v.clamp_min(SMALLEST).log()).sum()


class SpotTuneGlobalK(SpotTune):
    """Pushes the policy of all images to the same k blocks, then fixes and re-tunes them.

    Guo et al., CVPR 2019, section 3.3: l = l_c + lambda1 l_k + lambda2 l_e (equation 7). The
    paper gives k = 3 and nothing else, and no code was released. Ours: v is estimated from
    each batch, over all processes; both losses fade in after a warm-up; halfway the k
    blocks that were tuned most often are fixed, and trained on without the policy. Stored
    are those k blocks, the last batch norm (if the network ends with one) and the head.
    """

    paper = "Guo et al., CVPR 2019, section 3.3"
    year = 2019
    trains = "copies of k blocks, head"
    routes_images = False
    recipes: ClassVar[dict[str, Recipe]] = {"paper": GlobalRecipe()}
    recipe: GlobalRecipe
    routed = GlobalNetwork

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source with routed blocks and a policy network."""
        network = super().build(source, tasks)
        assert isinstance(network, GlobalNetwork)
        if self.recipe.k > network.num_routed:
            raise UsageError(
                f"--set k={self.recipe.k}: the network has {network.num_routed} blocks to choose"
                " from; k is at most that"
            )
        return network

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """Blocks and policy; then, with fixed routing, what is kept of them."""
        assert isinstance(network, GlobalNetwork)
        (both,) = super().phases(network, tasks)
        return [
            Phase(self.recipe.fix_at, both.groups),
            Phase(1.0, self.network_groups(network, tasks), lambda: network.fix(self.recipe.k)),
        ]

    def strength(self, progress: float) -> float:
        """Returns the factor, 0 to 1, of lambda1 and lambda2 at a fraction of the training."""
        rise = self.recipe.full_at - self.recipe.warm_up
        passed = progress - self.recipe.warm_up
        return min(max(passed / rise, 0.0), 1.0) if rise > 0 else float(passed >= 0)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Equation 7; l_c alone once the routing is fixed."""
        assert isinstance(network, GlobalNetwork)
        if network.fixed is not None:
            return cross_entropy(network(batch.images).float(), batch.labels)
        beta = network.policy_logits(batch.images)
        policy = self.draw(beta, batch)
        l_c = cross_entropy(network(batch.images, policy=policy).float(), batch.labels)
        soft = self.recipe.fractions == "soft"
        decisions = torch.softmax(beta.float(), dim=-1)[..., 1] if soft else policy
        v = mean_over_processes(decisions.mean(0), batch.share)
        network.remember(v)
        added = self.recipe.lambda1 * l_k(v, self.recipe.k) + self.recipe.lambda2 * l_e(v)
        return l_c + self.strength(batch.progress) * added

    def predict(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits, and the blocks that are fine-tuned, the same for all images."""
        assert isinstance(network, CompactNetwork)
        tuned = torch.tensor(network.fixed, dtype=torch.float32, device=batch.images.device)
        return network(batch.images), tuned.expand(len(batch.images), -1)

    def finalise(self, network: nn.Module) -> nn.Module:
        """Drops the policy, and one path of each block."""
        assert isinstance(network, GlobalNetwork)
        if network.fixed is None:
            network.fix(self.recipe.k)
        return network.compact()

    def restore(self, network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
        """Takes the blocks that were stored as the tuned ones."""
        assert isinstance(network, GlobalNetwork)
        kept = {name.partition(".branch.")[0] for name in tensors if ".branch." in name}
        network.fixed = tuple(name in kept for name, _ in network.blocks())
        return super().restore(network, tensors)
