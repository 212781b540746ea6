"""Commands that train: methods, networks, pretrain, import-weights, run, demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decathlon.commands.options import (
    Address,
    CacheFrozen,
    Checkpoint,
    CheckpointSteps,
    Compile,
    CutFrom,
    Data,
    Device,
    Domains,
    Draws,
    DryRun,
    Force,
    Fraction,
    Gpus,
    KeepLogits,
    Launcher,
    Name,
    Precision,
    ResultsFolder,
    Seeds,
    Settings,
    Shots,
    Sources,
    SyncBN,
    Tensorboard,
    Threads,
    Track,
    TrainedSplit,
    check_launcher,
    check_out,
    check_split,
    checked_crop,
    number,
    tracked,
)
from decathlon.common.files import CHECKPOINT_SECONDS, check_folder
from decathlon.common.progress import say
from decathlon.common.text import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decathlon.running.launchers.ray import Cluster
    from decathlon.running.run import Run
    from decathlon.running.survey import TrialState
    from decathlon.running.tracking import Tracker

BASELINE = "fine-tuning"
"""The method whose errors define E_max, as in the literature."""


def methods() -> None:
    """List the installed methods, including those from other packages."""
    from rich.console import Console

    from decathlon.commands.listing import methods_table

    console = Console()
    console.print(methods_table(console.width))


def networks(
    name: Annotated[
        str | None,
        typer.Argument(help="One network, such as timm:resnet34 (default: all registered ones)."),
    ] = None,
) -> None:
    """List the installed networks, including those from other packages."""
    from rich.console import Console

    from decathlon.commands.listing import networks_table

    Console().print(networks_table(name))


def pretrain(
    out: Annotated[Path, typer.Option(help="Weights file to write (.safetensors).")],
    data: Data = None,
    method: Annotated[
        str,
        typer.Option(
            help="Method to train a source network for; most share one, without adapters."
        ),
    ] = "fine-tuning",
    split: TrainedSplit = "val",
    width: Annotated[float, number(0.05, 32, help="Multiplies the number of channels.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 0,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: Threads = 0,
    sync_bn: SyncBN = False,
    compiled: Compile = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
    checkpoint_steps: CheckpointSteps = 0,
    track: Track = None,
    tensorboard: Tensorboard = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite the file and any checkpoints beside it."),
    ] = False,
) -> None:
    """Train a source network on the domain that the suite names for it.

    A finished network is not trained again. An interrupted training resumes from the
    checkpoints beside the file. A file that was made differently is only overwritten with
    --force.
    torchrun --nproc-per-node=N -m decathlon pretrain ... trains with N processes.
    """
    from decathlon.common.progress import progress, say_next
    from decathlon.data.bus import bus_error_says, cut_short
    from decathlon.data.reading.store import data_folder, open_store
    from decathlon.method.recipe import apply, parse_settings
    from decathlon.method.registry import find
    from decathlon.models.processes import rank
    from decathlon.models.weights import check_name
    from decathlon.running.config import Checkpointing
    from decathlon.running.faults import with_reason
    from decathlon.running.pretraining import Pretraining
    from decathlon.running.pretraining import pretrain as run
    from decathlon.running.source_training import RECIPE
    from decathlon.running.splits import notes_on_splits
    from decathlon.running.tracking import trackers_of
    from decathlon.training.device import Compute
    from decathlon.training.distributed.groups import init_processes, process_group

    check_split(split)
    folder = data_folder(data)
    check_out(out, folder)
    check_name(out)
    trackers = trackers_of(tracked(track, tensorboard))
    find(method)  # a wrong name is reported before data is looked for
    recipe = apply({"paper": RECIPE}, parse_settings(settings or []), "pretraining")
    compute = Compute(device, precision, threads, sync_bn, compiled)
    init_processes(compute)
    store, when = open_store(folder), Checkpointing(checkpoint, checkpoint_steps)
    config = Pretraining(store, out, method, recipe, width, seed, split, compute, when, force)
    print_notes(notes_on_splits(store, [config.domain], split))
    if rank() > 0:
        trackers = []
    asked = {"method": method, "width": width, "split": split, "seed": seed}
    asked["recipe"] = recipe.as_json()
    with (
        process_group(),
        with_reason(out.parent, recipe.batch_size),
        bus_error_says(cut_short("pretraining", folder)),
        progress("pretraining", config.epochs, "epochs") as bar,
    ):

        def report(facts: dict[str, Any]) -> None:
            bar.advance(1, f"loss {facts['loss']:.3f}, {facts['images_per_s']:.0f} images/s")
            for tracker in trackers:
                tracker.epoch(out.stem, facts, asked)

        done = run(config, report)
    for tracker in trackers if done.seconds is not None else ():
        tracker.accuracy(out.stem, done.accuracy, config.epochs, asked)
    known = f"accuracy unknown, as the data has no labels for {config.domain} {split}"
    if done.accuracy is not None:
        known = f"{done.accuracy:.2f} % on {config.domain} {split}"
    took = "already finished; --force trains it again"
    if done.seconds is not None:
        took = f"trained in {done.seconds:.0f} s"
    print(f"{visible(str(out))}: {took} ({known})")
    say_next("run", "--method", method, "--source", out, "--data", folder, "--split", split)


def import_weights(
    source: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint (.t7, .pth, .safetensors). With --from-package, the file to write.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(help="Weights file to write (.safetensors).", show_default=False),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="The network, such as timm:resnet18 (default: recognise it); see 'decathlon"
            " networks'."
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(
            "--from-package",
            metavar="NAME",
            help="Take the weights from an installed package, such as efficientnet-lite0.",
        ),
    ] = None,
    task: Annotated[
        int, typer.Option(min=0, help="Task to convert, from 0, if the checkpoint has several.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file even if it holds other weights.")
    ] = False,
) -> None:
    """Convert a checkpoint of the authors' code, torchvision or timm. Nothing in it is executed."""
    from decathlon.common.errors import UsageError
    from decathlon.models.reference.importing import import_weights as run
    from decathlon.models.reference.importing import is_imported
    from decathlon.models.reference.packages import packaged
    from decathlon.models.weights import check_name

    if package is not None:
        if out is not None or network is not None:
            raise UsageError("with --from-package, name only the file to write")
        out, (source, network) = source, packaged(package)
    if out is None:
        raise UsageError(f"{source}: name the file to write after the checkpoint")
    check_out(out, source)
    check_name(out)
    if not force and is_imported(source, out, task, network):
        print(f"{visible(str(out))}: holds these weights already; --force converts them again")
    else:
        print(visible_lines(str(run(source, out, task, network))))


def run(
    method: Annotated[
        list[str],
        typer.Option(help="Method to run, or 'all'; see 'decathlon methods'. Repeat for several."),
    ],
    source: Sources = None,
    data: Data = None,
    results: ResultsFolder = Path("results"),
    domain: Domains = None,
    seed: Seeds = None,
    split: TrainedSplit = "test",
    shots: Shots = None,
    fraction: Fraction = None,
    draw: Draws = None,
    crop: CutFrom = "image",
    routing: Annotated[
        str | None,
        typer.Option(
            help="Train nothing: evaluate finished trials with other decisions. learned, sampled,"
            " shuffled, mean, tuned, frozen or random."
        ),
    ] = None,
    routes: Annotated[
        int | None,
        typer.Option(help="Average so many draws of --routing sampled or random (default: 1)."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(help="Name of the results that --routing evaluates (default: the method's)."),
    ] = None,
    name: Name = None,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: Threads = 0,
    sync_bn: SyncBN = False,
    compiled: Compile = False,
    cache_frozen: CacheFrozen = False,
    keep_logits: KeepLogits = False,
    force: Force = False,
    dry_run: DryRun = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
    checkpoint_steps: CheckpointSteps = 0,
    track: Track = None,
    tensorboard: Tensorboard = None,
    launcher: Launcher = "local",
    address: Address = None,
    gpus: Gpus = None,
) -> None:
    """Train and evaluate methods on the domains, and write records.

    Finished trials are skipped; interrupted ones resume. A failed trial does not stop the
    others; failures are listed at the end. An unknown --set lists the method's settings.
    torchrun --nproc-per-node=N -m decathlon run ... trains each network with N processes that
    share every batch.
    """
    from decathlon.data.reading.store import data_folder
    from decathlon.running.config import Checkpointing, RunConfig, routing_of, subsets_of
    from decathlon.running.crops import notes_on_crop
    from decathlon.running.dry_run import preview
    from decathlon.running.launchers.ray import Cluster
    from decathlon.running.resolve import ALL, methods_named, resolve
    from decathlon.running.splits import notes_on_splits
    from decathlon.running.survey import check_unmixed, notes_on_logits, survey
    from decathlon.running.tracking import trackers_of
    from decathlon.training.device import Compute
    from decathlon.training.distributed.groups import (
        broadcast_or_exit,
        fail_together,
        init_processes,
    )

    check_split(split)
    check_launcher(launcher, address, gpus, dry_run=dry_run)
    trackers = trackers_of(tracked(track, tensorboard))
    subsets = subsets_of(shots, fraction, draw or ())
    control, num_routes = routing_of(routing, routes, of)
    methods = methods_named(method)  # a wrong name is reported before data is looked for
    own = threads or (1 if launcher == "ray" else 0)
    compute = Compute(device, precision, own, sync_bn, compiled)
    if launcher == "local":
        compute.fabric()  # reports a missing device before anything is planned
        init_processes(compute)
    config = RunConfig(
        methods,
        data_folder(data),
        results,
        sources=tuple(source or ()),
        domains=tuple(domain or ()),
        split=split,
        seeds=tuple(seed or (0,)),
        subsets=subsets,
        crop=checked_crop(crop),
        routing=control,
        routes=num_routes,
        of=of,
        name=name,
        settings=tuple(settings or ()),
        compute=compute,
        checkpointing=Checkpointing(checkpoint, checkpoint_steps),
        force=force,
        cache_frozen=cache_frozen,
        keep_logits=keep_logits,
    )
    with fail_together():
        notes: list[str] = []
        runs = resolve(config, notes.append if ALL in method else None)
        states = survey(runs)
    store, domains = runs[0].store, runs[0].config.domains
    notes += notes_on_splits(store, domains, split) + notes_on_logits(states)
    print_notes(notes)
    print_notes(notes_on_crop(store, domains, config.crop))
    if dry_run:
        preview(states)
        check_unmixed(states)
        return
    cluster = Cluster(address, gpus) if launcher == "ray" else None
    raise typer.Exit(broadcast_or_exit(carry_out(runs, states, cluster, trackers)))


def carry_out(
    runs: "list[Run]",
    states: "Sequence[TrialState]",
    cluster: "Cluster | None" = None,
    trackers: "Sequence[Tracker]" = (),
) -> int:
    """Runs trials before the user's eyes, and says what to do next.

    Args:
        runs: What was asked for.
        states: Their trials.
        cluster: Where to run them; None for this machine.
        trackers: Where their curves go.

    Returns:
        The exit code.
    """
    from decathlon.running.display import summarise
    from decathlon.running.faults import exit_code
    from decathlon.running.launchers.launch import launch

    failures = launch(states, cluster, trackers)
    summarise(failures, len(states))
    if len(failures) < len(states):
        suggest_score(runs)
    return exit_code(failures, all_failed=len(failures) == len(states))


def suggest_score(runs: "list[Run]") -> None:
    """Prints the command that shows the results of a run."""
    from decathlon.common.progress import say_next

    results, split = runs[0].config.results, runs[0].config.split
    words = [] if split == "test" else ["--split", split]
    store, domains = runs[0].store, runs[0].config.domains
    if store.suite.score and not all(store.domains[domain].official for domain in domains):
        known = (results / BASELINE).is_dir()
        routing = runs[0].routing
        own = runs[0].name if routing is None else routing.weights
        words += ["--baseline", BASELINE if known else own]
    say_next("score", results, *words)


def print_notes(notes: list[str]) -> None:
    """Prints notes on standard error; with torchrun, in the first process."""
    from decathlon.models.processes import rank

    if rank() == 0:
        for note in notes:
            say(visible(note))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data, weights and results.")] = Path(
        "out/demo"
    ),
    scale: Annotated[
        float, number(0.02, 1000, help="Multiplies the number of images and epochs.")
    ] = 1.0,
) -> None:
    """Try everything on generated images: from archives to the leaderboard."""
    from decathlon.demo.tour import tour

    check_folder(out)
    tour(out, scale)
