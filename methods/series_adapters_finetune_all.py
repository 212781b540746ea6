"""Series residual adapters with the shared convolutions trained on all domains."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

from torch import Tensor, nn

from decathlon.method import Batch, Phase, Stored, Task
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import Source
from decathlon.recipes import Count, Fraction, NonNegative, Positive, Recipe, by_size
from decathlon.suites.base import Suite
from decathlon.suites.papers import REBUFFI_2017

from .series_adapters import AdapterRecipe, SeriesAdapters, source_convolutions


@dataclass(frozen=True)
class JointRecipe(AdapterRecipe):
    """Settings of the joint training; all of them are ours.

    Attributes:
        steps_per_epoch: Steps in an epoch, at most; never more than one pass over the
            images of all domains. 100 a domain are usual (VICO-UoE/UniversalRepresentations).
        adapters_until: Fraction of the training in which the shared convolutions are still
            the source's.
        trunk_lr: Initial rate of the shared convolutions after that.
        trunk_weight_decay: Their decay.
    """

    steps_per_epoch: Count = 1000
    adapters_until: Fraction = 0.5
    trunk_lr: Positive = 0.01
    trunk_weight_decay: NonNegative = 1e-4

    def on(self, suite: Suite) -> Self:
        """Returns the recipe for a suite; the shared convolutions learn at most at its rate."""
        own = super().on(suite)
        return replace(own, trunk_lr=min(own.trunk_lr, own.lr))


class JointNetwork(nn.Module):
    """Networks of the same build, one for each domain, with tied parameters.

    Attributes:
        networks: By domain.
    """

    def __init__(self, networks: Mapping[str, nn.Module], tied: Collection[str]) -> None:
        """Ties parameters of networks.

        Args:
            networks: By domain; they are changed in place.
            tied: Names of the parameters that shall be the first network's in all of them.
        """
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        first, *others = networks.values()
        for name in tied:
            parent, _, child = name.rpartition(".")
            for network in others:
                setattr(network.get_submodule(parent), child, first.get_parameter(name))

    def forward(self, images: Tensor, domain: str) -> Tensor:
        """Maps images of one domain, N x 3 x H x W, to its logits, N x classes."""
        logits: Tensor = self.networks[domain](images)
        return logits


class FinetuneAll(SeriesAdapters):
    """Trains adapters of each domain, then with them the convolutions that all share.

    Rebuffi et al., NeurIPS 2017. That training is joint follows from the 2x of Table 3 and
    from its changed ImageNet accuracy; the recipe is not known. Ours starts as the decay
    variant does, samples domains evenly, a batch of one domain a step, and adds the 3x3
    convolutions halfway. Adapters, batch norms and heads are each domain's own.
    """

    paper = "Rebuffi et al., NeurIPS 2017"
    year = 2017
    trains = "all, jointly over the domains"
    bibtex = REBUFFI_2017
    recipes: ClassVar[dict[str, Recipe]] = {
        "paper": JointRecipe(weight_decay=by_size(1e-4, 5e-4, 2e-3), rest_weight_decay=None),
    }
    recipe: JointRecipe
    scope = "joint"
    source_domain = "joint"

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        """Returns a network for each domain; their 3x3 convolutions are the same tensors.

        The source domain's network starts as the source itself, head and adapters included.
        """
        networks = {}
        for task in tasks:
            network = super().build(source, [task])
            assert isinstance(network, ResidualNetwork)
            if task.is_source and task.num_classes == source.num_classes:
                network.load_state_dict(source.network().state_dict(), strict=False)
            networks[task.domain] = network
        return JointNetwork(networks, self.trunk(networks[tasks[0].domain]))

    def trunk(self, network: nn.Module) -> list[str]:
        """Returns the names of what all domains share in one domain's network."""
        return list(source_convolutions(network))

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        """Adapters, batch norms and heads; then with them the shared convolutions."""
        assert isinstance(network, JointNetwork)
        one = network.networks[tasks[0].domain]
        shared = [one.get_parameter(name) for name in self.trunk(one)]

        def learn(trunk_too: bool) -> None:
            for weight in shared:
                weight.requires_grad_(trunk_too)

        learn(False)
        own = [
            group
            for task in tasks
            for phase in super(FinetuneAll, self).phases(network.networks[task.domain], [task])
            for group in phase.groups
        ]
        recipe = self.recipe
        trunk = self.sgd([], tasks, recipe.trunk_lr, recipe.trunk_weight_decay)
        trunk.parameters = shared
        return [
            Phase(recipe.adapters_until, own, partial(learn, False)),
            Phase(1.0, [*own, trunk], partial(learn, True)),
        ]

    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        """Runs the batch's domain's network; N x classes."""
        return super().logits(self.part(network, batch.domain), batch)

    def part(self, network: nn.Module, domain: str) -> nn.Module:
        """Returns one domain's network, which is a plain one with adapters."""
        return network.networks[domain] if isinstance(network, JointNetwork) else network

    def stored(self, network: nn.Module) -> list[Stored]:
        """Lists the shared convolutions as the trunk, and all else as the domain's."""
        trunk = set(self.trunk(network))
        return [
            Stored(s.name, s.tensor, "trunk" if s.name in trunk else s.place)
            for s in super().stored(network)
        ]
