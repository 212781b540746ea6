"""One trial: train, evaluate, record.

RESULTS/<name>/<domain>/<split>/seed<k>/{log.jsonl,weights.safetensors,...,record.json}
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
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
from decathlon.models.weights import Source
from decathlon.results.records import (
    LOG,
    PREDICTIONS,
    ROUTING,
    WEIGHTS,
    Parameters,
    RunRecord,
    pack_bits,
    write_record,
)
from decathlon.running.plan import Run, Trial
from decathlon.suites.base import View
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.distributed.groups import broadcast_or_exit, process_group
from decathlon.training.evaluation import Evaluation, evaluate
from decathlon.training.feed import Feed
from decathlon.training.feed import task_of as training_task
from decathlon.training.loop import Report, train

CHECKPOINTS = "checkpoints"
"""The folder of a trial's checkpoints, in that of its first domain."""


def run_trial(run: Run, trial: Trial, on_epoch: Report) -> list[RunRecord]:
    """Trains, evaluates and records one trial.

    Of several processes, the first calls this; the others :func:`take_part` when called.

    Args:
        run: What it belongs to.
        trial: The trial.
        on_epoch: Is told of each epoch.

    Returns:
        The records of its domains, which are the last files to be written.
    """
    broadcast_or_exit(asdict(trial))
    return take_part(run, trial, on_epoch)


def take_part(run: Run, trial: Trial, on_epoch: Report) -> list[RunRecord]:
    """Does one process's part of a trial; see :func:`run_trial`. Only the first writes."""
    with process_group():
        return _run(run, trial, on_epoch)


def _run(run: Run, trial: Trial, on_epoch: Report) -> list[RunRecord]:
    fabric = run.compute.fabric()
    method = Method() if trial.kept else run.method
    # Opened before the training: what is missing is said now, not hours later, and a file
    # that is removed meanwhile stays readable.
    held_out = {domain: _held_out(run, trial, method, domain, fabric) for domain in trial.domains}
    started = time.perf_counter()
    network = run.source.network() if trial.kept else _trained(run, trial, fabric, on_epoch)
    trained = time.perf_counter()
    trunk = None
    if method.scope == "joint" and fabric.is_global_zero:
        one = method.part(network, trial.domains[0])
        trunk = keep_trunk(run.results, method, one, run.source)
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
        target = trial.folder(run.results, domain)
        weights = target / WEIGHTS
        if trial.kept:
            save_kept(weights, run.source)
            parameters = _kept_parameters(run.source)
        else:
            tasks = [task_of(run, domain)]
            save_trained(weights, method, part, run.source, tasks, trunk, run.code)
            parameters = count_parameters(method, part, run.source)
        digest = _write_predictions(run, target, feed, result)
        machine = run.compute.environment(fabric)
        record = _record(run, trial, domain, result, parameters, digest, machine, timing)
        write_record(run.results, record)
        records.append(record)
    if not trial.kept and fabric.is_global_zero:
        _checkpoints(run, trial, fabric).clear()
    return records


def _trained(run: Run, trial: Trial, fabric: Fabric, on_epoch: Report) -> nn.Module:
    """Builds and trains a trial's network, and keeps the log."""
    feeds = [_training_feed(run, d, trial.seed, fabric.device) for d in trial.domains]
    network = build(run, trial, [feed.task for feed in feeds])
    path = trial.folder(run.results, trial.domains[0]) / LOG
    checkpoints = _checkpoints(run, trial, fabric)
    resume = checkpoints.latest()
    if fabric.is_global_zero:
        _cut_log(path, int(resume.facts["epoch"]) if resume else 0)

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
        run.compute.compiled,
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


def task_of(run: Run, domain: str) -> Task:
    """Describes a domain as it is trained on, from the manifest alone."""
    return training_task(run.store, domain, run.trained_on(domain))


def _checkpoints(run: Run, trial: Trial, fabric: Fabric) -> Checkpoints:
    """Returns a trial's checkpoints; those of another recipe, data, source or code do not fit."""
    identity = run.identity(trial) | run.compute.numerics(fabric)
    folder = trial.folder(run.results, trial.domains[0]) / CHECKPOINTS
    return Checkpoints(folder, identity, run.checkpoint_seconds, run.checkpoint_steps)


def _cut_log(path: Path, epochs: int) -> None:
    """Keeps the lines of the first epochs of a log, of which there are at least as many."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    write_text(path, "".join(f"{line}\n" for line in lines[:epochs]))


def _kept_parameters(source: Source) -> Parameters:
    bits = source.count_bits()
    return Parameters(source=bits, shared=bits, domain=0, head=0, unit=source.unit_bits())


def _training_feed(run: Run, domain: str, seed: int, device: torch.device) -> Feed:
    view = run.method.view(task_of(run, domain), training=True)
    return _feed(run, domain, run.trained_on(domain), view, seed, device)


def _held_out(run: Run, trial: Trial, method: Method, domain: str, fabric: Fabric) -> Feed:
    view = method.view(training_task(run.store, domain, (trial.split,)), training=False)
    return _feed(run, domain, (trial.split,), view, trial.seed, fabric.device)


def _feed(
    run: Run, domain: str, splits: Sequence[str], view: View, seed: int, device: torch.device
) -> Feed:
    size = run.method.recipe.batch_size
    return Feed(run.store, domain, splits, view, size, seed, device, world())


def _write_predictions(run: Run, folder: Path, feed: Feed, result: Evaluation) -> str:
    """Writes predictions and routing, and returns the SHA-256 of the predictions' file."""
    first = run.store.domains[feed.domain].first_category
    ids = feed.images.image_ids.tolist()
    predictions = [
        {"image_id": image, "category_id": first + label}
        for image, label in zip(ids, result.predicted.tolist(), strict=True)
    ]
    path = folder / PREDICTIONS
    write_json(path, predictions, indent=None)
    if result.routing is not None:
        rows = ["".join(map(str, row)) for row in result.routing.tolist()]
        write_json(folder / ROUTING, {"blocks": result.routing.shape[1], "images": rows})
    return sha256(path)


def _record(
    run: Run,
    trial: Trial,
    domain: str,
    result: Evaluation,
    parameters: Parameters,
    predictions: str,
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
        environment=machine,
        timing=timing,
        **{**run.expected(trial, domain), "code": None if trial.kept else run.code},
    )
