"""Surgical fine-tuning: one stage and the head move, all else stays the source's."""

from collections.abc import Callable

import pytest
import torch
from decathlon_methods.surgical import Surgical
from torch import nn

from decathlon.common.errors import UsageError
from decathlon.method.base import Method, Task
from decathlon.method.recipe import apply
from decathlon.models.weights import Source

TASK = Task("dtd", 4, 100)


def surgical(**settings: object) -> Surgical:
    return Surgical(apply(Surgical.recipes, {"epochs": 1, "lr": 0.005, **settings}, "surgical"))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({}, {"stem", "macros.0"}),
        ({"fixed": 0}, {"macros.0"}),
        ({"stage": 2, "fixed": 1}, {"macros.1"}),
        ({"stage": 3, "bn": "source"}, {"macros.2"}),
    ],
)
def test_one_stage_and_the_head_are_trained(
    settings: dict[str, object],
    parts: set[str],
    source: Source,
    trained: Callable[[Method, nn.Module, int], nn.Module],
) -> None:
    method = surgical(**settings)
    before = source.network().state_dict()
    after = trained(method, method.build(source, [TASK]), 3).state_dict()
    trunk = {name for name in before if not name.startswith("head.")}
    moved = {name for name in trunk if not torch.equal(after[name], before[name])}
    meant = {name for name in trunk if name.startswith(tuple(f"{part}." for part in parts))}
    statistics = {name for name in meant if "running" in name or "num_batches" in name}
    assert moved == (meant - statistics if settings.get("bn") == "source" else meant)
    assert after["head.weight"].shape[0] == 4


@pytest.mark.parametrize("settings", [{"stage": 4}, {"stage": 1, "fixed": 1}])
def test_a_stage_that_is_not_there_or_fixed_is_refused(
    settings: dict[str, object], source: Source
) -> None:
    with pytest.raises(UsageError, match=r"stage=\d: the network has 3 stages .* choose one from"):
        surgical(**settings).build(source, [TASK])
