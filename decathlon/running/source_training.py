"""How a source network is trained: the settings of ``pretrain``, and what they change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from decathlon.data.keyed import generator
from decathlon.method.base import Batch, Group, Method, Task
from decathlon.method.recipe import Fraction, Recipe


@dataclass(frozen=True)
class SourceRecipe(Recipe):
    """Protocol R's task schedule, and common ways to train better from random weights.

    How the authors pretrained was never published; theirs treats the source domain as any other
    domain (``imdbfolder_coco.py``, lines 122-129). So does this, by default.

    Attributes:
        schedule: ``steps`` multiplies the rate by gamma at the milestones. ``cosine`` lowers it
            to 0 along half a cosine (Loshchilov and Hutter, ICLR 2017, equation 5, without
            restarts), and milestones and gamma have no effect.
        warm_up: Fraction of the training in which the rate first rises linearly.
        label_smoothing: Share of each label that is spread evenly over all classes (Szegedy et
            al., CVPR 2016, section 7).
        mixup: Alpha of the Beta distribution from which each step draws how it mixes pairs of
            images and of labels (Zhang et al., ICLR 2018); 0 mixes none.
    """

    left_out = {
        **Recipe.left_out,
        "schedule": "steps",
        "warm_up": 0.0,
        "label_smoothing": 0.0,
        "mixup": 0.0,
    }

    schedule: Literal["steps", "cosine"] = "steps"
    warm_up: Fraction = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0


RECIPE = SourceRecipe()
"""The settings of a source network, unless a user changes them."""


class SourceTraining(Method):
    """Trains all of a network from random weights under a :class:`SourceRecipe`."""

    recipes: ClassVar[dict[str, Recipe]] = {"paper": RECIPE}
    recipe: SourceRecipe

    def sgd(
        self,
        parameters: Iterable[nn.Parameter],
        tasks: Sequence[Task],
        lr: float | None = None,
        weight_decay: float | None = None,
    ) -> Group:
        """Groups parameters under the recipe's SGD and its schedule."""
        group = super().sgd(parameters, tasks, lr, weight_decay)
        return replace(group, schedule=self.recipe.schedule, warm_up=self.recipe.warm_up)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Returns the cross-entropy with smoothed labels, of mixed images if there is mixup.

        The i-th image is mixed with the i-th from the end. In data-parallel training each
        process pairs the images of its own part, all with the same weight.
        """
        smoothing, alpha = self.recipe.label_smoothing, self.recipe.mixup
        if not alpha:
            logits = self.logits(network, batch).float()
            return cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        weight = generator(batch.key, "mixup", batch.step).beta(alpha, alpha)
        mixed = torch.lerp(batch.images.flip(0), batch.images, weight)
        logits = self.logits(network, replace(batch, images=mixed)).float()
        own, other = (
            cross_entropy(logits, labels, label_smoothing=smoothing)
            for labels in (batch.labels, batch.labels.flip(0))
        )
        return weight * own + (1 - weight) * other
