"""One trial: train, evaluate, record."""

import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from decathlon.common.errors import TrialError
from decathlon.common.files import append_line, sha256, write_json, write_text
from decathlon.common.world import world
from decathlon.method.base import Method, Task
from decathlon.method.stored import count_parameters, keep_trunk, save_kept, save_trained
from decathlon.models.noise import noise_key
from decathlon.results.parameters import Parameters
from decathlon.results.records import RunRecord, pack_bits, write_record
from decathlon.running.run import Run, Trial
from decathlon.running.trial_folder import TrialFolder
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.distributed.groups import process_group
from decathlon.training.evaluation import Evaluation, evaluate
from decathlon.training.feed import Feed, task_of
from decathlon.training.loop import Report, train


@process_group()
def run_trial(run: Run, trial: Trial, on_epoch: Report) -> list[RunRecord]:
    """Trains, evaluates and records one trial; with torchrun, each process does its share.

    Args:
        run: What it belongs to.
        trial: The trial.
        on_epoch: Called after each epoch.

    Returns:
        The records of its domains, which are the last files to be written; only the first
        process writes, and returns any.
    """
    fabric = run.config.compute.fabric()
    method = Method() if trial.kept else run.method
    # Opened before the training: what is missing is said now, not hours later, and a file
    # that is removed meanwhile stays readable.
    held_out = {
        domain: _feed(run, trial, method, domain, fabric, training=False)
        for domain in trial.domains
    }
    started = time.perf_counter()
    network = run.source.network() if trial.kept else _trained(run, trial, fabric, on_epoch)
    trained = time.perf_counter()
    trunk = None
    if method.scope == "joint" and fabric.is_global_zero:
        one = method.part(network, trial.domains[0])
        trunk = keep_trunk(run.config.results, method, one, run.source)
    records = []
    for domain, feed in held_out.items():
        part = method.part(network, domain)
        result = evaluate(method, part, feed, fabric)
        if not fabric.is_global_zero:
            continue
        timing = {
            "train_seconds": round(trained - started, 3),
            "evaluate_seconds": round(time.perf_counter() - trained, 3),
        }
        parameters = _write_weights(run, trial, domain, method, part, trunk)
        digest = _write_predictions(run, trial, feed, result)
        environment = run.config.compute.environment(fabric)
        record = _record(run, trial, domain, result, parameters, digest, environment, timing)
        write_record(run.config.results, record)
        records.append(record)
    if not trial.kept and fabric.is_global_zero:
        _checkpoints(run, trial, fabric).clear()
    return records


def _trained(run: Run, trial: Trial, fabric: Fabric, on_epoch: Report) -> nn.Module:
    """Builds and trains a trial's network, and writes the log."""
    feeds = [_feed(run, trial, run.method, d, fabric, training=True) for d in trial.domains]
    network = build(run, trial, [feed.task for feed in feeds])
    path = TrialFolder(run, trial).log
    checkpoints = _checkpoints(run, trial, fabric)
    resume = checkpoints.latest()
    if fabric.is_global_zero:
        epochs = int(resume.facts["epoch"]) if resume else 0
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        write_text(path, "".join(f"{line}\n" for line in lines[:epochs]))

    def report(facts: dict[str, Any]) -> None:
        if fabric.is_global_zero:
            append_line(path, json.dumps(facts))
        on_epoch(facts)

    return train(
        run.method,
        network,
        feeds,
        fabric,
        trial.seed,
        report,
        checkpoints,
        resume,
        run.config.compute.compiled,
    )


def build(run: Run, trial: Trial, tasks: Sequence[Task]) -> nn.Module:
    """Builds the network of a trial, as its seed draws it.

    Args:
        run: What it belongs to.
        trial: The trial; one that trains.
        tasks: Its domains.

    Raises:
        DecathlonError: The method cannot start from the run's source, or calls sys.exit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise_key(trial.seed, *trial.domains, "init"))
        try:
            return run.method.build(run.source, tasks)
        except SystemExit as end:  # which would end the other trials too, without a word
            raise TrialError(
                f"method '{run.method_name}': its build() calls sys.exit({end}); raise an error"
                " that says what is wrong instead"
            ) from end


def _checkpoints(run: Run, trial: Trial, fabric: Fabric) -> Checkpoints:
    """Returns a trial's checkpoints; those of another recipe, data, source or code do not fit."""
    folder, when = TrialFolder(run, trial), run.config.checkpointing
    identity = folder.identity() | run.config.compute.numerics(fabric)
    return Checkpoints(folder.checkpoints, identity, when.seconds, when.steps)


def _feed(
    run: Run, trial: Trial, method: Method, domain: str, fabric: Fabric, training: bool
) -> Feed:
    """Opens the images of a domain to train on, or to evaluate on."""
    splits = run.trained_on(domain) if training else (trial.split,)
    view = method.view(task_of(run.store, domain, splits), training)
    size = run.method.recipe.batch_size
    return Feed(run.store, domain, splits, view, size, trial.seed, fabric.device, world())


def _write_weights(
    run: Run, trial: Trial, domain: str, method: Method, network: nn.Module, trunk: str | None
) -> Parameters:
    """Writes a domain's network, and returns what it takes."""
    path, source = TrialFolder(run, trial).weights(domain), run.source
    if trial.kept:
        save_kept(path, source)
        bits = source.count_bits()
        return Parameters(source=bits, shared=bits, domain=0, head=0, unit=source.unit_bits())
    tasks = [task_of(run.store, domain, run.trained_on(domain))]
    save_trained(path, method, network, source, tasks, trunk, run.code)
    return count_parameters(method, network, source)


def _write_predictions(run: Run, trial: Trial, feed: Feed, result: Evaluation) -> str:
    """Writes predictions and routing, and returns the SHA-256 of the predictions' file."""
    folder = TrialFolder(run, trial)
    first = run.store.domains[feed.domain].first_category
    ids = feed.images.image_ids.tolist()
    predictions = [
        {"image_id": image, "category_id": first + label}
        for image, label in zip(ids, result.predicted.tolist(), strict=True)
    ]
    path = folder.predictions(feed.domain)
    write_json(path, predictions, indent=None)
    if result.routing is not None:
        rows = ["".join(map(str, row)) for row in result.routing.tolist()]
        routing = {"blocks": result.routing.shape[1], "images": rows}
        write_json(folder.routing(feed.domain), routing)
    return sha256(path)


def _record(
    run: Run,
    trial: Trial,
    domain: str,
    result: Evaluation,
    parameters: Parameters,
    predictions: str,
    environment: dict[str, Any],
    timing: dict[str, Any],
) -> RunRecord:
    info = run.store.domains[domain]
    correct = result.correct
    return RunRecord(
        name=run.name,
        domain=domain,
        split=trial.split,  # type: ignore[arg-type]
        seed=trial.seed,
        trained_on="" if trial.kept else "+".join(run.trained_on(domain)),
        trained=not trial.kept,
        source_domain=run.method.source_domain,
        official=info.official,
        num_classes=info.num_classes,
        correct=None if correct is None else int(correct.sum()),
        total=None if correct is None else len(correct),
        correctness=None if correct is None else pack_bits(correct.tolist()),
        parameters=parameters,
        threads=torch.get_num_threads(),
        suite=run.store.suite.name,
        network=run.source.architecture.as_json(),
        predictions=predictions,
        environment=environment,
        timing=timing,
        **{
            **TrialFolder(run, trial).expected(domain),
            "code": None if trial.kept else run.code,
        },
    )
