"""LP-FT: the head alone on the frozen source, then everything."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from decathlon_methods.lp_ft import LPFT
from torch import Tensor, nn

from decathlon.method.base import Method, Task
from decathlon.method.recipe import apply
from decathlon.models.weights import Source
from decathlon.testing import OneBatch
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute
from decathlon.training.loop import train

TASK = Task("dtd", 4, 100)
Trained = Callable[[Method, nn.Module, int], nn.Module]


def lp_ft(**settings: object) -> LPFT:
    return LPFT(apply(LPFT.recipes, {"epochs": 1, **settings}, "lp-ft"))


def changed(before: dict[str, Tensor], after: nn.Module) -> set[str]:
    return {n for n, tensor in after.state_dict().items() if not torch.equal(tensor, before[n])}


@pytest.mark.parametrize("bn", ["batch", "source"])
def test_phase_one_changes_the_head_alone_and_phase_two_everything(
    bn: str, source: Source, trained: Trained
) -> None:
    states = {}
    for probe in (1.0, 0.5):
        # At the paper's rate, random weights that no batch's statistics keep in bounds diverge.
        method = lp_ft(probe=probe, bn=bn, lr=0.005)
        network = method.build(source, [TASK])
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        states[probe] = changed(before, trained(method, network, 6))
    assert states[1.0] == {"head.weight", "head.bias"}
    parameters = {name for name, _ in source.network().named_parameters()}
    assert parameters <= states[0.5]
    assert any("running" in name for name in states[0.5]) == (bn == "batch")


def test_phase_one_begins_again_where_a_training_resumes(source: Source, tmp_path: Path) -> None:
    method, fabric = lp_ft(probe=0.7), Compute("cpu", "32").fabric()

    def network() -> nn.Module:
        torch.manual_seed(0)
        return method.build(source, [TASK])

    def report(facts: object) -> None:
        pass

    streams = [OneBatch(TASK, 6)]
    for every in (3, 5):
        kept = Checkpoints(tmp_path / str(every), {}, 3600, every)
        whole = train(method, network(), streams, fabric, 0, report, kept).state_dict()
        resume = kept.latest()
        assert resume is not None
        again = train(method, network(), streams, fabric, 0, report, None, resume).state_dict()
        assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_everything_is_the_domains(source: Source, trained: Trained) -> None:
    for probe in (0.0, 0.5, 1.0):
        method = lp_ft(probe=probe)
        final = trained(method, method.build(source, [TASK]), 2)
        assert {stored.place for stored in method.stored(final)} == {"domain", "head"}
