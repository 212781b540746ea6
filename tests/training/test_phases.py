"""A batch tells a method the phase whose optimisers step, whatever the training's length."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from decathlon.method import Batch, Method, Phase, Task
from decathlon.method.recipe import Recipe
from decathlon.training.device import Compute
from decathlon.training.loop import train

TASK = Task("made-up", 2, 2)
NUMBERS = torch.arange(2)


class Stream:
    """A domain without images."""

    task = TASK

    def __init__(self, steps: int) -> None:
        self.steps_per_epoch = steps

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        while True:
            yield Batch(torch.zeros(2, 1), NUMBERS, NUMBERS, 1, progress(start), TASK.domain)
            start += 1


class Told(Method):
    """One parameter a phase, from which each of the phase's steps takes the learning rate."""

    def __init__(self, fractions: Sequence[float]) -> None:
        decay = {"default": 0.0}
        super().__init__(Recipe(epochs=1, momentum=0.0, milestones=(), weight_decay=decay))
        self.fractions = fractions
        self.told: list[int] = []

    def build(self, source: Any, tasks: Sequence[Task]) -> nn.Module:
        return nn.ParameterList(torch.zeros(len(self.fractions), 1).unbind())

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        parameters = list(network.parameters())

        def only(number: int) -> None:
            for index, parameter in enumerate(parameters):
                parameter.requires_grad_(index == number)

        return [
            Phase(fraction, [self.sgd([parameters[number]], tasks)], partial(only, number))
            for number, fraction in enumerate(self.fractions)
        ]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        self.told.append(batch.phase)
        return torch.stack([p.sum() for p in network.parameters()]).sum()


def test_the_phase_told_is_the_one_whose_optimisers_step() -> None:
    fractions = (0.0, 0.1, 0.25, 1.0, 1.0)  # the first and the last have no step
    fabric = Compute("cpu", "32").fabric()
    for steps in (*range(1, 41), *range(41, 201, 13)):
        method = Told(fractions)
        network = method.build(None, [TASK])
        train(method, network, [Stream(steps)], fabric, 0, lambda facts: None)
        taken = [round(-p.item() / method.recipe.lr) for p in network.parameters()]
        assert [method.told.count(phase) for phase in range(len(fractions))] == taken
        assert method.told == sorted(method.told)
        assert len(method.told) == steps
