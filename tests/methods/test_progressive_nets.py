"""Progressive nets: step 0 is that of fine-tuning, and the source's column stays."""

from collections.abc import Callable

import torch
from decathlon_methods.fine_tuning import FineTuning
from decathlon_methods.progressive_nets import ProgressiveNets, ProgressiveNetwork
from torch import nn

from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply
from decathlon.models.weights import Source
from decathlon.suites.registry import find

TASK = Task("dtd", 4, 100)


def progressive(**settings: object) -> ProgressiveNets:
    return ProgressiveNets(apply(ProgressiveNets.recipes, {"epochs": 1, **settings}, "it"))


def seeded(method: Method, source: Source) -> nn.Module:
    torch.manual_seed(0)
    return method.build(source, [TASK]).train()


def test_step_0_is_that_of_fine_tuning(source: Source, batch: Batch) -> None:
    network, plain = seeded(progressive(), source), seeded(FineTuning(), source)
    assert torch.equal(network(batch.images), plain(batch.images))
    progressive().loss(network, batch).backward()
    FineTuning().loss(plain, batch).backward()
    for name, parameter in plain.named_parameters():
        assert torch.equal(network.get_parameter(name).grad, parameter.grad), name


def test_the_adapters_learn_from_the_source_which_stays(
    source: Source, trained: Callable[[Method, nn.Module, int], nn.Module], batch: Batch
) -> None:
    method = progressive()
    network = seeded(method, source)
    assert isinstance(network, ProgressiveNetwork)
    trained(method, network, 4)
    start = source.network().state_dict()
    for name, tensor in network.state_dict().items():
        if name.startswith("source_"):
            assert torch.equal(tensor, start[name.removeprefix("source_")]), name
    assert len(network.laterals) == 3
    for lateral in network.laterals:
        assert lateral.get_parameter("scale").item() != 1
        assert lateral.get_parameter("layers.2.weight").any()
    network.eval()
    before = network(batch.images)
    nn.init.zeros_(network.source_stem.get_parameter("conv.weight"))
    assert not torch.allclose(network(batch.images), before)


def test_inner_channels_are_a_fraction_of_the_stage(source: Source) -> None:
    for reduction, inner in ((4, [4, 8, 16]), (16, [1, 2, 4]), (1000, [1, 1, 1])):
        network = progressive(reduction=reduction).build(source, [TASK])
        assert isinstance(network, ProgressiveNetwork)
        shapes = [lateral.get_parameter("layers.0.weight").shape for lateral in network.laterals]
        assert [shape[0] for shape in shapes] == inner


def test_new_layers_learn_at_the_rate_of_the_head(source: Source) -> None:
    method = ProgressiveNets(apply(ProgressiveNets.recipes, {}, "it", find("fine-grained")))
    network = method.build(source, [TASK])
    (phase,) = method.phases(network, [TASK])
    rates = {id(p): group.lr for group in phase.groups for p in group.parameters}
    for name, parameter in network.named_parameters():
        new = name.startswith(("head.", "laterals."))
        expected = None if name.startswith("source_") else 0.01 if new else 0.001
        assert rates.get(id(parameter)) == expected, name
