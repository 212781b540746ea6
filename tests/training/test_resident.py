"""Images that stay on the device, and steps that do not wait for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from decathlon.data.reading.batches import Batches
from decathlon.data.reading.store import open_store
from decathlon.method.base import Method
from decathlon.method.registry import find
from decathlon.models.weights import read_source
from decathlon.suites.base import View
from decathlon.suites.visual_decathlon import AUGMENTED, UPRIGHT
from decathlon.training.device import Compute, to_device
from decathlon.training.feed import Feed, Normaliser
from decathlon.training.loop import Objective
from decathlon.training.optimisers import Optimisers
from decathlon.training.resident import Resident, fits, resized_from

CPU = torch.device("cpu")
VIEWS = [AUGMENTED.train, UPRIGHT.train, View(90, random=True, flip=True), View(None)]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("domain", ["aircraft", "daimlerpedcls"])
def test_batches_are_those_of_the_memory_map(tiny: Path, view: View, domain: str) -> None:
    images = open_store(tiny).images(domain, ["train", "val"])
    batches = Batches(images, view, 7, domain=domain, seed=0)
    resident = Resident(images, CPU)
    cuts = [*batches.cuts(1), *batches.cuts_in_order(5)]
    assert len(cuts) > 4
    for cut in cuts:
        np.testing.assert_array_equal(resident.gather(cut).numpy(), batches.gather(cut))


RESIZED = [
    View(40, random=True, flip=True, scale=(0.2, 1.0)),
    View(100, flip=True, scale=(0.5, 1.0)),
    View(17, flip=True, box=True),
]


@pytest.mark.parametrize("view", RESIZED)
def test_resizing_on_the_device_is_that_on_the_cpu(tiny: Path, view: View) -> None:
    """Up to rounding: the device sums in 32-bit floats, torch's uint8 kernel in 16-bit integers."""
    images = open_store(tiny).images("aircraft", ["train", "val"])
    rng = np.random.default_rng(0)
    images.boxes = (rng.random((len(images), 4), np.float32) * [30, 30, 30, 40]).astype(np.float32)
    batches = Batches(images, view, 7, domain="aircraft", seed=0)
    resident = Resident(images, CPU)
    cuts = [*batches.cuts(1), *batches.cuts_in_order(5)]
    for cut in cuts:
        expected = batches.gather(cut).astype(int)
        with NoWaiting():
            found = [resident.gather(cut)]
            if cut.extent is not None:
                found.append(resized_from(batches.packed(cut), cut, CPU))
        assert torch.equal(found[0], found[-1])
        difference = np.abs(found[0].numpy().astype(int) - expected)
        assert difference.max() <= 1
        assert difference.mean() < 0.3


@pytest.mark.parametrize("view", RESIZED)
def test_resizing_is_the_same_under_autocast(tiny: Path, view: View) -> None:
    """Evaluation reads its batches under autocast, training does not."""
    images = open_store(tiny).images("aircraft", ["train", "val"])
    images.boxes = np.tile(np.array([[3, 5, 40, 50]], np.float32), (len(images), 1))
    batches = Batches(images, view, 7, domain="aircraft", seed=0)
    resident = Resident(images, CPU)
    for cut in batches.cuts(1):
        assert cut.extent is not None
        expected = resident.gather(cut)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(resident.gather(cut), expected)
            assert torch.equal(resized_from(batches.packed(cut), cut, CPU), expected)


def test_a_resident_subset_has_its_own_images(tiny: Path) -> None:
    whole = open_store(tiny).images("dtd", ["train"])
    some = whole.subset(np.array([5, 0, 3]))
    (cut,) = Batches(some, View(64), 3, domain="dtd", seed=0).cuts_in_order()
    (expected,) = Batches(whole, View(64), len(whole), domain="dtd", seed=0).cuts_in_order()
    expected = Batches(whole, View(64), 8, domain="dtd", seed=0).gather(expected)
    np.testing.assert_array_equal(Resident(some, CPU).gather(cut).numpy(), expected[[5, 0, 3]])


def test_pixels_are_normalised_by_channel() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(6).view(2, 16, 16, 3)
    mean, std = (0.5, 0.25, 0.4), (0.2, 0.3, 0.1)
    found = Normaliser(mean, std, CPU)(pixels)
    scale = torch.tensor([1 / (255 * s) for s in std])
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])
    assert torch.equal(found, (pixels.to(torch.float32) * scale + shift).permute(0, 3, 1, 2))
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_feeds_give_the_same_either_way(tiny: Path) -> None:
    store = open_store(tiny)
    streams = [
        Feed(store, "dtd", ("train",), AUGMENTED.train, 8, 0, CPU, resident=resident).training(
            0, lambda step: 0.5
        )
        for resident in (False, True)
    ]
    for one, two, _ in zip(*streams, range(6), strict=False):
        assert torch.equal(one.images, two.images)
        assert one.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.ids, two.ids)


def test_only_gpus_with_room_keep_images(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_store(tiny).images("dtd", ["train"])
    size = sum(len(pixels) for pixels in images.maps)
    assert not fits(images, CPU)
    for free, worth in ((4 * size, True), (4 * size - 4, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 0))
        assert fits(images, torch.device("cuda")) == worth


class NoWaiting(TorchDispatchMode):
    """Refuses what a GPU would have to be waited for."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "item", "equal", "unique")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        assert not name.startswith(self.waits), f"a step waits for the device: {name}"
        return func(*args, **(kwargs or {}))


def methods() -> Iterator[str]:
    from decathlon.method.registry import registered

    ours = "decathlon_methods."
    yield from (name for name, point in registered().items() if point.module.startswith(ours))


@pytest.mark.parametrize("name", list(methods()))
def test_no_step_of_training_waits_for_the_device(
    tiny: Path, tiny_source: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decathlon_methods.spottune.paths.knows_rows", lambda x: False)
    store = open_store(tiny)
    method: Method = find(name)()
    view = AUGMENTED.train
    feed = Feed(store, "dtd", ("train",), view, 8, 0, CPU, resident=True)
    network = method.build(read_source(tiny_source), [feed.task])
    to_device(network, CPU)
    fabric = Compute("cpu", "32").fabric()
    objective = fabric.setup_module(Objective(method, network))
    batches = feed.training(0, lambda step: 0.5)
    for phase in method.phases(network, [feed.task]):
        if phase.begin is not None:
            phase.begin()
        optimisers = Optimisers(phase, fabric)
        network.train()
        for _ in range(2):
            with NoWaiting():
                loss = objective(next(batches))
                fabric.backward(loss)
                if all(group.optimiser == "sgd" for group in optimisers.groups):
                    optimisers.step()  # Adam's steps are counted on the CPU
