"""Commands that train: methods, networks, pretrain, import-weights, run, demo."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decathlon.commands.options import (
    CacheFrozen,
    Checkpoint,
    CheckpointSteps,
    Compile,
    Data,
    Device,
    Domains,
    Draws,
    Force,
    Fraction,
    Name,
    Precision,
    Settings,
    Shots,
    SyncBN,
    Tensorboard,
    Threads,
    TrainedSplit,
    check_launcher,
    check_out,
    check_split,
    checked_crop,
    number,
)
from decathlon.common.files import CHECKPOINT_SECONDS, check_folder
from decathlon.common.progress import say
from decathlon.common.text import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from decathlon.running.events import Listener
    from decathlon.running.faults import Failure
    from decathlon.running.run import Run
    from decathlon.running.survey import TrialState

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
    from decathlon.running.tensorboard import Curves, check_tensorboard
    from decathlon.training.device import Compute
    from decathlon.training.distributed.groups import init_processes, process_group

    check_split(split)
    folder = data_folder(data)
    check_out(out, folder)
    check_name(out)
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    find(method)  # a wrong name is reported before data is looked for
    recipe = apply({"paper": RECIPE}, parse_settings(settings or []), "pretraining")
    compute = Compute(device, precision, threads, sync_bn, compiled)
    init_processes(compute)
    store, when = open_store(folder), Checkpointing(checkpoint, checkpoint_steps)
    config = Pretraining(store, out, method, recipe, width, seed, split, compute, when, force)
    print_notes(notes_on_splits(store, [config.domain], split))
    curves = None if tensorboard is None or rank() > 0 else Curves(tensorboard / out.stem)
    with (
        process_group(),
        with_reason(out.parent, recipe.batch_size),
        bus_error_says(cut_short("pretraining", folder)),
        progress("pretraining", config.epochs, "epochs") as bar,
    ):

        def report(facts: dict[str, Any]) -> None:
            bar.advance(1, f"loss {facts['loss']:.3f}, {facts['images_per_s']:.0f} images/s")
            if curves is not None:
                curves.epoch(facts)

        done = run(config, report)
    if curves is not None:
        curves.accuracy(done.accuracy)
        curves.close()
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
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Source network from 'pretrain' or 'import-weights'. METHOD=FILE is for one"
            " method only."
        ),
    ] = None,
    data: Data = None,
    results: Annotated[Path, typer.Option(help="Results folder.")] = Path("results"),
    domain: Domains = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seed (default: 0). Repeat for several.")
    ] = None,
    split: TrainedSplit = "test",
    shots: Shots = None,
    fraction: Fraction = None,
    draw: Draws = None,
    crop: Annotated[
        str,
        typer.Option(help="image, or box: cut images to bounding boxes, in domains that have them"),
    ] = "image",
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
    name: Name = None,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: Threads = 0,
    sync_bn: SyncBN = False,
    compiled: Compile = False,
    cache_frozen: CacheFrozen = False,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the trials and estimate their time.")
    ] = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
    checkpoint_steps: CheckpointSteps = 0,
    tensorboard: Tensorboard = None,
    launcher: Annotated[
        str, typer.Option(help="local: one trial after another. ray: on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster (default: one on this machine).")
    ] = None,
    gpus: Annotated[
        float | None,
        number(
            minimum=0, help="GPUs per trial with Ray, such as 0.5 (default: 1 if there are any)."
        ),
    ] = None,
) -> None:
    """Train and evaluate methods on the domains, and write records.

    Finished trials are skipped; interrupted ones resume. A failed trial does not stop the
    others; failures are listed at the end. An unknown --set lists the method's settings.
    torchrun --nproc-per-node=N -m decathlon run ... trains each network with N processes that
    share every batch.
    """
    from decathlon.data.reading.store import data_folder
    from decathlon.models.processes import num_processes
    from decathlon.running.config import Checkpointing, RunConfig, routing_of, subsets_of
    from decathlon.running.crops import notes_on_crop
    from decathlon.running.dry_run import preview
    from decathlon.running.events import to_all
    from decathlon.running.execution import execute
    from decathlon.running.launchers.ray import Cluster, execute_on
    from decathlon.running.launchers.torchrun import execute_together
    from decathlon.running.resolve import ALL, methods_named, resolve
    from decathlon.running.splits import notes_on_splits
    from decathlon.running.survey import check_unmixed, survey
    from decathlon.running.tensorboard import TrialCurves, check_tensorboard
    from decathlon.training.device import Compute
    from decathlon.training.distributed.groups import (
        broadcast_or_exit,
        fail_together,
        init_processes,
    )

    check_split(split)
    check_launcher(launcher, address, gpus, dry_run=dry_run)
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    subsets = subsets_of(shots, fraction, draw or ())
    control, num_routes = routing_of(routing, routes)
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
        name=name,
        settings=tuple(settings or ()),
        compute=compute,
        checkpointing=Checkpointing(checkpoint, checkpoint_steps),
        force=force,
        cache_frozen=cache_frozen,
    )
    with fail_together():
        notes: list[str] = []
        runs = resolve(config, notes.append if ALL in method else None)
        states = survey(runs)
    store, domains = runs[0].store, runs[0].config.domains
    print_notes([*notes, *notes_on_splits(store, domains, split)])
    print_notes(notes_on_crop(store, domains, config.crop))
    if dry_run:
        preview(states)
        check_unmixed(states)
        return

    def launch(shown: "Listener") -> "list[Failure]":
        listener = shown if tensorboard is None else to_all(TrialCurves(tensorboard), shown)
        if launcher == "ray":
            return execute_on(Cluster(address, gpus), config, states, listener)
        if num_processes() > 1:
            return execute_together(states, listener)
        return execute(states, listener)

    raise typer.Exit(broadcast_or_exit(carry_out(runs, states, launch)))


def carry_out(
    runs: "list[Run]",
    states: "list[TrialState]",
    launch: "Callable[[Listener], list[Failure]]",
) -> int:
    """Runs trials before the user's eyes, and says what to do next.

    Args:
        runs: What was asked for.
        states: Their trials.
        launch: Runs them, with what shows them.

    Returns:
        The exit code.
    """
    from decathlon.common.errors import TrialError
    from decathlon.common.interrupts import ending
    from decathlon.running.display import display, say_interrupted, summarise
    from decathlon.running.faults import exit_code

    since = time.time()
    try:
        with display() as shown:
            failures = launch(shown)
    except (KeyboardInterrupt, TrialError):  # the latter if a cluster is lost
        ending()
        say_interrupted(states, since)
        raise
    summarise(failures, len(states))
    if len(failures) < len(states):
        _suggest_score(runs)
    return exit_code(failures, all_failed=len(failures) == len(states))


def _suggest_score(runs: "list[Run]") -> None:
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
