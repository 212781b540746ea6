"""How long trials take, from steps that are measured on this machine.

The training loop itself takes a few steps: a miniature of the whole training, each phase
in proportion, on real images. What that takes an image is multiplied by the images there
are. On a CPU two sizes of small batches tell what a step takes and what an image takes; on
other devices batches are as large as they will be.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from decathlon.data.reading.batches import Int64
from decathlon.method.base import Batch, Method
from decathlon.running.plan import Run, Trial
from decathlon.running.survey import Work
from decathlon.running.trial import build
from decathlon.training.evaluation import BATCH_SIZE, evaluate
from decathlon.training.feed import Feed, task_of
from decathlon.training.loop import train

STEPS = 8
"""Steps of a miniature; the first, which is slower, counts as the second does."""
SECONDS = 1.0
"""Aimed at for the steps of the larger miniature on a CPU."""
SMALLEST = 2
"""Images in the batches of the smaller one."""
KEPT = 16
"""Images that a network which is not trained is tried on, on a CPU."""
RATE = 1e-4
"""Learning rate of a miniature: time does not depend on it, and small batches bear no large one."""


@dataclass(frozen=True)
class Pace:
    """What one image takes.

    Attributes:
        train: Seconds in training; 0 where nothing is trained.
        evaluate: Seconds in evaluation.
    """

    train: float
    evaluate: float


class Estimates:
    """Estimates of trials; each method is measured once for each size of its images."""

    def __init__(self) -> None:
        self._paces: dict[Any, Pace | Exception] = {}

    def seconds(self, work: Work) -> float | None:
        """Returns the time a trial will still take; None where it cannot be measured."""
        pace = self.pace(work.run, work.trial)
        if isinstance(pace, Exception):
            return None
        left = 1 - work.epoch / work.run.method.recipe.epochs
        trained = left * num_trained(work.run, work.trial) * pace.train
        return trained + num_evaluated(work.run, work.trial) * pace.evaluate

    def pace(self, run: Run, trial: Trial) -> Pace | Exception:
        """Returns what an image takes, or what went wrong when that was measured."""
        key = _geometry(run, trial)
        if key not in self._paces:
            try:
                self._paces[key] = _measure(run, trial)
            except Exception as error:  # noqa: BLE001 - the trial itself will say it
                self._paces[key] = error.with_traceback(None)
        return self._paces[key]


def num_trained(run: Run, trial: Trial) -> float:
    """Counts the images that a trial trains on, over all epochs."""
    if trial.kept:
        return 0
    recipe = run.method.recipe
    counts = [
        sum(run.store.domains[domain].splits[split].num_images for split in run.trained_on(domain))
        for domain in trial.domains
    ]
    steps = [-(-count // recipe.batch_size) for count in counts]
    taken = min(sum(steps), recipe.steps_per_epoch or sum(steps))
    # Domains that are trained jointly take turns, whatever their sizes.
    per_step = sum(c / s for c, s in zip(counts, steps, strict=True)) / len(counts)
    return recipe.epochs * taken * per_step


def num_evaluated(run: Run, trial: Trial) -> int:
    """Counts the images that a trial is evaluated on."""
    return sum(run.store.domains[d].splits[trial.split].num_images for d in trial.domains)


def _geometry(run: Run, trial: Trial) -> tuple[Any, ...]:
    """Returns what trials have in common that take the same time an image."""
    method = Method() if trial.kept else run.method
    tasks = [task_of(run.store, domain, (trial.split,)) for domain in trial.domains]
    views = [(method.view(t, training=True), method.view(t, training=False)) for t in tasks]
    # Whole images have sizes of their own in each domain.
    whole = [d for d, pair in zip(trial.domains, views, strict=True) if None in _crops(pair)]
    what = run.source.sha256 if trial.kept else run.name
    return (what, trial.kept, *sorted(map(str, views)), *whole)


def _crops(views: Any) -> list[int | None]:
    return [view.crop for view in views]


def _measure(run: Run, trial: Trial) -> Pace:
    fabric = run.compute.fabric()
    on_cpu = fabric.device.type == "cpu"
    if trial.kept:
        size = KEPT if on_cpu else BATCH_SIZE
        return Pace(0.0, _evaluation(run, trial, Method(), run.source.network(), fabric, size))
    full = size = run.method.recipe.batch_size
    few = None
    if on_cpu:
        _, few = _training(run, trial, fabric, SMALLEST, STEPS // 2)
        fitting = round(SECONDS / STEPS / few.seconds * few.images)
        size = min(full, max(2 * SMALLEST, fitting))
    network, many = _training(run, trial, fabric, size, STEPS)
    evaluation = _evaluation(run, trial, run.method, network, fabric, 2 * size)
    return Pace(_seconds_an_image(few, many, full), evaluation)


@dataclass(frozen=True)
class _Step:
    """What a miniature's steps took on average.

    Attributes:
        images: Images in a batch.
        seconds: Time of a step.
    """

    images: float
    seconds: float


def _seconds_an_image(few: _Step | None, many: _Step, batch_size: int) -> float:
    """Returns what an image takes in full batches, after steps with few and with more images.

    A step takes a time of its own, whatever the batch, and a time for each image.
    """
    whole = many.seconds / many.images
    if few is None or many.images <= few.images:
        return whole
    slope = (many.seconds - few.seconds) / (many.images - few.images)
    # Other work on the machine may have slowed one of the two.
    slope = min(max(slope, whole / 2), whole)
    return slope + (many.seconds - slope * many.images) / batch_size


def _training(
    run: Run, trial: Trial, fabric: Fabric, size: int, steps: int
) -> tuple[nn.Module, _Step]:
    """Trains a miniature."""
    method = type(run.method)(replace(run.method.recipe, epochs=steps, lr=RATE))
    feeds = []
    for domain in trial.domains:
        splits = run.trained_on(domain)
        view = method.view(task_of(run.store, domain, splits), training=True)
        feeds.append(Feed(run.store, domain, splits, view, size, trial.seed, fabric.device))
    network = build(run, trial, [feed.task for feed in feeds])
    took: list[dict[str, Any]] = []
    # One step is called an epoch, since the loop tells what an epoch took.
    streams = [_Stream(feed, int(feed is feeds[0])) for feed in feeds]
    network = train(method, network, streams, fabric, trial.seed, took.append)
    took[0] = took[1]
    seconds = sum(step["seconds"] for step in took) / steps
    images = sum(step["seconds"] * step["images_per_s"] for step in took) / steps
    return network, _Step(images, seconds)


def _evaluation(
    run: Run, trial: Trial, method: Method, network: nn.Module, fabric: Fabric, size: int
) -> float:
    """Evaluates one batch; returns the seconds an image."""
    domain = trial.domains[0]
    view = method.view(task_of(run.store, domain, (trial.split,)), training=False)
    feed = _FirstBatch(
        run.store, domain, (trial.split,), view, min(size, BATCH_SIZE), trial.seed, fabric.device
    )
    for _ in range(2):  # the first is slower
        began = time.perf_counter()
        evaluate(method, method.part(network, domain), feed, fabric)
    return (time.perf_counter() - began) / min(feed.batches.batch_size, len(feed.images))


class _Stream:
    """A feed with another length of an epoch."""

    def __init__(self, feed: Feed, steps_per_epoch: int) -> None:
        self.feed, self.task, self.steps_per_epoch = feed, feed.task, steps_per_epoch

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        return self.feed.training(start, progress)


class _FirstBatch(Feed):
    """A feed whose evaluation ends with the first batch."""

    def evaluation(self, batch_size: int) -> Iterator[tuple[Int64, Batch]]:
        return islice(super().evaluation(self.batches.batch_size), 1)
