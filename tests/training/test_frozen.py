"""``run --cache-frozen``: the frozen beginning is computed once a crop; nothing else changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import UsageError
from decathlon.data.reading.store import open_store
from decathlon.method.base import Batch, Method
from decathlon.method.recipe import apply
from decathlon.method.registry import find
from decathlon.models.layers import unfreeze
from decathlon.models.weights import Source, read_source
from decathlon.results.records import find_records, read_record
from decathlon.running.config import RunConfig
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.suites.base import View
from decathlon.training import frozen
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute
from decathlon.training.feed import Feed
from decathlon.training.frozen import FrozenBeginning
from decathlon.training.loop import train

VIEW = View(48, random=True, flip=True)
CACHED = [
    ("fine-tuning", {"fixed": 1}, 5),
    ("lp-ft", {"fixed": 0}, 1),
    ("l2-sp", {"fixed": 2}, 9),
    ("last-1", {}, 12),
    ("stochastic-fine-tuning", {"fixed": 1, "per": "step"}, 5),
    ("surgical", {"stage": 2}, 5),
    ("feature-extractor", {}, 14),
    ("spottune", {}, 5),
    ("random-policy", {}, 5),
    ("spottune-global-k", {"fixed": 0}, 1),
]
"""Methods, their settings, and how many layers of ResNet-26 they leave frozen at the beginning."""


@pytest.fixture(scope="module")
def source(tiny_source: Path) -> Source:
    return read_source(tiny_source)


def method(name: str, **settings: object) -> Method:
    kind = find(name)
    return kind(apply(kind.recipes, {"epochs": 3, "crops": 2, **settings}, name))


def feed(data: Path, crops: int | None = 2, view: View = VIEW) -> Feed:
    cpu = torch.device("cpu")
    return Feed(open_store(data), "dtd", ("train",), view, 8, 0, cpu, crops=crops)


class Counter:
    """Counts the images that a layer computes."""

    def __init__(self, layer: nn.Module) -> None:
        self.images, computed = 0, type(layer).forward

        def forward(own: nn.Module, x: Tensor) -> Tensor:
            self.images += len(x)
            out: Tensor = computed(own, x)
            return out

        kind = type(layer)
        layer.__class__ = type(kind.__name__, (kind,), {**vars(kind), "forward": forward})


def trained(
    one: Method, source: Source, data: Path, cached: bool, **options: Any
) -> tuple[dict[str, Tensor], list[float], int]:
    """Trains; returns the final tensors, the losses and how many images the stem computed."""
    images = feed(data)
    torch.manual_seed(0)
    network = one.build(source, [images.task])
    counter = Counter(network.get_submodule("stem"))
    beginning = FrozenBeginning(one, network, images) if cached else None
    losses: list[float] = []
    fabric = Compute("cpu", "32").fabric()
    final = train(
        one, network, [images], fabric, 0, lambda facts: losses.append(facts["loss"]),
        beginning=beginning, **options,
    )  # fmt: skip
    assert not any("forward" in vars(layer) for layer in final.modules())
    return final.state_dict(), losses, counter.images


@pytest.mark.parametrize(("name", "settings", "layers"), CACHED)
def test_training_is_the_same_and_the_beginning_computed_once_a_crop(
    name: str, settings: dict[str, Any], layers: int, source: Source, tiny: Path
) -> None:
    one = method(name, **settings)
    images = len(feed(tiny).images)
    network = one.build(source, [feed(tiny).task])
    assert len(FrozenBeginning(one, network, feed(tiny)).layers) == layers
    plain, losses, computed = trained(one, source, tiny, cached=False)
    same, again, once = trained(one, source, tiny, cached=True)
    assert (computed, once) == (3 * images, 2 * images)
    torch.testing.assert_close(again, losses, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fine-tuning", {}),
        ("lwf", {"fixed": 1}),
        ("progressive-nets", {"fixed": 1}),
        ("scratch", {}),
    ],
)
def test_networks_without_a_frozen_beginning_train_as_before(
    name: str, settings: dict[str, Any], source: Source, tiny: Path
) -> None:
    one = method(name, **settings)
    network = one.build(source, [feed(tiny).task])
    assert not FrozenBeginning(one, network, feed(tiny)).layers


def test_images_that_batches_cut_to_other_sizes_are_not_kept(source: Source, tiny: Path) -> None:
    one, whole = method("feature-extractor"), feed(tiny, view=View(None))
    assert not whole.batches.one_size
    assert not FrozenBeginning(one, one.build(source, [whole.task]), whole).layers


def batch_of(images: Feed) -> Batch:
    return next(images.training(0, lambda step: 0.0))


def test_only_the_images_of_the_batch_are_known(source: Source, tiny: Path) -> None:
    one, images = method("fine-tuning", fixed=1), feed(tiny)
    network = one.build(source, [images.task]).train()
    beginning, batch = FrozenBeginning(one, network, images), batch_of(images)
    others = torch.flip(batch.images, [3])
    stem = network.get_submodule("stem")
    expected = stem(others)
    counter = Counter(stem)
    with beginning.known(batch):
        assert torch.equal(stem(others), expected)
        assert counter.images == len(images.images) + len(others)
        features = stem(batch.images)
        assert features.shape[2] < expected.shape[2]
    assert torch.equal(stem(others), expected)
    assert stem(batch.images).shape == expected.shape


def test_layers_that_begin_to_learn_are_computed_again(source: Source, tiny: Path) -> None:
    one, images = method("fine-tuning", fixed=1), feed(tiny)
    network = one.build(source, [images.task]).train()
    beginning, batch = FrozenBeginning(one, network, images), batch_of(images)
    unfreeze(network.get_submodule("macros.0.0"))
    with beginning.known(batch):
        one.loss(network, batch).backward()
    assert network.get_parameter("macros.0.0.branch.conv1.weight").grad is not None


@pytest.mark.parametrize("name", ["fine-tuning", "spottune"])
def test_a_resumed_training_ends_bit_by_bit_as_an_uninterrupted_one(
    name: str, source: Source, tiny: Path, tmp_path: Path
) -> None:
    one = method(name, fixed=1)
    checkpoints = Checkpoints(tmp_path, {}, 3600, 1)
    steps = feed(tiny).steps_per_epoch
    whole, *_ = trained(one, source, tiny, cached=True)

    class StopError(Exception):
        pass

    class UntilTheSecondEpoch(Checkpoints):
        def save(self, step: int, *state: Any) -> None:
            super().save(step, *state)
            if step == steps + 2:
                raise StopError

    with pytest.raises(StopError):
        trained(
            one, source, tiny, cached=True, checkpoints=UntilTheSecondEpoch(tmp_path, {}, 3600, 1)
        )
    resume = checkpoints.latest()
    assert resume is not None
    assert resume.step == steps + 2
    rest, *_ = trained(one, source, tiny, cached=True, checkpoints=checkpoints, resume=resume)
    assert all(torch.equal(rest[key], tensor) for key, tensor in whole.items())


def test_too_little_memory_is_said_before_the_first_step(
    source: Source, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "memory", lambda: 10**6)
    one = method("fine-tuning", fixed=0)
    with pytest.raises(
        UsageError, match=r"2 crops of \d+ images of dtd take [\d,]+ MB, .* 1 MB at most half"
    ):
        trained(one, source, tiny, cached=True)


def run(
    data: Path, source: Path, results: Path, cached: bool, *settings: str, **changes: Any
) -> None:
    options: dict[str, Any] = {"domains": ("dtd",), "compute": Compute("cpu", "32")}
    config = RunConfig(
        ("fine-tuning",), data, results, (str(source),), cache_frozen=cached,
        settings=("epochs=2", "batch_size=16", *settings), **{**options, **changes},
    )  # fmt: skip
    failures = execute(survey(resolve(config)), lambda event: None)
    assert [failure.reason for failure in failures] == []


def test_the_record_says_nothing_of_it(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    records = []
    for cached in (False, True):
        results = tmp_path / str(cached)
        run(tiny, tiny_source, results, cached, "crops=2", "fixed=1")
        (path,) = find_records(results)
        records.append(read_record(path))
    plain, same = (
        record.model_dump(
            exclude={"timing", "cost", "predictions", "correct", "correctness", "command"}
        )
        for record in records
    )
    assert plain == same
    assert records[0].recipe["crops"] == 2


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ((), {}, r"--cache-frozen: images need .* add --set crops=N"),
        (("crops=2",), {"compute": Compute("cpu", "32", compiled=True)}, "--compile .* leave one"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    settings: Sequence[str], changes: dict[str, Any], message: str,
    tiny: Path, tiny_source: Path, tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(UsageError, match=message):
        run(tiny, tiny_source, tmp_path, True, *settings, **changes)


def test_several_processes_are_refused(
    tiny: Path, tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in together.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="--cache-frozen works in one process, and there are 2"):
        run(tiny, tiny_source, tmp_path, True, "crops=2")
