"""Methods with residual adapters: what is kept, drawn and trained, and with which decay."""

from pathlib import Path

import pytest
import torch

from decathlon.common.errors import DataError
from decathlon.method.base import Method, Task
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.testing import made_up_source

TASK = Task("dtd", 4, 100)


def method(name: str, **settings: object) -> Method:
    kind = find(name)
    return kind(apply(kind.recipes, settings, name))


def decays(name: str, source: Source, domain: str, **settings: object) -> dict[str, float]:
    """Weight decay by parameter, as the groups of the one phase say."""
    chosen, task = method(name, **settings), Task(domain, 4, 100)
    network = chosen.build(source, [task])
    (phase,) = chosen.phases(network, [task])
    by_parameter = {id(p): g.weight_decay for g in phase.groups for p in g.parameters}
    return {n: by_parameter[id(p)] for n, p in network.named_parameters() if id(p) in by_parameter}


@pytest.mark.parametrize("name", ["series-adapters", "parallel-adapters"])
def test_adapters_norms_and_head_learn_and_nothing_else(name: str, source: Source) -> None:
    network = method(name).build(source, [TASK])
    learnt = {n for n, p in network.named_parameters() if p.requires_grad}
    state = source.network().state_dict()
    frozen = {n for n, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, t in state.items() if t.ndim == 4}
    assert all(torch.equal(network.state_dict()[n], state[n]) for n in frozen)
    assert {"stem.conv.adapter.conv.weight", "stem.bn.weight", "head.bias"} <= learnt


def test_a_source_with_adapters_gives_its_norms_but_not_its_adapters(
    adapted_source: Source,
) -> None:
    before = adapted_source.network().state_dict()
    after = method("series-adapters").build(adapted_source, [TASK]).state_dict()
    assert before.keys() == after.keys()
    for name in before:
        if name.endswith("adapter.conv.weight"):
            assert not torch.equal(before[name], after[name])
        elif not name.startswith("head."):
            assert torch.equal(before[name], after[name]), name


def test_a_plain_source_gives_its_norms_and_those_of_new_adapters_are_new(source: Source) -> None:
    """``train_new_task_adapters.py``, lines 114-128: normalisations before W are not copied."""
    before = source.network().state_dict()
    after = method("series-adapters").build(source, [TASK]).state_dict()
    for name, tensor in after.items():
        if name.startswith("head.") or name.endswith("adapter.conv.weight"):
            continue
        if ".adapter.bn." not in name:
            assert torch.equal(tensor, before[name]), name
        elif not name.endswith("tracked"):
            new = 1.0 if name.endswith(("weight", "var")) else 0.0
            assert (tensor == new).all(), name
    # W is drawn like all convolutions (models.py, lines 110-113): from N(0, 2 / C_out), not 0.
    drawn = after["macros.2.3.branch.conv2.adapter.conv.weight"]
    assert drawn.std().item() == pytest.approx((2 / len(drawn)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", ["series-adapters", "dan", "piggyback"])
def test_a_source_with_other_adapters_is_refused(name: str, tmp_path: Path) -> None:
    other = made_up_source(tmp_path, Architecture(width=0.25, adapters="parallel"))
    with pytest.raises(DataError, match="has parallel adapters"):
        method(name).build(other, [TASK])


@pytest.mark.parametrize("name", ["series-adapters", "parallel-adapters"])
def test_paper_gives_norms_and_head_the_decay_that_was_meant(name: str, source: Source) -> None:
    for parameter, decay in decays(name, source, "dtd").items():
        assert decay == (1e-4 if parameter.endswith("conv.weight") else 5e-4), parameter


def test_released_series_adapters_leak_all_but_the_first_norm(source: Source) -> None:
    found = decays("series-adapters", source, "dtd", protocol="released")
    meant = {name for name, decay in found.items() if decay == 5e-4}
    assert meant == {"stem.conv.adapter.bn.weight", "stem.conv.adapter.bn.bias"}
    assert set(found.values()) == {1e-4, 5e-4}


def test_released_parallel_adapters_leak_everything(source: Source) -> None:
    found = decays("parallel-adapters", source, "dtd", protocol="released")
    assert set(found.values()) == {1e-4}


@pytest.mark.parametrize(("domain", "decay"), [("cifar100", 1e-4), ("ucf101", 5e-4), ("dtd", 2e-3)])
def test_decay_variant_decays_by_size(source: Source, domain: str, decay: float) -> None:
    assert set(decays("series-adapters-decay", source, domain).values()) == {decay}


def test_each_setting_of_the_rest_can_be_changed(source: Source) -> None:
    found = decays("series-adapters", source, "dtd", rest_weight_decay=0.25)
    assert found["head.weight"] == 0.25
    assert found["stem.conv.adapter.conv.weight"] == 1e-4


@pytest.mark.parametrize(
    ("name", "adapters"),
    [
        ("series-adapters", "series"),
        ("series-adapters-large", "series"),
        ("scratch-plus", "series"),
        ("parallel-adapters", "none"),
        ("fine-tuning", "none"),
    ],
)
def test_methods_name_the_source_they_want(name: str, adapters: str) -> None:
    assert method(name).pretraining(0.5) == Architecture(width=0.5, adapters=adapters)


def test_scratch_plus_takes_width_only(adapted_source: Source, source: Source) -> None:
    for given in (adapted_source, source):
        network = method("scratch-plus").build(given, [TASK])
        assert all(p.requires_grad for p in network.parameters())
        assert network.stem.conv.adapter.conv.weight.shape == (8, 8, 1, 1)
        old = given.network().get_parameter("stem.conv.weight")
        assert not torch.equal(network.get_parameter("stem.conv.weight"), old)


def test_bn_adapt_freezes_convolutions_and_keeps_the_norms(source: Source) -> None:
    network = method("bn-adapt").build(source, [TASK])
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.ndim != 4)
        if not name.startswith("head."):
            assert torch.equal(parameter, source.network().get_parameter(name))
