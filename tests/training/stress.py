"""Trains and predicts with methods on made-up images, at sizes that native code may mind.

python tests/training/stress.py THREADS PRECISION WIDTHS METHODS

WIDTHS and METHODS are lists with commas.

A fault in native code ends the process, so the tests start this in one of their own.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from decathlon.method.base import Batch, Method, Task
from decathlon.method.registry import find
from decathlon.models.networks import Architecture
from decathlon.testing import made_up_source
from decathlon.training.device import Compute, to_device
from decathlon.training.loop import train

CLASSES = 5
SIZES = ((32, 40), (11, 40), (32, 40), (2, 72), (9, 39))
"""Images in a batch and their side; the last batch of an epoch is smaller than the others."""


class Images:
    """A domain of one made-up batch of each size."""

    steps_per_epoch = len(SIZES)

    def __init__(self, task: Task) -> None:
        self.task = task
        drawn = torch.Generator().manual_seed(len(task.domain))
        self.batches = []
        for count, side in SIZES:
            images = torch.randn(count, side, side, 3, generator=drawn).permute(0, 3, 1, 2)
            labels = torch.arange(count) % CLASSES
            self.batches.append(Batch(images, labels, torch.arange(count), 3, 0.0, task.domain))

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        while True:
            batch = self.batches[start % len(self.batches)]
            yield replace(batch, progress=progress(start))
            start += 1


def tasks(method: Method) -> list[Task]:
    domains = ("dtd", "svhn") if method.scope == "joint" else ("dtd",)
    return [Task(domain, CLASSES, sum(count for count, _ in SIZES)) for domain in domains]


def stress(name: str, architecture: Architecture, compute: Compute) -> None:
    """Trains one method for an epoch, and predicts batches of every size and of one image."""
    kind = find(name)
    # At the recipe's own rate, few steps of such noise may end in infinity.
    method = kind(replace(next(iter(kind.recipes.values())), epochs=1, lr=1e-4))
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        source = made_up_source(Path(folder), architecture)
        streams = [Images(task) for task in tasks(method)]
        network = method.build(source, [stream.task for stream in streams])
        fabric = compute.fabric()
        network = train(method, network, streams, fabric, 0, lambda facts: None)
        to_device(network, fabric.device)
        network.eval()
        for stream in streams:
            part = method.part(network, stream.task.domain)
            with torch.inference_mode(), fabric.autocast():
                for batch in stream.batches:
                    for images in (batch.images, batch.images[:1]):
                        count = len(images)
                        some = replace(
                            batch, images=images, labels=batch.labels[:count], ids=batch.ids[:count]
                        )
                        logits, _ = method.predict(part, some)
                        assert logits.shape == (count, CLASSES)
                        assert logits.isfinite().all()


if __name__ == "__main__":
    threads, precision, widths, names = sys.argv[1:]
    for width in map(float, widths.split(",")):
        for name in names.split(","):
            kind = find(name)
            compute = Compute("cpu", precision, int(threads))
            print(f"{name} width {width} threads {threads} precision {precision}", flush=True)
            stress(name, kind().pretraining(width), compute)
