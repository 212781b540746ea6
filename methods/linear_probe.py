"""Linear probe: multinomial logistic regression on the features of the frozen source network."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from decathlon.method.probe import Features, Probe, ProbeRecipe
from decathlon.models.residual import ResidualNetwork
from decathlon.recipes import Positive, Recipe
from decathlon.suites.papers import KORNBLITH_2019

TOLERANCE, MOST = 1e-5, 2000
"""L-BFGS ends when no element of the gradient is larger, or after so many iterations."""
DECAYS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)


@dataclass(frozen=True)
class LinearProbeRecipe(ProbeRecipe):
    """Settings of the linear probe; ``decays`` are those that the L2 penalty is chosen from."""

    decays: tuple[Positive, ...] = DECAYS


class Regression:
    """Logistic regression on standardised features.

    The loss is the mean cross-entropy plus decay / 2 times the sum of all squared weights; biases
    have no penalty.

    Attributes:
        weight: Classes x D.
        bias: Classes.
    """

    def __init__(self, features: Features, num_classes: int) -> None:
        """Measures mean and standard deviation; constant features are only shifted."""
        self.labels, values = features.labels, features.values.double()
        std, self.mean = torch.std_mean(values, 0, correction=0)
        self.std = std.where(std > 0, 1.0)
        self.x = (values - self.mean) / self.std
        self.weight = self.x.new_zeros(num_classes, self.x.shape[1], requires_grad=True)
        self.bias = self.x.new_zeros(num_classes, requires_grad=True)

    def loss(self, decay: float) -> Tensor:
        """Returns the loss at the present weights."""
        logits = self.x @ self.weight.T + self.bias
        return cross_entropy(logits, self.labels) + decay / 2 * self.weight.square().sum()

    def fit(self, decay: float) -> None:
        """Minimises the loss from the present weights on."""
        parameters = [self.weight, self.bias]
        optimiser = torch.optim.LBFGS(
            parameters, max_iter=MOST, tolerance_grad=TOLERANCE, tolerance_change=0.0,
            history_size=20, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def step() -> float:
            optimiser.zero_grad()
            loss = self.loss(decay)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())

        optimiser.step(step)  # type: ignore[no-untyped-call]

    def of_raw(self) -> tuple[Tensor, Tensor]:
        """Returns weight and bias for features that are not standardised, float32."""
        weight = self.weight.detach() / self.std
        return weight.float(), (self.bias.detach() - weight @ self.mean).float()

    def num_correct(self, features: Features) -> int:
        """Counts images that are classified correctly."""
        weight, bias = self.of_raw()
        predicted = (features.values @ weight.T + bias).argmax(1)
        return int((predicted == features.labels).sum())


class LinearProbe(Probe):
    """Fits a linear head to features by logistic regression, to convergence.

    Kornblith et al., CVPR 2019: L-BFGS without augmentation, the L2 penalty chosen on
    held-out images. Ours: standardised features, and nine penalties. If no image can be held out,
    it is the one in the middle.
    """

    paper = "Kornblith et al., CVPR 2019"
    year = 2019
    trains = "head, by logistic regression"
    bibtex = KORNBLITH_2019
    recipes: ClassVar[dict[str, Recipe]] = {"paper": LinearProbeRecipe()}
    recipe: LinearProbeRecipe

    def fit(self, network: ResidualNetwork, features: Features) -> dict[str, Any]:
        """Chooses the penalty, of two equally good ones the larger; then fits to all images."""
        decays = sorted(self.recipe.decays, reverse=True)
        chosen: dict[str, Any] = {"decay": decays[len(decays) // 2]}
        held_out, num_classes = features.only(features.held_out), network.head.out_features
        if len(held_out.labels):
            model, right = Regression(features.only(~features.held_out), num_classes), []
            for decay in decays:
                model.fit(decay)
                right.append(model.num_correct(held_out))
            decay = decays[right.index(max(right))]
            chosen = {"decay": decay, "correct": max(right), "held_out": len(held_out.labels)}
        final = Regression(features, num_classes)
        final.fit(chosen["decay"])
        network.head.load_state_dict(dict(zip(("weight", "bias"), final.of_raw(), strict=True)))
        return chosen
