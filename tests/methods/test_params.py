"""#par of each method at width 1, counted from what it stores, is the computed one.

The expected values follow from the sizes of ResNet-26: 5,814,688 parameters without head, of
which 7,744 are of batch normalisations and 5,806,944 are weights of convolutions; series
adapters have 696,384, parallel ones 645,216, all C_out x C_out controllers 689,152.
"""

from pathlib import Path

import pytest

from decathlon.method.base import Method, Task
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.method.stored import count_parameters
from decathlon.models.adapters import Kind
from decathlon.models.networks import Architecture
from decathlon.models.weights import Source
from decathlon.results.parameters import params_ratio
from decathlon.results.records import RunRecord
from decathlon.suites.visual_decathlon import SUITE

NET = 5_814_688
BN = 7_744
TASK = Task("dtd", 47, 1880)


def ratio(name: str, settings: dict[str, object], source: Source) -> float:
    kind = find(name)
    method: Method = kind(apply(kind.recipes, settings, name))
    network = method.finalise(method.build(source, [TASK]))
    parameters = count_parameters(method, method.part(network, "dtd"), source)
    record = RunRecord(
        name=name,
        method=name,
        domain="dtd",
        split="test",
        seed=0,
        trained_on="train+val",
        trained=True,
        source_domain=method.source_domain,
        official=True,
        num_classes=47,
        correct=None,
        total=None,
        correctness=None,
        parameters=parameters,
        recipe={},
        threads=1,
        data={},
        source=None,
        network=None,
        code=None,
        predictions=None,
        environment={},
        timing={},
    )
    found = params_ratio([record], SUITE)
    assert found is not None
    return found[0]


def plain(width: float = 1.0, adapters: Kind = "none") -> Source:
    return Source(Architecture(width=width, adapters=adapters), 1000, path=Path("source"))


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("scratch", {}, 10.0),
        ("scratch-plus", {}, 11.1),
        ("feature-extractor", {}, 1.0),
        ("fine-tuning", {}, 10.0),
        ("bn-adapt", {}, 1.012),
        ("lwf", {}, 10.0),
        ("series-adapters", {}, 2.09),
        ("parallel-adapters", {}, 2.01),
        ("series-adapters-decay", {}, 2.09),
        ("dan", {}, 2.07),
        ("piggyback", {}, 1.281),
        ("spottune", {}, 11.38),
        ("spottune", {"protocol": "released"}, 11.82),
    ],
)
def test_ratio_is_the_computed_one(name: str, settings: dict[str, object], expected: float) -> None:
    assert ratio(name, settings, plain()) == pytest.approx(expected, rel=0.02)


def test_series_adapters_on_an_adapted_source_are_ten_sets() -> None:
    expected = 1 + (10 * 696_384 + 9 * BN) / NET
    assert ratio("series-adapters", {}, plain(adapters="series")) == pytest.approx(expected)


def test_jointly_trained_convolutions_are_counted_once() -> None:
    expected = (NET - BN + 10 * (696_384 + BN)) / NET
    assert ratio("series-adapters-finetune-all", {}, plain()) == pytest.approx(expected)


def test_large_networks_are_counted_in_units_of_their_width_or_of_a_given_one() -> None:
    wide = plain(1.2)
    own = ratio("series-adapters-large", {}, wide)
    assert own == pytest.approx(2.09, rel=0.02)
    assert ratio("series-adapters-large", {"unit_width": 0.5}, wide) == pytest.approx(12, rel=0.03)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_global_k_counts_k_blocks(k: int) -> None:
    sizes = [221_696, *[295_424] * 3, 885_760, *[1_180_672] * 3]
    least, most = sum(sorted(sizes)[:k]), sum(sorted(sizes)[-k:])
    tail = 2 * 256
    found = ratio("spottune-global-k", {"k": k}, plain())
    own = (found - 1) * NET / 9
    assert least + tail - 1 <= own <= most + tail + 1
