"""The settings of pretrain: rates, smoothed labels, mixed images. Defaults change nothing."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from decathlon.common.errors import UsageError
from decathlon.data.reading.store import open_store
from decathlon.method.base import Group, Method
from decathlon.method.recipe import Recipe, apply, parse_settings
from decathlon.models.weights import read_weights
from decathlon.running.config import Checkpointing
from decathlon.running.pretraining import Pretraining, pretrain
from decathlon.running.source_training import RECIPE, SourceRecipe, SourceTraining
from decathlon.testing import OneBatch, Task
from decathlon.training.device import Compute
from decathlon.training.loop import Schedule

TASK = Task("made-up", 5, 16)
BATCH = OneBatch(TASK, 1).batch


class StoppedError(Exception):
    """Ends a training as a kill would."""


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(BATCH.images[0].numel(), TASK.num_classes))


def source(data: Path, out: Path, stop: bool = False, **settings: Any) -> dict[str, Any]:
    """Pretrains, and returns the header of what was written."""

    def report(facts: dict[str, Any]) -> None:
        if stop and facts["epoch"] == 2:
            raise StoppedError

    recipe = replace(SourceRecipe(epochs=3, batch_size=16), **settings)
    when = Checkpointing(seconds=0 if stop else 3600)
    compute = Compute("cpu", "32")
    store = open_store(data)
    config = Pretraining(store, out, recipe=recipe, width=0.1, compute=compute, checkpointing=when)
    pretrain(config, report)
    return read_weights(out)[0]


def test_a_cosine_with_mixup_resumes_exactly(tiny: Path, tmp_path: Path) -> None:
    settings = {"schedule": "cosine", "warm_up": 0.2, "label_smoothing": 0.1, "mixup": 0.4}
    whole, broken, plain = (tmp_path / f"{n}.safetensors" for n in ("whole", "broken", "plain"))
    header = source(tiny, whole, **settings)
    assert {name: header["recipe"][name] for name in settings} == settings
    with pytest.raises(StoppedError):
        source(tiny, broken, stop=True, **settings)
    assert not broken.exists()
    source(tiny, broken, **settings)
    assert broken.read_bytes() == whole.read_bytes()
    source(tiny, plain, **{**settings, "mixup": 0.0})
    mixed, unmixed = (read_weights(path)[1]["head.weight"] for path in (whole, plain))
    assert not torch.equal(mixed, unmixed)


def test_defaults_add_no_keys_and_change_no_numbers(tiny: Path, tmp_path: Path) -> None:
    assert RECIPE.as_json() == Recipe().as_json()
    ours, plain = SourceTraining(RECIPE), Method(Recipe())
    network = linear()
    assert torch.equal(ours.loss(network, BATCH), plain.loss(network, BATCH))
    groups = [method.sgd(network.parameters(), [TASK]) for method in (ours, plain)]
    rates = [Schedule(120, 1).rate(group, step) for step in range(120) for group in groups]
    assert rates[::2] == rates[1::2]
    header = source(tiny, tmp_path / "x.safetensors", epochs=1)
    assert set(header["recipe"]) == set(Recipe().as_json())


def test_steps_fall_at_milestones_after_warming_up() -> None:
    group = Group([], 0.6, milestones=(0.5, 0.8), gamma=0.1, warm_up=0.2)
    rates = [Schedule(10, 10).rate(group, step) for step in range(10)]
    assert rates == pytest.approx([0.2, 0.4, *[0.6] * 3, *[0.06] * 3, *[0.006] * 2])


def test_a_cosine_starts_at_the_rate_and_ends_near_zero() -> None:
    group = Group([], 0.6, milestones=(0.5,), schedule="cosine")
    schedule = Schedule(12, 4)
    rates = [schedule.rate(group, step) for step in range(12)]
    assert (rates[0], rates[6], rates[4]) == pytest.approx((0.6, 0.3, 0.45))
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.02
    warm = replace(group, warm_up=0.5)
    found = [schedule.rate(warm, step) for step in range(12)]
    assert found[:7] == pytest.approx([0.6 * (step + 1) / 7 for step in range(7)])
    assert found[9] == pytest.approx(0.3)
    whole = [schedule.rate(replace(group, warm_up=1.0), step) for step in range(12)]
    assert whole == sorted(whole)


def test_smoothed_labels_are_those_of_torch() -> None:
    network = linear()
    loss = SourceTraining(SourceRecipe(label_smoothing=0.2)).loss(network, BATCH)
    expected = cross_entropy(network(BATCH.images), BATCH.labels, label_smoothing=0.2)
    assert torch.equal(loss, expected)


def test_mixup_is_a_loss_of_mixed_images_and_mixed_labels() -> None:
    network, seen = linear(), []
    network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    method = SourceTraining(SourceRecipe(mixup=1.0, label_smoothing=0.1))
    loss = method.loss(network, BATCH)
    images, labels = BATCH.images, one_hot(BATCH.labels, TASK.num_classes).float()
    difference = (images - images.flip(0)).flatten()
    weight = float((seen[0] - images.flip(0)).flatten() @ difference / (difference @ difference))
    assert 0 < weight < 1
    torch.testing.assert_close(seen[0], weight * images + (1 - weight) * images.flip(0))
    mixed = weight * labels + (1 - weight) * labels.flip(0)
    expected = cross_entropy(network(seen[0]), mixed, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


def test_how_much_is_mixed_depends_on_seed_and_step_alone() -> None:
    network, method = linear(), SourceTraining(SourceRecipe(mixup=0.2))
    keys = [(key, step) for key in (11, 12) for step in (0, 1, 2)]
    losses = [method.loss(network, replace(BATCH, key=k, step=s)).item() for k, s in keys]
    torch.manual_seed(5)
    again = [method.loss(network, replace(BATCH, key=k, step=s)).item() for k, s in keys]
    assert losses == again
    assert len(set(losses)) == len(losses)
    assert all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("schedule=linear", "'steps' or 'cosine'"),
        ("schedule=1", "'steps' or 'cosine'"),
        ("warm_up=1.5", "less than or equal to 1"),
        ("warm_up=-0.1", "greater than or equal to 0"),
        ("label_smoothing=1", "less than 1"),
        ("mixup=-1", "greater than or equal to 0"),
        ("mixup=1e3", "less than or equal to 100"),
        ("mixup=true", "valid number"),
        ("mix_up=1", "did you mean 'mixup'"),
    ],
)
def test_bad_values_are_refused(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        apply({"paper": RECIPE}, parse_settings([setting]), "pretraining")


def test_the_settings_belong_to_pretrain_only() -> None:
    with pytest.raises(UsageError, match="no setting 'mixup'"):
        apply({"paper": Recipe()}, parse_settings(["mixup=1"]), "method 'fine-tuning'")
