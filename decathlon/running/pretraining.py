"""The source network: trained on imagenet12 from random weights."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from decathlon.common.errors import DataError, UsageError, first_difference
from decathlon.common.files import CHECKPOINT_SECONDS
from decathlon.common.locks import claim
from decathlon.common.world import world
from decathlon.data.reading.store import Store
from decathlon.method.base import Method
from decathlon.method.code import code_of, identity
from decathlon.method.recipe import Recipe
from decathlon.models.noise import noise_key
from decathlon.models.processes import rank
from decathlon.models.resnet import Architecture, ResidualNetwork
from decathlon.models.weights import naming, write_source, written_by_us
from decathlon.results.records import Code
from decathlon.running.plan import check_agreement, trained_on
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN
from decathlon.training.checkpoints import Checkpoints, peek
from decathlon.training.device import Compute
from decathlon.training.distributed.collectives import broadcast
from decathlon.training.evaluation import evaluate
from decathlon.training.feed import Feed, task_of
from decathlon.training.loop import train

RECIPE = Recipe()
"""Protocol R's task schedule. How the authors pretrained was never published; theirs
treats imagenet12 as any other domain (``imdbfolder_coco.py``, lines 122-129)."""


@dataclass(frozen=True)
class Pretrained:
    """The result of a pretraining.

    Attributes:
        path: The weights file.
        accuracy: In percent on the split that was not trained on; None where its labels
            are unknown.
        seconds: Time of training; None if the file was finished before.
    """

    path: Path
    accuracy: float | None
    seconds: float | None


@dataclass(frozen=True)
class Pretraining:
    """What a source network is trained on and how.

    Attributes:
        store: The data.
        method: Gives the kind of network (plain, or with adapters).
        method_name: Its registered name.
        recipe: Settings of the training.
        width: Factor on all channel numbers.
        seed: Seed of all randomness.
        split: ``val`` trains on train and evaluates on val, ``test`` trains on train+val.
        compute: Device and precision.
        code: Code of the method.
    """

    store: Store
    method: Method
    method_name: str
    recipe: Recipe
    width: float
    seed: int
    split: str
    compute: Compute
    code: Code

    @property
    def architecture(self) -> Architecture:
        """The network's architecture."""
        return self.method.pretraining(self.width)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Splits of imagenet12 that are trained on."""
        return trained_on(self.store.domains[SOURCE_DOMAIN], self.split)

    def feed(self, splits: tuple[str, ...], training: bool, fabric: Fabric) -> Feed:
        """Opens splits of imagenet12."""
        task = task_of(self.store, SOURCE_DOMAIN, splits)
        view = Method(self.recipe).view(task, training)
        size = self.recipe.batch_size
        return Feed(
            self.store, SOURCE_DOMAIN, splits, view, size, self.seed, fabric.device, world()
        )

    def identity(self, fabric: Fabric) -> dict[str, Any]:
        """Returns the facts by which two source networks are known to be the same.

        Precision is one of them, as a source network is a recipe's result once and for all.
        The number of threads or processes is not: it changes the last digits only.
        """
        digests = self.store.domains[SOURCE_DOMAIN].splits
        splits = (*self.trained_on, self.split)
        return {
            "method": self.method_name,
            "recipe": self.recipe.as_json(),
            "seed": self.seed,
            "trained_on": "+".join(self.trained_on),
            "data": {name: digests[name].digest for name in splits},
            "precision": self.compute.numerics(fabric)["precision"],
            "architecture": self.architecture.as_json(),
            "code": identity(self.code),
        }


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
    force: bool = False,
) -> Pretrained:
    """Trains a source network on imagenet12 and writes it, unless it is there already.

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
            until it is written; 0 for one after every step.
        checkpoint_steps: Steps after which there is one at the latest; 0 for no such rule.
        force: Overwrite ``out``, whatever it is, and checkpoints of another training.

    Raises:
        DataError: imagenet12 is not prepared, or lacks a split that is needed.
        UsageError: ``out`` or its checkpoints are of something else, and force is off; or
            another process is training it.
    """
    if SOURCE_DOMAIN not in store.domains:
        raise DataError(
            f"{store.data}: has no {SOURCE_DOMAIN}, on which the source network is trained;"
            " prepare it, or import the authors' network with 'decathlon import-weights'"
        )
    store.check_splits(SOURCE_DOMAIN, ("train", split))
    code = code_of(method_name)
    wanted = Pretraining(store, method, method_name, recipe, width, seed, split, compute, code)
    fabric = compute.fabric()
    asked = wanted.identity(fabric)
    check_agreement(str(out), asked, broadcast(asked))
    if (done := _finished(wanted, out, fabric, force)) is not None:
        return done
    folder = out.with_name(f"{out.name}.checkpoints")
    facts = {**asked, **compute.numerics(fabric)}
    checkpoints = Checkpoints(folder, facts, checkpoint_seconds, checkpoint_steps)
    with _claimed(folder, out):
        # Another process may have finished it a moment ago.
        if (done := _finished(wanted, out, fabric, force)) is not None:
            return done
        if not force:
            _check_interrupted(checkpoints)
        return _train(wanted, out, fabric, report, checkpoints)


def _train(
    wanted: Pretraining,
    out: Path,
    fabric: Fabric,
    report: Callable[[dict[str, Any]], None],
    checkpoints: Checkpoints,
) -> Pretrained:
    """Trains, evaluates and writes."""
    started = time.perf_counter()
    feed = wanted.feed(wanted.trained_on, True, fabric)
    held_out = wanted.feed((wanted.split,), False, fabric)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise_key(wanted.seed, SOURCE_DOMAIN, "init"))
        network = wanted.architecture.build(feed.task.num_classes)
    plain, seed = Method(wanted.recipe), wanted.seed
    resume, compiled = checkpoints.latest(), wanted.compute.compiled
    trained = train(plain, network, [feed], fabric, seed, report, checkpoints, resume, compiled)
    seconds = time.perf_counter() - started
    assert isinstance(trained, ResidualNetwork)
    correct = evaluate(plain, trained, held_out, fabric).correct
    accuracy = None if correct is None else 100 * float(correct.mean())
    if fabric.is_global_zero:
        numerics = wanted.compute.numerics(fabric)
        kept = numerics if fabric.world_size > 1 else {"threads": numerics["threads"]}
        facts = {**wanted.identity(fabric), "code": wanted.code.model_dump(), **kept}
        facts["accuracy"] = {wanted.split: accuracy}
        write_source(out, trained, wanted.architecture, facts)
        checkpoints.clear()
    return Pretrained(out, accuracy, seconds)


def _finished(wanted: Pretraining, out: Path, fabric: Fabric, force: bool) -> Pretrained | None:
    """Returns what is known of a file that is finished; None if it has yet to be trained.

    Raises:
        UsageError: The file is something else.
    """
    found = broadcast(_header(wanted, out, fabric) if rank() == 0 and not force else None)
    return None if found is None else Pretrained(out, found["accuracy"].get(wanted.split), None)


def _header(wanted: Pretraining, out: Path, fabric: Fabric) -> dict[str, Any] | None:
    if not out.exists():
        return None
    spare = "name another --out, or overwrite it with --force"
    header = written_by_us(out)
    if header is None or header["kind"] != "source" or "recipe" not in header:
        what = "not written by decathlon" if header is None else "not made by 'decathlon pretrain'"
        raise UsageError(f"{out}: exists already, and was {what}; {spare}")
    asked = wanted.identity(fabric)
    found = {key: header.get(key) for key in asked}
    if found["code"] is None:
        warnings.warn(
            f"{out}: does not tell which code trained it (older versions of decathlon did not"
            " record it); it is taken as trained by the present code",
            stacklevel=1,
        )
        del asked["code"], found["code"]
    else:
        with naming(out):
            found["code"] = identity(Code.model_validate(header["code"]))
    if found != asked:
        raise UsageError(
            f"{out}: is finished, but was trained differently: {first_difference(found, asked)};"
            f" {spare}"
        )
    return header


def _check_interrupted(checkpoints: Checkpoints) -> None:
    """Checks that an interrupted training that would be resumed is the one asked for.

    Raises:
        UsageError: It is another one, whose work would be lost.
    """
    header = peek(checkpoints.folder) if rank() == 0 else None
    if header is not None and header["identity"] != checkpoints.identity:
        difference = first_difference(header["identity"], checkpoints.identity)
        raise UsageError(
            f"{checkpoints.folder}: has the checkpoints of another training ({difference});"
            " resume that one with its settings, name another --out, or discard it with --force"
        )


@contextmanager
def _claimed(folder: Path, out: Path) -> Iterator[None]:
    """Claims a weights file against other commands; only the first of several processes does.

    Raises:
        UsageError: Another command is training it.
    """
    if rank() > 0:
        yield
        return
    with claim(folder) as ours:
        if not ours:
            raise UsageError(
                f"{out}: another process is training it; wait for that one, or name another --out"
            )
        yield
