"""One trial: train, evaluate, record."""

import json
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from decathlon.common.errors import TrialError
from decathlon.common.files import append_line, sha256, write_json, write_text
from decathlon.common.world import world
from decathlon.data.reading.application import Application
from decathlon.method.base import Method, Task
from decathlon.method.probe import Probe
from decathlon.method.stored import (
    count_parameters,
    keep_trunk,
    load_trained,
    save_kept,
    save_trained,
)
from decathlon.models.capabilities import outline
from decathlon.models.noise import noise_key
from decathlon.models.residual import ResidualNetwork
from decathlon.results.records import (
    LOGITS,
    PREDICTIONS,
    ROUTING,
    WEIGHTS,
    Cost,
    Parameters,
    RunRecord,
    pack_bits,
    write_record,
)
from decathlon.running.cost import PeakMemory, flops_of_image
from decathlon.running.logits import evaluate_with_logits, write_logits
from decathlon.running.probing import evaluate_probe, fit_probe
from decathlon.running.run import Run, Trial
from decathlon.running.trial_folder import TrialFolder
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.decisions import evaluate_control, policy_of
from decathlon.training.distributed.groups import process_group
from decathlon.training.evaluation import Evaluation, evaluate
from decathlon.training.feed import Feed, statistics_of
from decathlon.training.frozen import FrozenBeginning
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
    folder, method = TrialFolder(run, trial), run.method_of(trial)
    fabric = run.config.compute.fabric(outline(run.source.architecture))
    memory = PeakMemory(fabric.device)
    # Opened before the training: missing data is reported now, not hours later, and a file
    # that is removed meanwhile stays readable.
    held_out = {d: feed_of(run, trial, d, fabric, training=False) for d in trial.domains}
    checkpoints = _checkpoints(folder, fabric)
    started, chosen = time.perf_counter(), dict[str, Any]()
    if trial.kept:
        part_of: dict[str, nn.Module] = dict.fromkeys(trial.domains, run.source.network())
    elif folder.trainer is not None:
        part_of = {d: _loaded(folder.trainer, d, method) for d in trial.domains}
        started = time.perf_counter()
    elif isinstance(method, Probe):
        probed, chosen = _probed(run, trial, fabric)
        part_of = {trial.domains[0]: probed}
    else:
        network = _trained(folder, fabric, checkpoints, on_epoch)
        part_of = {d: method.part(network, d) for d in trial.domains}
    trained = time.perf_counter()
    trunk = None
    if method.scope == "joint" and fabric.is_global_zero:
        one = part_of[trial.domains[0]]
        trunk = keep_trunk(run.config.results, method, one, run.source)
    records = []
    for domain, feed in held_out.items():
        part = part_of[domain]
        result, logits = _evaluated(folder, part, feed, fabric)
        if not fabric.is_global_zero:
            continue
        timing = {
            "train_seconds": round(trained - started, 3),
            "evaluate_seconds": round(time.perf_counter() - trained, 3),
        }
        # A control answers what routing is worth; nobody would use it to predict.
        flops = None if folder.routing else flops_of_image(method, part, feed, fabric)
        parameters = _write_weights(folder, domain, part, trunk)
        digest = _write_predictions(folder, feed, result)
        record = _record(
            folder,
            domain,
            result,
            parameters=parameters,
            predictions=digest,
            environment=run.config.compute.environment(fabric),
            timing=timing,
            cost=Cost(flops=flops, peak_memory=memory.read()),
            chosen=chosen,
        )
        if logits is None:
            (folder.of(domain) / LOGITS).unlink(missing_ok=True)
        else:
            write_logits(folder.of(domain) / LOGITS, logits, record)
        write_record(run.config.results, record)
        records.append(record)
    if not trial.kept and fabric.is_global_zero:
        checkpoints.clear()
    return records


def _trained(
    folder: TrialFolder, fabric: Fabric, checkpoints: Checkpoints, on_epoch: Report
) -> nn.Module:
    """Builds and trains a trial's network, and writes the log."""
    run, trial, path = folder.run, folder.trial, folder.log
    feeds = [feed_of(run, trial, domain, fabric, training=True) for domain in trial.domains]
    network = build(run, trial, [feed.task for feed in feeds])
    resume = checkpoints.latest()
    if fabric.is_global_zero:
        epochs = int(resume.facts["epoch"]) if resume else 0
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        write_text(path, "".join(f"{line}\n" for line in lines[:epochs]))

    def report(facts: dict[str, Any]) -> None:
        if fabric.is_global_zero:
            append_line(path, json.dumps(facts))
        on_epoch(facts)

    seed, compiled = trial.seed, run.config.compute.compiled
    beginning = None
    if run.config.cache_frozen and len(feeds) == 1:
        beginning = FrozenBeginning(run.method, network, feeds[0])
    return train(
        run.method, network, feeds, fabric, seed, report, checkpoints, resume, compiled, beginning
    )


def _probed(run: Run, trial: Trial, fabric: Fabric) -> tuple[nn.Module, dict[str, Any]]:
    """Builds and fits a probe's network; returns it and what was chosen."""
    network = build(run, trial, [run.task(trial, domain) for domain in trial.domains])
    assert isinstance(network, ResidualNetwork)
    return network, fit_probe(run, trial, network, fabric)


def _evaluated(
    folder: TrialFolder, part: nn.Module, feed: Feed, fabric: Fabric
) -> tuple[Evaluation, Tensor | None]:
    """Evaluates one domain's network as the trial says; returns the logits too if asked to."""
    run, trial, method = folder.run, folder.trial, folder.run.method_of(folder.trial)
    if isinstance(method, Probe):
        assert isinstance(part, ResidualNetwork)
        return evaluate_probe(run, trial, part, fabric, feed.images.labels), None
    if (routing := folder.routing) is not None:
        policy = policy_of(method, part, feed, fabric)
        control, routes = routing.control, routing.routes
        return evaluate_control(method, part, feed, fabric, policy, control, routes), None
    if run.config.keep_logits:
        return evaluate_with_logits(method, part, feed, fabric)
    return evaluate(method, part, feed, fabric), None


def _loaded(trainer: TrialFolder, domain: str, method: Method) -> nn.Module:
    """Loads the network that another method's trial has trained."""
    return load_trained(trainer.of(domain) / WEIGHTS, type(method))


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


def _checkpoints(folder: TrialFolder, fabric: Fabric) -> Checkpoints:
    """Returns a trial's checkpoints; those of another recipe, data, source or code do not fit."""
    config = folder.run.config
    identity = folder.identity() | config.compute.numerics(fabric)
    if config.cache_frozen:  # the last bits may depend on it
        identity["cache_frozen"] = True
    when = config.checkpointing
    return Checkpoints(folder.checkpoints, identity, when.seconds, when.steps)


def feed_of(
    run: Run, trial: Trial, domain: str, fabric: Fabric, training: bool, size: int = 0
) -> Feed:
    """Opens the images of a trial's domain to train on, or to evaluate on.

    Args:
        run: What the trial belongs to.
        trial: The trial.
        domain: One of its domains.
        fabric: The device.
        training: Whether to train on them.
        size: Images in a batch; 0 for the recipe's.
    """
    splits = run.trained_on(domain) if training else (trial.split,)
    view = run.method_of(trial).view(run.task(trial, domain), training)
    size = size or run.method.recipe.batch_size
    subset = trial.subset if training else None
    return Feed(
        run.store, domain, splits, view, size, trial.seed, fabric.device, world(),
        subset=subset, crop=run.config.crop, made_for=run.source.architecture.family.input,
        crops=run.method.recipe.crops,
    )  # fmt: skip


def _write_weights(
    folder: TrialFolder, domain: str, network: nn.Module, trunk: str | None
) -> Parameters:
    """Writes a domain's network, unless another trial keeps it; returns what it takes."""
    run, path = folder.run, folder.of(domain) / WEIGHTS
    source, method = run.source, run.method
    application = _application(run, folder.trial, domain)
    if folder.trial.kept:
        save_kept(path, source, application)
        bits = source.count_bits()
        return Parameters(source=bits, shared=bits, domain=0, head=0, unit=source.unit_bits())
    if folder.routing is None:
        tasks = [run.task(folder.trial, domain)]
        save_trained(path, method, network, source, tasks, trunk, run.code, application)
    else:
        path.unlink(missing_ok=True)
    return count_parameters(method, network, source)


def _application(run: Run, trial: Trial, domain: str) -> Application:
    """Describes how a trial's network is applied to images, as its feed does in evaluation."""
    view = run.method_of(trial).view(run.task(trial, domain), training=False)
    seen = statistics_of(run.store, domain, run.source.architecture.family.input)
    return Application.of(run.store, domain, view, seen.mean, seen.std)


def _write_predictions(folder: TrialFolder, feed: Feed, result: Evaluation) -> str:
    """Writes predictions and routing, and returns the SHA-256 of the predictions' file."""
    first = folder.run.store.domains[feed.domain].first_category
    ids = feed.images.image_ids.tolist()
    predictions = [
        {"image_id": image, "category_id": first + label}
        for image, label in zip(ids, result.predicted.tolist(), strict=True)
    ]
    path = folder.of(feed.domain) / PREDICTIONS
    write_json(path, predictions, indent=None)
    if result.routing is not None:
        rows = ["".join(map(str, row)) for row in result.routing.tolist()]
        routing = {"blocks": result.routing.shape[1], "images": rows}
        write_json(path.with_name(ROUTING), routing)
    else:
        path.with_name(ROUTING).unlink(missing_ok=True)
    return sha256(path)


def _record(folder: TrialFolder, domain: str, result: Evaluation, **facts: Any) -> RunRecord:
    """Describes a domain's result; ``facts`` are more fields of the record."""
    run, trial, correct = folder.run, folder.trial, result.correct
    info = run.store.domains[domain]
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
        threads=torch.get_num_threads(),
        suite=run.store.suite.name,
        num_trained=None if trial.kept else run.task(trial, domain).num_images,
        **facts,
        **folder.expected(domain)
        | {"network": run.source.architecture.as_json(), "routing": folder.routing}
        | {"code": None if trial.kept else run.code, "selection": folder.selection},
    )
