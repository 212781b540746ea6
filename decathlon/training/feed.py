"""From memory-mapped images to batches on the device, for one domain or several."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from decathlon.common.world import ALONE, World
from decathlon.data.keyed import generator
from decathlon.data.reading.batches import Batches, Cut, Int64
from decathlon.data.reading.store import Images, Store
from decathlon.method.base import Batch, Task
from decathlon.models.noise import noise_key
from decathlon.suites.base import View
from decathlon.training.device import Normaliser, send
from decathlon.training.resident import Resident, is_worth_it


class Stream(Protocol):
    """Training batches of one domain, without end.

    Attributes:
        task: The domain.
    """

    task: Task

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the images."""

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        """Yields the batches from the domain's ``start``-th step on."""


def task_of(store: Store, domain: str, splits: Sequence[str]) -> Task:
    """Describes a domain to a method, from the manifest alone.

    Args:
        store: The data.
        domain: A prepared domain.
        splits: Splits that are trained on.
    """
    info, suite = store.domain(domain), store.suite
    return Task(
        domain,
        info.num_classes,
        sum(info.splits[split].num_images for split in splits),
        suite.views_of(domain),
        {name: r.views[domain] for name, r in suite.releases.items() if domain in r.views},
        domain == suite.source,
    )


class Feed:
    """The batches of one domain's split(s), normalised, on a device."""

    def __init__(
        self,
        store: Store,
        domain: str,
        splits: Sequence[str],
        view: View,
        batch_size: int,
        seed: int,
        device: torch.device,
        world: World = ALONE,
        resident: bool | None = None,
    ) -> None:
        """Opens the images.

        Args:
            store: The data.
            domain: The domain.
            splits: Splits, one after the other.
            view: How images are cut.
            batch_size: Images in a training batch, over all processes.
            seed: Seed of order, crops, flips and noise.
            device: Where batches are wanted.
            world: Which of several processes this is.
            resident: Keep all images on the device; None to do so where it is worth it.
        """
        info = store.domains[domain]
        self.domain, self.seed, self.device = domain, seed, device
        self.normalise = Normaliser(info.mean, info.std, device)
        self.images: Images = store.images(domain, splits)
        if resident is None:
            resident = is_worth_it(self.images, device)
        self._resident = Resident(self.images, device) if resident else None
        self.task = task_of(store, domain, splits)
        self.batches = Batches(self.images, view, batch_size, domain=domain, seed=seed, world=world)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the images."""
        return self.batches.steps_per_epoch

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        """Yields the batches from the domain's ``start``-th step on, without end.

        Args:
            start: Steps of this domain that have been taken.
            progress: Gives the fraction of training done at the domain's n-th step.
        """
        steps = self.steps_per_epoch
        while True:
            epoch, first = divmod(start, steps)
            key = noise_key(self.seed, self.domain, "noise", epoch)
            for cut in self.batches.cuts(epoch, first):
                yield self._batch(cut, key, progress(start))
                start += 1

    def evaluation(self, batch_size: int) -> Iterator[tuple[Int64, Batch]]:
        """Yields every image exactly once, in order, centre-cropped; and their positions.

        Of several processes each has some of the batches.
        """
        key = noise_key(self.seed, self.domain, "noise", "evaluation")
        for cut in self.batches.cuts_in_order(batch_size):
            yield cut.index, self._batch(cut, key, 1.0)

    def _batch(self, cut: Cut, key: int, progress: float) -> Batch:
        if self._resident is None:
            pixels = send(self.batches.gather(cut), self.device)
        else:
            pixels = self._resident.gather(cut)
        ids = send(self.images.image_ids[cut.index], self.device)
        labels = send(self.images.labels[cut.index], self.device)
        images = self.normalise(pixels)
        return Batch(images, labels, ids, key, progress, self.domain, cut.share)


def interleaved(feeds: Sequence[Stream], start: int, total: int, seed: int) -> Iterator[Batch]:
    """Yields the training batches of all steps from ``start`` to ``total``.

    Every round takes one batch of each domain, in an order drawn for the round, so
    domains are sampled evenly whatever their sizes. With one domain this is its feed.

    Args:
        feeds: One for each domain.
        start: Global step to begin with.
        total: Number of global steps.
        seed: Seed of the run.
    """
    streams: dict[int, Iterator[Batch]] = {}
    for step in range(start, total):
        turn, place = divmod(step, len(feeds))
        order = _round(len(feeds), seed, turn)
        which = int(order[place])
        if which not in streams:
            streams[which] = feeds[which].training(turn, lambda n: min(n * len(feeds) / total, 1.0))
        yield next(streams[which])


def _round(count: int, seed: int, turn: int) -> np.ndarray:
    if count == 1:
        return np.zeros(1, np.int64)
    return generator(seed, "joint", turn).permutation(count)
