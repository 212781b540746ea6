"""LwF: fine-tuning that keeps answering as the source network did."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, softmax

from decathlon.method import Batch, Method, Phase, Task
from decathlon.models.layers import freeze, normalise_by, unfreeze
from decathlon.models.residual import ResidualNetwork, fix_beginning
from decathlon.models.weights import Source
from decathlon.recipes import Fraction, NonNegative, Positive, Recipe, TuningRecipe
from decathlon.suites.papers import LI_2018_LEARNING

WARM_UP = 0  # index of the phase in which only the new head is trained


@dataclass(frozen=True)
class LwFRecipe(TuningRecipe):
    """Settings of LwF.

    Attributes:
        lambda_o: Weight of the old responses' loss.
        temperature: T, by which logits are divided in it.
        warm_up: Fraction of the training in which only the new head is trained.
    """

    lambda_o: NonNegative = 1.0
    temperature: Positive = 2.0
    warm_up: Fraction = 0.25


def old_loss(logits: Tensor, recorded: Tensor, temperature: float) -> Tensor:
    """Returns L_old: - sum_i y'_i log y^'_i, averaged over the images.

    Args:
        logits: Of the old head now, N x classes.
        recorded: Of the source network, N x classes.
        temperature: T of y' = softmax(recorded / T) and y^' = softmax(logits / T).
    """
    target = softmax(recorded.float() / temperature, dim=1)
    return -(target * log_softmax(logits.float() / temperature, dim=1)).sum(1).mean()


class LwFNetwork(nn.Module):
    """A network with a new and the old head, and the source network beside it.

    Attributes:
        student: Shared parameters theta_s and the new head theta_n.
        old_head: theta_o.
        teacher: The source network, frozen.
    """

    def __init__(self, student: ResidualNetwork, teacher: ResidualNetwork, classes: int) -> None:
        super().__init__()
        self.old_head = student.head
        student.new_head(classes)
        self.student, self.teacher = student, freeze(teacher)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images to the new head's logits."""
        logits: Tensor = self.student(images)
        return logits


class LwF(Method):
    """Fine-tunes while the old head keeps answering as the source network did.

    Li and Hoiem, TPAMI 2017: L_new + lambda_o L_old is minimised over shared parameters theta_s,
    old head theta_o and new head theta_n. First only the new head is trained, then everything.
    L_new is cross-entropy; L_old asks the old head for the responses that the source network gave
    to the same images. Each epoch has crops of its own, whose responses a frozen copy of the source
    gives when they are seen. Stored is the domain's full network, without old head and copy.

    T and lambda_o are the paper's (section 3). All else for this benchmark (Rebuffi et al.,
    NeurIPS 2017) is not known. Ours: a warm-up of a quarter, the rest as in fine-tuning.

    ``released``: lizhitwo/LearningWithoutForgetting, as it trains VGG on CUB: 72 epochs at 0.0008,
    the last quarter at a tenth, for the new head and again for everything (``gridSearchPASCAL.m``,
    152-156, 291-307, 354-357, 430-438), batches of 64 (``PASCALkeeporig.m``, 78), decay 5e-4
    (``cnn_customtrain.m``, 82), a head of normal weights of variance 0.05 / (in + out)
    (``forkAlexNet.m``, 156).
    """

    paper = "Li and Hoiem, TPAMI 2017"
    year = 2017
    trains = "all, with the source's responses kept"
    bibtex = LI_2018_LEARNING
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": LwFRecipe(),
        "released": LwFRecipe(
            protocol="released",
            epochs=144,
            batch_size=64,
            lr=0.0008,
            milestones=(0.75,),
            weight_decay={"default": 5e-4},
            warm_up=0.5,
        ),
    }
    recipe: LwFRecipe

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns the source network twice, one of them with a new head."""
        network = LwFNetwork(source.network(), source.network(), tasks[0].num_classes)
        fix_beginning(network.student, self.recipe.fixed_macros(source))
        if self.recipe.protocol == "released":
            head = network.student.head
            nn.init.normal_(head.weight, std=(0.05 / sum(head.weight.shape)) ** 0.5)
            nn.init.zeros_(head.bias)
        return network

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """The new head alone, then theta_s, theta_o and theta_n."""
        assert isinstance(network, LwFNetwork)
        student, old_head, until = network.student, network.old_head, self.recipe.warm_up
        everything = [*student.named_parameters(), *old_head.named_parameters("old_head")]
        first = self.groups(student.head.named_parameters("head"), tasks)
        second = self.groups(everything, tasks)
        if self.recipe.protocol == "released":  # the whole schedule for either
            for groups, start, end in ((first, 0.0, until), (second, until, 1.0)):
                for group in groups:
                    group.milestones = tuple(start + m * (end - start) for m in group.milestones)
        return [
            Phase(until, first, lambda: unfreeze(freeze(network).student.head)),
            Phase(1.0, second, lambda: (self._learn(student), unfreeze(old_head))),
        ]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """L_new + lambda_o L_old; in the warm-up L_old is constant and left out."""
        assert isinstance(network, LwFNetwork)
        features = network.student.features(batch.images)
        l_new = cross_entropy(network.student.head(features).float(), batch.labels)
        if batch.phase == WARM_UP or self.recipe.lambda_o == 0:
            return l_new
        with torch.no_grad():
            recorded = network.teacher(batch.images)
        l_old = old_loss(network.old_head(features), recorded, self.recipe.temperature)
        return l_new + self.recipe.lambda_o * l_old

    def finalise(self, network: nn.Module) -> nn.Module:
        """Keeps the network with the new head, of which all but what is fixed is the domain's."""
        assert isinstance(network, LwFNetwork)
        return self._learn(network.student)

    def _learn(self, student: nn.Module) -> nn.Module:
        return fix_beginning(normalise_by(unfreeze(student), self.recipe.bn), self.recipe.fixed)
