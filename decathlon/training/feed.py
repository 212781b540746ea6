"""How a batch reaches the GPU.

Prepared images are memory-mapped from the shards on disk. A :class:`Feed` asks
``decathlon.data.reading.batches`` which images are in the next batch and where to crop them, and
then takes one of two ways:

* Normally the CPU crops the images out of the memory map, and :func:`send` copies the uint8
  pixels to the device from pinned memory, without waiting for the copy to finish.
* If all images of the domain fit into a quarter of a GPU's free memory, :class:`Resident` copies
  them there once, and the GPU crops each batch itself. 50,000 images of 72 pixels take about
  0.8 GB.

Crops that have to be resized are resized on the device either way. Then :class:`Normaliser` turns
pixels into float32 there. There are no worker processes: tools/bench_training.py measures which
part of a step the cropping takes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from decathlon.common.world import ALONE, World
from decathlon.data.keyed import generator
from decathlon.data.manifest import DomainEntry
from decathlon.data.reading.batches import Batches, Cut, Int64
from decathlon.data.reading.normaliser import Normaliser
from decathlon.data.reading.store import Images, Store
from decathlon.method.base import Batch, Task
from decathlon.models.networks import Input
from decathlon.models.noise import noise_key
from decathlon.suites.base import Crop, View
from decathlon.suites.subset import Subset
from decathlon.training.resident import Resident, fits, resized_from, send


class Stream(Protocol):
    """Endless training batches of one domain.

    Attributes:
        task: The domain.
    """

    task: Task

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the images."""

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        """Yields the batches from the domain's ``start``-th step on."""


def task_of(
    store: Store,
    domain: str,
    splits: Sequence[str],
    subset: Subset | None = None,
    crop: Crop = "image",
) -> Task:
    """Describes a domain to a method.

    Args:
        store: The data.
        domain: A prepared domain.
        splits: The splits to train on.
        subset: The part of their images to train on; None for all.
        crop: ``box`` to cut images to bounding boxes, if the domain has them.
    """
    info, suite = store.domain(domain), store.suite
    return Task(
        domain,
        info.num_classes,
        store.num_images(domain, splits, subset),
        suite.views_of(domain, store.crop_of(domain, crop)),
        {name: r.views[domain] for name, r in suite.releases.items() if domain in r.views},
        domain == suite.source,
    )


def statistics_of(store: Store, domain: str, made_for: Input | None) -> Input | DomainEntry:
    """Returns what has the mean and std by which a domain's images are normalised.

    Args:
        store: The data.
        domain: One of its domains.
        made_for: Images of the network, whose mean and std are taken; None for the domain's own.
    """
    return made_for or store.domains[domain]


class Feed:
    """The normalised batches of one domain's split(s), on a device."""

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
        subset: Subset | None = None,
        crop: Crop = "image",
        made_for: Input | None = None,
        crops: int | None = None,
    ) -> None:
        """Opens the images.

        Args:
            store: The data.
            domain: The domain.
            splits: Splits, one after the other.
            view: How to crop images.
            batch_size: Images in a training batch, over all ranks.
            seed: Seed of order, crops, flips and noise.
            device: Where to put the batches.
            world: This process's rank and the world size.
            resident: Keep all images on the device; None decides by :func:`fits`.
            subset: Only this part of the images, see :func:`task_of`.
            crop: What the task's views cut, see :func:`task_of`.
            made_for: Images of the network, by whose mean and std to normalise; None for the
                domain's own.
            crops: Random crops of each training image; None for other ones in every epoch.
        """
        statistics = statistics_of(store, domain, made_for)
        self.domain, self.seed, self.device = domain, seed, device
        self.normalise = Normaliser(statistics.mean, statistics.std, device)
        self.images: Images = store.images(domain, splits, subset)
        if resident is None:
            resident = fits(self.images, device)
        self._resident = Resident(self.images, device) if resident else None
        self.task = task_of(store, domain, splits, subset, crop)
        self.batches = Batches(
            self.images, view, batch_size, domain=domain, seed=seed, world=world, crops=crops
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the images."""
        return self.batches.steps_per_epoch

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        """Yields the batches from the domain's ``start``-th step on, without end.

        Args:
            start: Number of this domain's steps already taken.
            progress: Gives the fraction of training done at the domain's n-th step.
        """
        steps = self.steps_per_epoch
        while True:
            epoch, first = divmod(start, steps)
            key = noise_key(self.seed, self.domain, "noise", epoch)
            draw = self.batches.draw_of(epoch)
            for cut in self.batches.cuts(epoch, first):
                batch = self._batch(cut, key, progress(start))
                yield replace(batch, index=torch.from_numpy(cut.index), draw=draw)
                start += 1

    def crops(self, draw: int, batch_size: int) -> Iterator[Tensor]:
        """Yields the images of all batches of a draw, in the order of the feed.

        Args:
            draw: Number of the crops, see :attr:`Batch.draw`.
            batch_size: Images to yield at a time.
        """
        for cut in self.batches.cuts_of(draw, batch_size):
            yield self._images(cut)

    def evaluation(self, batch_size: int) -> Iterator[tuple[Int64, Batch]]:
        """Yields (positions, batch): every image exactly once, in order, centre-cropped.

        In data-parallel training each rank gets some of the batches.
        """
        key = noise_key(self.seed, self.domain, "noise", "evaluation")
        for cut in self.batches.cuts_in_order(batch_size):
            yield cut.index, self._batch(cut, key, 1.0)

    def _batch(self, cut: Cut, key: int, progress: float) -> Batch:
        ids = send(self.images.image_ids[cut.index], self.device)
        labels = send(self.images.labels[cut.index], self.device)
        images = self._images(cut)
        return Batch(images, labels, ids, key, progress, self.domain, cut.share)

    def _images(self, cut: Cut) -> Tensor:
        if self._resident is not None:
            pixels = self._resident.gather(cut)
        elif cut.extent is None or self.device.type == "cpu":
            pixels = send(self.batches.gather(cut), self.device)
        else:
            pixels = resized_from(self.batches.packed(cut), cut, self.device)
        return self.normalise(pixels)


def interleaved(feeds: Sequence[Stream], start: int, total: int, seed: int) -> Iterator[Batch]:
    """Yields the training batches of all steps from ``start`` to ``total``.

    Every round takes one batch of each domain in a random order, so that domains are sampled
    evenly whatever their sizes. With one domain this is its feed.

    Args:
        feeds: One for each domain.
        start: First global step.
        total: Number of global steps.
        seed: Seed of the run.
    """
    streams: dict[int, Iterator[Batch]] = {}
    for step in range(start, total):
        turn, place = divmod(step, len(feeds))
        which = 0
        if len(feeds) > 1:
            which = int(generator(seed, "joint", turn).permutation(len(feeds))[place])
        if which not in streams:
            streams[which] = feeds[which].training(turn, lambda n: min(n * len(feeds) / total, 1.0))
        yield next(streams[which])
