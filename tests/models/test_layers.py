"""Freezing and exchanging layers."""

import torch
from torch import nn

from decathlon.models.layers import freeze, frozen_names, replace, unfreeze


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))


def test_frozen_batch_norm_ignores_the_loop() -> None:
    network = small()
    freeze(network)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    network.train()
    network(torch.randn(8, 3, 8, 8))
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())


def test_freezing_keeps_names_and_values() -> None:
    network = small()
    network[1].running_mean += 3
    before = {n: t.clone() for n, t in network.state_dict().items()}
    after = freeze(network).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_frozen_names_are_parameters_and_statistics() -> None:
    network = nn.Sequential(freeze(small()), nn.BatchNorm2d(4))
    names = frozen_names(network)
    assert names == {n for n in network.state_dict() if n.startswith("0.")}


def test_unfreezing_lets_statistics_move() -> None:
    network = unfreeze(freeze(small())).train()
    network(torch.randn(8, 3, 8, 8) + 2)
    assert network[1].running_mean.any()
    assert all(p.requires_grad for p in network.parameters())


def test_replace_names_every_layer_and_keeps_it_usable() -> None:
    network, seen = small(), []

    def wrap(name: str, layer: nn.BatchNorm2d) -> nn.Module:
        seen.append(name)
        return nn.Sequential(layer)

    replace(network, nn.BatchNorm2d, wrap)
    assert seen == ["1", "2.0"]
    assert isinstance(network[1], nn.Sequential)
    assert network(torch.randn(2, 3, 8, 8)).shape == (2, 4, 6, 6)
