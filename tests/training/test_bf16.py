"""bf16: chosen where the device has it, refused on processors without it."""

from pathlib import Path

import pytest
import torch
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import nn

from decathlon.common.errors import UsageError
from decathlon.data.reading.store import open_store
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.models.weights import read_source
from decathlon.suites.visual_decathlon import AUGMENTED
from decathlon.training import device
from decathlon.training.device import Compute, has_native_bf16
from decathlon.training.evaluation import evaluate
from decathlon.training.feed import Feed
from decathlon.training.loop import train

CPU = torch.device("cpu")
needs_bf16 = pytest.mark.skipif(
    not has_native_bf16("cpu"), reason="this processor has no bf16 instructions"
)


@needs_bf16
@pytest.mark.parametrize(
    "name", ["fine-tuning", "spottune", "spottune-global-k", "parallel-adapters", "dan", "lwf"]
)
def test_methods_learn_and_predict(tiny: Path, tiny_source: Path, name: str) -> None:
    kind = find(name)
    method = kind(apply(kind.recipes, {"epochs": 1, "batch_size": 8}, name))
    view = AUGMENTED.train
    feed = Feed(open_store(tiny), "dtd", ("train",), view, 8, 0, CPU)
    fabric = Compute("cpu", "bf16").fabric()
    torch.manual_seed(0)
    network = method.build(read_source(tiny_source), [feed.task])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    final = train(method, network, [feed], fabric, 0, lambda facts: None)
    shown = Feed(open_store(tiny), "dtd", ("val",), view, 8, 0, CPU)
    found = evaluate(method, final, shown, fabric)
    assert found.correct is not None
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[key], value) for key, value in before.items())


def able(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), False)


def precision_of(compute: Compute) -> str:
    name: str = compute.numerics(compute.fabric())["precision"]
    return name


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16"])
def test_processors_that_multiply_bf16_use_it(
    monkeypatch: pytest.MonkeyPatch, instructions: str
) -> None:
    able(monkeypatch, "avx512_f", instructions)
    for wanted in ("auto", "bf16"):
        assert type(Compute("cpu", wanted).fabric().strategy.precision) is MixedPrecision
        assert precision_of(Compute("cpu", wanted)) == "bf16-mixed"
    assert precision_of(Compute("cpu", "32")) == "32-true"


def test_other_processors_take_32_bits_and_refuse_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, "avx2", "avx512_f")
    assert precision_of(Compute("cpu", "auto")) == "32-true"
    with pytest.raises(UsageError, match=r"lacks the bf16 .*--precision 32 or --precision auto"):
        Compute("cpu", "bf16").fabric()


def test_processors_take_32_bits_for_grouped_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, "avx512_f", "avx512_bf16")
    plain, depthwise = nn.Conv2d(4, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    for network, wanted, taken in (
        (plain, "auto", MixedPrecision),
        (depthwise, "auto", Precision),
        (depthwise, "bf16", MixedPrecision),
    ):
        fabric = Compute("cpu", wanted).fabric(network)
        assert type(fabric.strategy.precision) is taken


@pytest.mark.parametrize("accelerator", ["cuda", "mps"])
def test_gpus_compute_bf16_when_asked(monkeypatch: pytest.MonkeyPatch, accelerator: str) -> None:
    monkeypatch.setattr(device, "has_native_bf16", lambda accelerator: False)
    assert type(Compute(precision="bf16")._precision(accelerator, None)) is MixedPrecision
