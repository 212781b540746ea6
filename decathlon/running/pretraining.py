"""The source network: trained from random weights on the domain that its suite names."""

import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from decathlon.common.errors import DataError, UsageError, first_difference
from decathlon.common.locks import claim
from decathlon.common.world import world
from decathlon.data.reading.store import Store
from decathlon.method.code import code_of, identity
from decathlon.method.registry import find
from decathlon.models.capabilities import outline
from decathlon.models.networks import Architecture
from decathlon.models.noise import noise_key
from decathlon.models.processes import rank
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import naming, write_source, written_by_us
from decathlon.results.records import Code
from decathlon.running.config import Checkpointing
from decathlon.running.source_training import RECIPE, SourceRecipe, SourceTraining
from decathlon.running.splits import trained_on
from decathlon.running.trial_folder import check_agreement
from decathlon.training.checkpoints import Checkpoints, peek
from decathlon.training.device import Compute
from decathlon.training.distributed.collectives import broadcast
from decathlon.training.evaluation import evaluate
from decathlon.training.feed import Feed, task_of
from decathlon.training.loop import Report, schedule_of, train


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
    """The configuration of a pretraining.

    Attributes:
        store: The data.
        out: The weights file to write.
        method_name: Registered name of the method that gives the kind of network (plain, or
            with adapters).
        recipe: Settings of the training.
        width: Factor on all channel numbers.
        seed: Seed of all randomness.
        split: ``val`` trains on train and evaluates on val, ``test`` trains on train+val.
        compute: Device and precision.
        checkpointing: When checkpoints are written; they are kept beside ``out`` until it is
            written.
        force: Overwrite ``out``, whatever it is, and checkpoints of another training.
    """

    store: Store
    out: Path
    method_name: str = "fine-tuning"
    recipe: SourceRecipe = RECIPE
    width: float = 1.0
    seed: int = 0
    split: str = "val"
    compute: Compute = field(default_factory=Compute)
    checkpointing: Checkpointing = field(default_factory=Checkpointing)
    force: bool = False

    @property
    def domain(self) -> str:
        """The domain that is trained on.

        Raises:
            UsageError: The suite has none.
        """
        suite = self.store.suite
        if suite.source is None:
            raise UsageError(
                f"suite '{suite.name}' has no domain to train a source network on; import weights"
                " with 'decathlon import-weights'"
            )
        return suite.source

    @cached_property
    def code(self) -> Code:
        """Code of the method."""
        return code_of(self.method_name)

    @property
    def architecture(self) -> Architecture:
        """The network's architecture."""
        return find(self.method_name)().pretraining(self.width)

    @property
    def epochs(self) -> int:
        """Number of epochs.

        Raises:
            DataError: The data is missing, see :meth:`check_data`.
            UsageError: The suite has no domain to train on.
        """
        self.check_data()
        images = self.store.num_images(self.domain, self.trained_on)
        return schedule_of(self.recipe, [-(-images // self.recipe.batch_size)]).epochs

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Splits of the domain that are trained on."""
        return trained_on(self.store, self.domain, self.split)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.out.with_name(f"{self.out.name}.checkpoints")

    def feed(self, splits: tuple[str, ...], training: bool, fabric: Fabric) -> Feed:
        """Opens splits of the domain."""
        view = SourceTraining(self.recipe).view(task_of(self.store, self.domain, splits), training)
        return Feed(
            self.store, self.domain, splits, view, self.recipe.batch_size, self.seed,
            fabric.device, world(), made_for=self.architecture.family.input,
            crops=self.recipe.crops,
        )  # fmt: skip

    def identity(self, fabric: Fabric) -> dict[str, Any]:
        """Returns the facts by which two source networks are known to be the same.

        Precision is one of them, as a source network is a recipe's result once and for all.
        The number of threads or processes is not: it changes the last digits only.
        """
        digests = self.store.domains[self.domain].splits
        return {
            "method": self.method_name,
            "recipe": self.recipe.as_json(),
            "seed": self.seed,
            "trained_on": "+".join(self.trained_on),
            "data": {name: digests[name].digest for name in (*self.trained_on, self.split)},
            "precision": self.compute.numerics(fabric)["precision"],
            "architecture": self.architecture.as_json(),
            "code": identity(self.code),
        }

    def check_data(self) -> None:
        """Checks that the domain is there, with the splits that are needed.

        Raises:
            DataError: It is not prepared, or lacks a split.
            UsageError: The suite has no domain to train on.
        """
        if self.domain not in self.store.domains:
            raise DataError(
                f"{self.store.data}: has no {self.domain}, on which the source network is trained;"
                " prepare it, or import the authors' network with 'decathlon import-weights'"
            )
        self.store.check_splits(self.domain, ("train", self.split))


def pretrain(config: Pretraining, report: Report) -> Pretrained:
    """Trains a source network and writes it, unless it is there already.

    With torchrun, all processes call this, and the first writes.

    Args:
        config: What is trained, on what, and how.
        report: Called once an epoch.

    Raises:
        DataError: The domain is not prepared, or lacks a split that is needed.
        UsageError: The suite has no such domain; ``out`` or its checkpoints are of something
            else, and force is off; or another process is training it.
    """
    config.check_data()
    fabric = config.compute.fabric(outline(config.architecture))
    identity = config.identity(fabric)
    check_agreement(str(config.out), identity, broadcast(identity))
    if (done := _finished(config, fabric)) is not None:
        return done
    facts, when = {**identity, **config.compute.numerics(fabric)}, config.checkpointing
    checkpoints = Checkpoints(config.checkpoints, facts, when.seconds, when.steps)
    # Of torchrun's processes the first claims it.
    with claim(config.checkpoints) if rank() == 0 else nullcontext(True) as ours:
        if not ours:
            raise UsageError(
                f"{config.out}: another process is training it; wait for that one, or name another"
                " --out"
            )
        # Another process may have finished it a moment ago.
        if (done := _finished(config, fabric)) is not None:
            return done
        if not config.force:
            _check_interrupted(checkpoints)
        return _train(config, fabric, report, checkpoints)


def _train(
    config: Pretraining, fabric: Fabric, report: Report, checkpoints: Checkpoints
) -> Pretrained:
    """Trains, evaluates and writes."""
    started = time.perf_counter()
    feed = config.feed(config.trained_on, True, fabric)
    held_out = config.feed((config.split,), False, fabric)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise_key(config.seed, config.domain, "init"))
        network = config.architecture.build(feed.task.num_classes)
    plain, seed = SourceTraining(config.recipe), config.seed
    resume, compiled = checkpoints.latest(), config.compute.compiled
    trained = train(plain, network, [feed], fabric, seed, report, checkpoints, resume, compiled)
    seconds = time.perf_counter() - started
    assert isinstance(trained, ResidualNetwork)
    correct = evaluate(plain, trained, held_out, fabric).correct
    accuracy = None if correct is None else 100 * float(correct.mean())
    if fabric.is_global_zero:
        numerics = config.compute.numerics(fabric)
        kept = numerics if fabric.world_size > 1 else {"threads": numerics["threads"]}
        facts = {**config.identity(fabric), "code": config.code.model_dump(), **kept}
        facts["accuracy"] = {config.split: accuracy}
        write_source(config.out, trained, config.architecture, facts)
        checkpoints.clear()
    return Pretrained(config.out, accuracy, seconds)


def _finished(config: Pretraining, fabric: Fabric) -> Pretrained | None:
    """Returns what is known of a file that is finished; None if it has yet to be trained.

    Raises:
        UsageError: The file is something else.
    """
    found = broadcast(_header(config, fabric) if rank() == 0 and not config.force else None)
    if found is None:
        return None
    return Pretrained(config.out, found["accuracy"].get(config.split), None)


def _header(config: Pretraining, fabric: Fabric) -> dict[str, Any] | None:
    out = config.out
    if not out.exists():
        return None
    spare = "name another --out, or overwrite it with --force"
    header = written_by_us(out)
    if header is None or header["kind"] != "source" or "recipe" not in header:
        what = "not written by decathlon" if header is None else "not made by 'decathlon pretrain'"
        raise UsageError(f"{out}: exists already, and was {what}; {spare}")
    asked = config.identity(fabric)
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
