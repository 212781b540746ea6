"""The source network: trained on imagenet12 from random weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from decathlon.data.store import Store
from decathlon.domains import SOURCE_DOMAIN
from decathlon.errors import DataError
from decathlon.files import CHECKPOINT_SECONDS
from decathlon.launch import here
from decathlon.method import Method
from decathlon.models.noise import noise_key
from decathlon.models.resnet import Architecture, ResidualNetwork
from decathlon.models.weights import write_source
from decathlon.plan import trained_on
from decathlon.recipes import Recipe
from decathlon.training.checkpoint import Checkpoints
from decathlon.training.device import Compute
from decathlon.training.evaluate import evaluate
from decathlon.training.feed import Feed
from decathlon.training.loop import train

RECIPE = Recipe()
"""Protocol R's task schedule. How the authors pretrained was never published; theirs
treats imagenet12 as any other domain (``imdbfolder_coco.py``, lines 122-129)."""


@dataclass(frozen=True)
class Pretrained:
    """What came of a pretraining.

    Attributes:
        path: The weights file.
        accuracy: In percent on the split that was not trained on; None where its labels
            are unknown.
        seconds: Time of training.
    """

    path: Path
    accuracy: float | None
    seconds: float


def pretrain(
    store: Store,
    out: Path,
    *,
    method: Method,
    method_name: str,
    recipe: Recipe,
    width: float,
    seed: int,
    split: str,
    compute: Compute,
    report: Callable[[dict[str, Any]], None],
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int = 0,
) -> Pretrained:
    """Trains a source network on imagenet12 and writes it.

    Of several processes all call this, and the first writes.

    Args:
        store: The data.
        out: The weights file to write.
        method: Gives the kind of network (plain, or with adapters).
        method_name: Its registered name.
        recipe: Settings of the training.
        width: Factor on all channel numbers.
        seed: Seed of all randomness.
        split: ``val`` trains on train and evaluates on val, ``test`` trains on train+val.
        compute: Device and precision.
        report: Called once an epoch.
        checkpoint_seconds: Seconds between two checkpoints, which are kept beside ``out``
            (if that is no regular file, in the current folder) until it is written; 0 for one
            after every step.
        checkpoint_steps: Steps after which there is one at the latest; 0 for no such rule.

    Raises:
        DataError: imagenet12 is not prepared, or lacks a split that is needed.
    """
    if SOURCE_DOMAIN not in store.domains:
        raise DataError(
            f"{store.data}: has no {SOURCE_DOMAIN}, on which the source network is trained;"
            " prepare it, or import the authors' network with 'decathlon import-weights'"
        )
    store.check_splits(SOURCE_DOMAIN, ("train", split))
    splits = trained_on(store.domains[SOURCE_DOMAIN], split)
    fabric = compute.fabric()
    architecture: Architecture = method.pretraining(width)
    plain = Method(recipe)
    view = plain.view(SOURCE_DOMAIN, training=True)
    size, device = recipe.batch_size, fabric.device
    feed = Feed(store, SOURCE_DOMAIN, splits, view, size, seed, device, here())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise_key(seed, SOURCE_DOMAIN, "init"))
        network = architecture.build(feed.task.num_classes)
    started = time.perf_counter()
    facts = {
        "method": method_name,
        "recipe": recipe.as_json(),
        "seed": seed,
        "trained_on": "+".join(splits),
        "data": {
            name: store.domains[SOURCE_DOMAIN].splits[name].digest for name in (*splits, split)
        },
        "threads": torch.get_num_threads(),
        "precision": compute.numerics(fabric)["precision"],
    }
    if fabric.world_size > 1:
        facts |= compute.numerics(fabric)
    identity = {**facts, **compute.numerics(fabric), "architecture": architecture.as_json()}
    # A FIFO or /dev/stdout has no place beside it that is the user's.
    home = Path() if out.exists() and not out.is_file() else out.parent
    folder = home / f"{out.name}.checkpoints"
    checkpoints = Checkpoints(folder, identity, checkpoint_seconds, checkpoint_steps)
    resume = checkpoints.latest()
    trained = train(
        plain, network, [feed], fabric, seed, report, checkpoints, resume, compute.compiled
    )
    seconds = time.perf_counter() - started
    assert isinstance(trained, ResidualNetwork)
    view = plain.view(SOURCE_DOMAIN, training=False)
    held_out = Feed(store, SOURCE_DOMAIN, (split,), view, size, seed, device, here())
    correct = evaluate(plain, trained, held_out, fabric).correct
    accuracy = None if correct is None else 100 * float(correct.mean())
    if fabric.is_global_zero:
        write_source(out, trained, architecture, {**facts, "accuracy": {split: accuracy}})
        checkpoints.clear()
    return Pretrained(out, accuracy, seconds)
