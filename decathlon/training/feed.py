"""From memory-mapped images to batches on the device, for one domain or several."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from decathlon.data.batches import Batches, Int64, RawBatch
from decathlon.data.keyed import generator
from decathlon.data.store import Images, Store
from decathlon.domains import View
from decathlon.launch import ALONE, Place
from decathlon.method import Batch, Task
from decathlon.models.noise import noise_key
from decathlon.training.device import normalise


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
        place: Place = ALONE,
    ) -> None:
        info = store.domains[domain]
        self.domain, self.seed, self.device = domain, seed, device
        self.mean, self.std = info.mean, info.std
        self.images: Images = store.images(domain, splits)
        self.task = Task(domain, info.num_classes, len(self.images))
        self.batches = Batches(self.images, view, batch_size, domain=domain, seed=seed, place=place)

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
            for raw in self.batches.epoch(epoch, first):
                yield self._batch(raw, key, progress(start))
                start += 1

    def evaluation(self, batch_size: int) -> Iterator[tuple[Int64, Batch]]:
        """Yields every image exactly once, in order, centre-cropped; and their positions.

        Of several processes each has some of the batches.
        """
        key = noise_key(self.seed, self.domain, "noise", "evaluation")
        for raw in self.batches.sequential(batch_size):
            yield raw.index, self._batch(raw, key, 1.0)

    def _batch(self, raw: RawBatch, key: int, progress: float) -> Batch:
        pixels = torch.from_numpy(raw.images).to(self.device, non_blocking=True)
        ids = torch.from_numpy(self.images.image_ids[raw.index]).to(self.device)
        labels = torch.from_numpy(raw.labels).to(self.device)
        images = normalise(pixels, self.mean, self.std)
        return Batch(images, labels, ids, key, progress, self.domain, raw.share)


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
