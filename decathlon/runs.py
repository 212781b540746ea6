"""Plan, claim, train, evaluate, record: from a user's wish to records in RESULTS.

Only missing work is done. A finished record of another recipe, other data or another
source is never mixed in: it is said, and rerun only by force.
"""

import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import nn

from decathlon.data.store import Store
from decathlon.domains import DOMAINS, SOURCE_DOMAIN, View
from decathlon.errors import DataError, UsageError, nearest
from decathlon.files import write_json, write_text
from decathlon.method import Method, Task
from decathlon.models.noise import noise_key
from decathlon.models.weights import Source
from decathlon.recipes import DEFAULT
from decathlon.records import (
    RECORD,
    RESERVED,
    Parameters,
    RunRecord,
    pack_bits,
    read_record,
    trial_folder,
    write_record,
)
from decathlon.stored import (
    count_parameters,
    keep_source,
    keep_trunk,
    save_kept,
    save_trained,
)
from decathlon.training.checkpoint import EVERY_SECONDS, Checkpoints
from decathlon.training.device import Compute, environment
from decathlon.training.evaluate import Evaluation, evaluate
from decathlon.training.feed import Feed
from decathlon.training.loop import train

TRAINED_ON = {"val": ("train",), "test": ("train", "val")}
"""Splits that are trained on, by the split that is reported."""


@dataclass(frozen=True)
class Trial:
    """One piece of work: one training, or the source network evaluated as it is.

    Attributes:
        name: The method's or the variant's name.
        domains: The domain; several where the method's scope is joint.
        split: Split to evaluate on.
        seed: Seed of all randomness.
        kept: The source network is evaluated with its own head, nothing is trained.
    """

    name: str
    domains: tuple[str, ...]
    split: str
    seed: int
    kept: bool = False

    def folder(self, results: Path, domain: str) -> Path:
        """Returns the folder of one domain's record."""
        return results / trial_folder(self.name, domain, self.split, self.seed)

    def __str__(self) -> str:
        domains = self.domains[0] if len(self.domains) == 1 else f"{len(self.domains)} domains"
        return f"{self.name}, {domains}, {self.split}, seed {self.seed}"


class Watch(Protocol):
    """What is told of a run while it goes on."""

    def planned(self, todo: Sequence[Trial], done: Sequence[Trial]) -> None:
        """Says what is to be done, and what is done already."""

    def started(self, trial: Trial) -> None:
        """Says that a trial begins."""

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Says how an epoch went: epoch, epochs, loss, images_per_s."""

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Says that a trial's records are written."""

    def failed(self, trial: Trial, error: Exception) -> None:
        """Says that a trial failed; the others go on."""


@dataclass(frozen=True)
class Run:
    """A method on some domains of one data folder.

    Attributes:
        method: The method with its recipe.
        method_name: Its registered name.
        name: Its name in RESULTS.
        source: The pretrained network.
        store: The data.
        results: RESULTS.
        domains: Domains to run.
        split: ``val`` (trains on train) or ``test`` (trains on train and val).
        seeds: Seeds.
        compute: Device and precision.
        force: Run again what is finished.
        checkpoint_seconds: Seconds between two checkpoints; 0 for one after every step.
    """

    method: Method
    method_name: str
    name: str
    source: Source
    store: Store
    results: Path
    domains: tuple[str, ...]
    split: str
    seeds: tuple[int, ...] = (0,)
    compute: Compute = field(default_factory=Compute)
    force: bool = False
    checkpoint_seconds: float = EVERY_SECONDS

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Splits that are trained on."""
        return TRAINED_ON[self.split]

    def trials(self) -> list[Trial]:
        """Lists all trials, whether done or not.

        Raises:
            UsageError: The name is reserved, or a setting names an unknown domain.
            DataError: A domain is not prepared, or the source does not fit.
        """
        self._check()
        own = [d for d in self.domains if not self._keeps(d)]
        trials = []
        for seed in self.seeds:
            if self.method.scope == "joint":
                groups = [tuple(own)] if own else []
            else:
                groups = [(domain,) for domain in own]
            trials += [Trial(self.name, g, self.split, seed) for g in groups]
            kept = [(d,) for d in self.domains if self._keeps(d)]
            trials += [Trial(self.name, g, self.split, seed, kept=True) for g in kept]
        return trials

    def _keeps(self, domain: str) -> bool:
        return domain == SOURCE_DOMAIN and self.method.source_domain == "keep"

    def _check(self) -> None:
        if self.name in RESERVED or "/" in self.name or self.name.startswith("."):
            raise UsageError(f"'{self.name}' cannot be the name of results; choose another --name")
        for domain in self.domains:
            if domain not in self.store.domains:
                known = list(self.store.domains)
                raise UsageError(
                    f"unknown domain '{domain}'{nearest(domain, known)}"
                    f" (in {self.store.data}: {', '.join(known)})"
                )
        known = [DEFAULT, *self.store.domains]
        for setting, value in self.method.recipe.as_json().items():
            for domain in value if isinstance(value, dict) else ():
                if domain not in known and domain not in DOMAINS:
                    raise UsageError(
                        f"--set {setting}.{domain}: unknown domain{nearest(domain, known)}"
                    )
        if any(self._keeps(domain) for domain in self.domains):
            self._check_kept()

    def _check_kept(self) -> None:
        classes = self.store.domains[SOURCE_DOMAIN].num_classes
        if classes != self.source.num_classes:
            raise DataError(
                f"{self.source.path}: the source network has {self.source.num_classes} classes,"
                f" {SOURCE_DOMAIN} in {self.store.data} has {classes}: other data;"
                f" leave {SOURCE_DOMAIN} out with --domain, or pretrain on this data"
            )

    def expected(self, trial: Trial, domain: str) -> dict[str, Any]:
        """Returns the fields by which a finished record is known to be of this run."""
        kept = trial.kept
        splits = (trial.split,) if kept else (*self.trained_on, trial.split)
        digests = self.store.domains[domain].splits
        recipe = {} if kept else self.method.recipe.as_json()
        if self.method.scope == "joint" and not kept:
            recipe["domains"] = list(trial.domains)
        return {
            "method": self.method_name,
            "recipe": recipe,
            "data": {split: digests[split].digest for split in splits},
            "source": self.source.sha256 if kept or self.method.needs_source else None,
        }


def execute(run: Run, watch: Watch) -> list[Trial]:
    """Runs all trials that are not done.

    Args:
        run: What to run.
        watch: Is told of everything.

    Returns:
        The trials that failed.

    Raises:
        UsageError: A finished record does not belong to this run, and force is off.
    """
    trials = run.trials()
    todo = trials if run.force else [t for t in trials if not is_done(run, t)]
    watch.planned(todo, [t for t in trials if t not in todo])
    if todo and run.source.path is not None and (run.method.needs_source or todo[-1].kept):
        keep_source(run.source, run.results)
    failed = []
    for trial in todo:
        try:
            with _claim(run, trial):
                if run.force or not is_done(run, trial):
                    watch.started(trial)
                    watch.finished(trial, _run(run, trial, watch))
        except Exception as error:
            if isinstance(error, UsageError):
                raise
            failed.append(trial)
            watch.failed(trial, error)
    return failed


def is_done(run: Run, trial: Trial) -> bool:
    """Whether a trial's records are all there and of this run.

    Raises:
        UsageError: A record is there, but of another recipe, data or source.
    """
    for domain in trial.domains:
        path = trial.folder(run.results, domain) / RECORD
        if not path.exists():
            return False
        record = read_record(path)
        for key, value in run.expected(trial, domain).items():
            found = getattr(record, key)
            if found != value:
                raise UsageError(
                    f"{path}: is finished, but with another {key}: {_difference(found, value)};"
                    " rerun it with --force, or keep both with --name"
                )
    return True


def _difference(found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            if found.get(key) != wanted.get(key):
                was, now = json.dumps(found.get(key)), json.dumps(wanted.get(key))
                return f"{key} was {was[:80]}, now {now[:80]}"
    return f"was {found}, now {wanted}"


@contextmanager
def _claim(run: Run, trial: Trial) -> Iterator[None]:
    """Holds a trial against other processes; a dead owner's claim is free at once."""
    folder = trial.folder(run.results, trial.domains[0])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".claim").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(run: Run, trial: Trial, watch: Watch) -> list[RunRecord]:
    fabric = run.compute.fabric()
    started = time.perf_counter()
    method = Method() if trial.kept else run.method
    network = run.source.network() if trial.kept else _trained(run, trial, fabric, watch)
    trained = time.perf_counter()
    trunk = None
    if method.scope == "joint":
        one = method.part(network, trial.domains[0])
        trunk = keep_trunk(run.results, method, one, run.source)
    records = []
    for domain in trial.domains:
        view = method.view(domain, training=False)
        feed = _feed(run, domain, (trial.split,), view, trial.seed, fabric.device)
        part = method.part(network, domain)
        result = evaluate(method, part, feed, fabric)
        timing = {
            "train_seconds": round(trained - started, 3),
            "evaluate_seconds": round(time.perf_counter() - trained, 3),
        }
        target = trial.folder(run.results, domain)
        weights = target / "weights.safetensors"
        if trial.kept:
            save_kept(weights, run.source)
            parameters = _kept_parameters(run.source)
        else:
            task = Task(domain, feed.task.num_classes, _num_images(run, domain))
            save_trained(weights, method, part, run.source, [task], trunk)
            parameters = count_parameters(method, part, run.source)
        _write_predictions(run, target, feed, result)
        record = _record(run, trial, domain, result, parameters, environment(fabric), timing)
        write_record(run.results, record)
        records.append(record)
    if not trial.kept:
        _checkpoints(run, trial).clear()
    return records


def _trained(run: Run, trial: Trial, fabric: Fabric, watch: Watch) -> nn.Module:
    """Builds and trains a trial's network, and keeps the log."""
    feeds = [_training_feed(run, d, trial.seed, fabric.device) for d in trial.domains]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise_key(trial.seed, *trial.domains, "init"))
        network = run.method.build(run.source, [feed.task for feed in feeds])
    path = trial.folder(run.results, trial.domains[0]) / "log.jsonl"
    checkpoints = _checkpoints(run, trial)
    resume = checkpoints.latest()
    _cut_log(path, int(resume.facts["epoch"]) if resume else 0)
    with path.open("a", encoding="utf-8") as log:

        def report(facts: dict[str, Any]) -> None:
            log.write(json.dumps(facts) + "\n")
            log.flush()
            watch.epoch(trial, facts)

        return train(run.method, network, feeds, fabric, trial.seed, report, checkpoints, resume)


def _checkpoints(run: Run, trial: Trial) -> Checkpoints:
    """Returns a trial's checkpoints; those of another recipe, data or source do not fit."""
    identity = {domain: run.expected(trial, domain) for domain in trial.domains}
    folder = trial.folder(run.results, trial.domains[0]) / "checkpoints"
    threads = {"threads": torch.get_num_threads()}
    return Checkpoints(folder, {**identity, **threads}, run.checkpoint_seconds)


def _cut_log(path: Path, epochs: int) -> None:
    """Keeps the lines of the first epochs of a log, of which there are at least as many."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    write_text(path, "".join(f"{line}\n" for line in lines[:epochs]))


def _kept_parameters(source: Source) -> Parameters:
    bits = source.count_bits()
    return Parameters(source=bits, shared=bits, domain=0, head=0, unit=source.unit_bits())


def _num_images(run: Run, domain: str) -> int:
    """Counts the images that a domain is trained on."""
    splits = run.store.domains[domain].splits
    return sum(splits[split].num_images for split in run.trained_on)


def _training_feed(run: Run, domain: str, seed: int, device: torch.device) -> Feed:
    view = run.method.view(domain, training=True)
    return _feed(run, domain, run.trained_on, view, seed, device)


def _feed(
    run: Run, domain: str, splits: Sequence[str], view: View, seed: int, device: torch.device
) -> Feed:
    size = run.method.recipe.batch_size
    return Feed(run.store, domain, splits, view, size, seed, device)


def _write_predictions(run: Run, folder: Path, feed: Feed, result: Evaluation) -> None:
    first = run.store.domains[feed.domain].first_category
    ids = feed.images.image_ids.tolist()
    predictions = [
        {"image_id": image, "category_id": first + label}
        for image, label in zip(ids, result.predicted.tolist(), strict=True)
    ]
    write_json(folder / "predictions.json", predictions, indent=None)
    if result.routing is not None:
        rows = ["".join(map(str, row)) for row in result.routing.tolist()]
        write_json(folder / "routing.json", {"blocks": result.routing.shape[1], "images": rows})


def _record(
    run: Run,
    trial: Trial,
    domain: str,
    result: Evaluation,
    parameters: Parameters,
    machine: dict[str, Any],
    timing: dict[str, Any],
) -> RunRecord:
    info = run.store.domains[domain]
    correct = result.correct
    return RunRecord(
        name=run.name,
        domain=domain,
        split=trial.split,  # type: ignore[arg-type]
        seed=trial.seed,
        trained_on="" if trial.kept else "+".join(run.trained_on),
        trained=not trial.kept,
        source_domain=run.method.source_domain,
        official=info.official,
        num_classes=info.num_classes,
        correct=None if correct is None else int(correct.sum()),
        total=None if correct is None else len(correct),
        correctness=None if correct is None else pack_bits(correct.tolist()),
        parameters=parameters,
        threads=torch.get_num_threads(),
        environment=machine,
        timing=timing,
        **run.expected(trial, domain),
    )
