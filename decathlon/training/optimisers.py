"""The optimisers of a phase: made from its groups, stepped together, saved as tensors."""

from collections.abc import Mapping
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.common.errors import TrialError
from decathlon.method.base import Group, Phase


def _optimiser(group: Group) -> torch.optim.Optimizer:
    if group.optimiser == "adam":
        return torch.optim.Adam(group.parameters, group.lr, weight_decay=group.weight_decay)
    return torch.optim.SGD(
        group.parameters,
        group.lr,
        momentum=group.momentum,
        weight_decay=group.weight_decay,
        nesterov=group.nesterov,
    )


class Optimisers:
    """One optimiser for each group of a phase that has parameters."""

    def __init__(self, phase: Phase, fabric: Fabric) -> None:
        """Makes the optimisers.

        Raises:
            TrialError: A parameter is in the phase twice, and would take two steps at once.
        """
        parameters = [parameter for group in phase.groups for parameter in group.parameters]
        if len(set(parameters)) < len(parameters):
            raise TrialError(
                "the method lists a parameter twice in the groups of a phase (a tied weight has"
                " several names); list it once"
            )
        self.groups = [group for group in phase.groups if group.parameters]
        self.plain = [_optimiser(group) for group in self.groups]
        wrapped = [fabric.setup_optimizers(optimiser) for optimiser in self.plain]
        self.wrapped = cast(list[torch.optim.Optimizer], wrapped)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters of all groups."""
        return [parameter for group in self.groups for parameter in group.parameters]

    def set_rates(self, rates: list[float]) -> None:
        """Sets the learning rate of each group."""
        for optimiser, rate in zip(self.plain, rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate

    def step(self) -> None:
        """Takes a step and clears the gradients."""
        for optimiser in self.wrapped:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the state of all optimisers as tensors by name."""
        found = {}
        for number, optimiser in enumerate(self.plain):
            for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
                for name, value in optimiser.state.get(parameter, {}).items():
                    if isinstance(value, Tensor):
                        found[f"{number}.{index}.{name}"] = value
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads what :meth:`tensors` returned."""
        for key, value in tensors.items():
            number, index, name = key.split(".")
            optimiser = self.plain[int(number)]
            parameter = optimiser.param_groups[0]["params"][int(index)]
            same = value.shape == parameter.shape
            kept = torch.empty_like(parameter).copy_(value) if same else value.clone()
            optimiser.state[parameter][name] = kept
