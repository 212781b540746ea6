"""What the suite prescribes for its domains is what the authors' loaders do."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from decathlon_methods.spottune import SpotTune
from PIL import Image
from torchvision.transforms import v2

from decathlon.data.manifest import read_manifest
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import open_store
from decathlon.method.base import Task
from decathlon.method.recipe import apply
from decathlon.suites.base import View, Views
from decathlon.suites.visual_decathlon import DOMAINS, SPOTTUNE, SUITE
from decathlon.training.feed import Feed
from tests.data.official import Official

STILL = ("gtsrb", "omniglot", "svhn")
"""Domains without random crops and flips in both codes."""


def test_views_are_those_of_the_residual_adapters_loader() -> None:
    """srebuffi/residual_adapters, ``imdbfolder_coco.py``, lines 115-143."""
    for name, domain in DOMAINS.items():
        if name in STILL:
            assert domain.views == Views(View(72), View(72)), name
        else:
            assert domain.views == Views(View(64, random=True, flip=True), View(64)), name


def test_released_views_are_those_of_spottunes_loader() -> None:
    """gyhui14/spottune, ``imdbfolder.py``, lines 108-148."""
    method = SpotTune(apply(SpotTune.recipes, {"protocol": "released"}, "spottune"))
    for name, domain in DOMAINS.items():
        task = Task(name, 2, 10, domain.views, {"spottune": SPOTTUNE.views[name]})
        found = Views(method.view(task, True), method.view(task, False))
        if name == "daimlerpedcls":
            assert found == Views(View(None), View(None))
        elif name in STILL:
            assert found == Views(View(72), View(72)), name
        else:
            assert found == Views(View(64, random=True), View(72)), name


def test_released_decays_are_those_of_spottunes_table() -> None:
    """gyhui14/spottune, ``main.py``, lines 43-53."""
    recipe = apply(SpotTune.recipes, {"protocol": "released"}, "spottune")
    by_decay = {5e-4: "aircraft daimlerpedcls omniglot ucf101", 0.0: "cifar100 dtd gtsrb svhn"}
    by_decay[1e-4] = "vgg-flowers imagenet12"
    wanted = {name: decay for decay, names in by_decay.items() for name in names.split()}
    assert {name: recipe.decay(name) for name in DOMAINS} == wanted


@pytest.fixture
def omniglot(tmp_path: Path) -> Official:
    """A small omniglot, not yet written."""
    made = Official(tmp_path / "archives")
    made.add("omniglot")
    return made


def test_official_images_are_not_inverted_and_have_the_published_statistics(
    omniglot: Official, tmp_path: Path
) -> None:
    """No loader of the authors inverts omniglot: files as they are, less 0.081, over 0.2705."""
    small = replace(DOMAINS["omniglot"], num_classes=3, sizes=(9, 4, 5))
    suite = replace(SUITE, domains={"omniglot": small})
    prepare(omniglot.write(), tmp_path / "data", suite=suite, jobs=0)
    manifest = read_manifest(tmp_path / "data")
    assert manifest is not None
    entry = manifest.domains["omniglot"]
    assert (entry.official, entry.statistics) == (True, "official")
    store = open_store(tmp_path / "data")
    feed = Feed(store, "omniglot", ("train",), small.views.test, 9, 0, torch.device("cpu"))
    ((_, batch),) = feed.evaluation(9)
    as_they_do = v2.Compose(
        [
            v2.CenterCrop(72),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.081] * 3, [0.2705] * 3),
        ]
    )
    files = [Image.fromarray(pixels) for pixels in omniglot.pixels("omniglot", "train")]
    expected = torch.stack([as_they_do(file) for file in files])
    torch.testing.assert_close(batch.images, expected, rtol=1e-4, atol=1e-4)


def test_images_that_are_not_the_official_ones_have_statistics_of_their_own(
    omniglot: Official, tmp_path: Path
) -> None:
    prepare(omniglot.write(), tmp_path / "data", jobs=0)
    manifest = read_manifest(tmp_path / "data")
    assert manifest is not None
    entry = manifest.domains["omniglot"]
    assert (entry.official, entry.statistics) == (False, "computed on train")
    assert entry.mean != DOMAINS["omniglot"].mean
