"""Commands that train: methods, pretrain, import-weights, run, demo."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from decathlon.commands.options import (
    Checkpoint,
    CheckpointSteps,
    Compile,
    Data,
    Device,
    Domains,
    Precision,
    Settings,
    SyncBN,
    Tensorboard,
    Threads,
    TrainedSplit,
    check_launcher,
    check_out,
    check_split,
    number,
)
from decathlon.files import CHECKPOINT_SECONDS, check_folder
from decathlon.progress import say
from decathlon.scoring.escape import visible, visible_lines


def methods() -> None:
    """List the installed methods, including those from other packages."""
    from rich.console import Console

    from decathlon.listing import methods_table

    console = Console()
    console.print(methods_table(console.width))


def pretrain(
    out: Annotated[Path, typer.Option(help="Weights file to write (.safetensors).")],
    data: Data = None,
    method: Annotated[
        str, typer.Option(help="Method whose kind of source network is trained.")
    ] = "fine-tuning",
    split: TrainedSplit = "val",
    width: Annotated[float, number(0.05, 32, help="Factor on channel numbers.")] = 1.0,
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
        typer.Option("--force", help="Overwrite the file, and checkpoints of another training."),
    ] = False,
) -> None:
    """Train the source network on imagenet12.

    A finished file is not trained again, and an interrupted training resumes: its checkpoints are
    kept beside the file until that is written. A file of another recipe, data or code is never
    overwritten without --force.
    torchrun --nproc-per-node=N -m decathlon pretrain ... trains with N processes.
    """
    from decathlon import pretraining
    from decathlon.data.bus import bus_error_says, cut_short
    from decathlon.data.store import data_folder, open_store
    from decathlon.domains import SOURCE_DOMAIN
    from decathlon.faults import telling
    from decathlon.method import find
    from decathlon.models.processes import rank
    from decathlon.models.weights import check_name
    from decathlon.plan import notes_on_splits
    from decathlon.progress import progress
    from decathlon.recipes import apply, parse_settings
    from decathlon.track import Curves, check_tensorboard
    from decathlon.training.device import Compute
    from decathlon.training.team import assemble, united

    check_split(split)
    folder = data_folder(data)
    check_name(out)
    check_out(out, folder)
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    chosen = find(method)()
    recipe = apply({"paper": pretraining.RECIPE}, parse_settings(settings or []), "pretraining")
    compute = Compute(device, precision, threads, sync_bn, compiled)
    assemble(compute)
    store = open_store(folder)
    _tell(notes_on_splits(store, [SOURCE_DOMAIN], split))
    curves = None if tensorboard is None or rank() > 0 else Curves(tensorboard / out.stem)
    with (
        united(),
        telling(out.parent, recipe.batch_size),
        bus_error_says(cut_short("pretraining", folder)),
        progress("pretraining", recipe.epochs, "epochs") as bar,
    ):

        def report(facts: dict[str, Any]) -> None:
            bar.advance(1, f"loss {facts['loss']:.3f}, {facts['images_per_s']:.0f} images/s")
            if curves is not None:
                curves.epoch(facts)

        done = pretraining.pretrain(
            store,
            out,
            method=chosen,
            method_name=method,
            recipe=recipe,
            width=width,
            seed=seed,
            split=split,
            compute=compute,
            report=report,
            checkpoint_seconds=checkpoint,
            checkpoint_steps=checkpoint_steps,
            force=force,
        )
    if curves is not None:
        curves.accuracy(done.accuracy)
        curves.close()
    known = f"{done.accuracy:.2f} % on {split}" if done.accuracy is not None else "labels unknown"
    name = visible(str(out))
    if done.seconds is None:
        print(f"{name}: is finished already ({known}); --force trains it again")
    else:
        print(f"{name}: {known}, trained in {done.seconds:.0f} s")


def import_weights(
    source: Annotated[Path, typer.Argument(help="The authors' checkpoint (.t7, .pth).")],
    out: Annotated[Path, typer.Argument(help="Weights file to write (.safetensors).")],
    task: Annotated[
        int, typer.Option(min=0, help="Which task, of a checkpoint that holds several.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file of other weights.")
    ] = False,
) -> None:
    """Convert a checkpoint of the reference codes, running nothing in it."""
    from decathlon.models.import_weights import import_weights as run
    from decathlon.models.import_weights import is_imported
    from decathlon.models.weights import check_name

    check_name(out)
    check_out(out, source)
    if not force and is_imported(source, out, task):
        print(f"{visible(str(out))}: holds these weights already; --force converts them again")
    else:
        print(visible_lines(str(run(source, out, task))))


def run(
    method: Annotated[
        list[str],
        typer.Option(help="Method to run, see 'decathlon methods'; may be repeated, or is 'all'."),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Source network, from 'pretrain' or 'import-weights'; METHOD=FILE for one of"
            " several methods."
        ),
    ] = None,
    data: Data = None,
    results: Annotated[Path, typer.Option(help="Folder that records are written to.")] = Path(
        "results"
    ),
    domain: Domains = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seed; may be repeated (default: 0).")
    ] = None,
    split: TrainedSplit = "test",
    name: Annotated[str | None, typer.Option(help="Name of a variant in the results.")] = None,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: Threads = 0,
    sync_bn: SyncBN = False,
    compiled: Compile = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trials and estimate their time; no more.")
    ] = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
    checkpoint_steps: CheckpointSteps = 0,
    tensorboard: Tensorboard = None,
    launcher: Annotated[
        str, typer.Option(help="local: one trial after the other. ray: on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster (default: this machine's).")
    ] = None,
    gpus: Annotated[
        float | None,
        number(minimum=0, help="With ray: GPUs a trial, such as 0.5 (default: 1 if any)."),
    ] = None,
) -> None:
    """Train methods on the domains, evaluate them, and write records.

    Finished trials are skipped; interrupted ones resume. A trial that fails does not stop the
    others; failures and their reasons are listed at the end. --set with an unknown setting
    lists those of the method. torchrun --nproc-per-node=N -m decathlon run ... trains every
    network with N processes, each on a part of every batch.
    """
    from decathlon.cluster import Cluster, execute_on
    from decathlon.data.store import data_folder
    from decathlon.errors import TrialError
    from decathlon.faults import exit_code
    from decathlon.interrupts import ending
    from decathlon.plan import notes_on_splits
    from decathlon.request import Order, chosen
    from decathlon.survey import check_unmixed, survey
    from decathlon.teamwork import perform
    from decathlon.track import TrackedWatch, check_tensorboard
    from decathlon.training.device import Compute
    from decathlon.training.team import assemble, call, one_fate
    from decathlon.watch import stopped, summarise, watching

    check_split(split)
    check_launcher(launcher, address, gpus, dry_run=dry_run)
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    methods = chosen(method)  # a wrong name is reported before data is looked for
    own = threads or (1 if launcher == "ray" else 0)
    compute = Compute(device, precision, own, sync_bn, compiled)
    if launcher == "local":
        compute.fabric()  # reports a missing device before anything is planned
        assemble(compute)
    order = Order(
        methods=tuple(methods),
        sources=tuple(source or ()),
        data=data_folder(data),
        results=results,
        domains=tuple(domain or ()),
        split=split,
        seeds=tuple(seed or (0,)),
        name=name,
        settings=tuple(settings or ()),
        compute=compute,
        force=force,
        checkpoint_seconds=checkpoint,
        checkpoint_steps=checkpoint_steps,
    )
    with one_fate():
        runs = order.runs()
        work = survey(runs)
    _tell(notes_on_splits(runs[0].store, runs[0].domains, split))
    if dry_run:
        from decathlon.preview import preview

        preview(work)
        check_unmixed(work)
        return
    since = time.time()
    try:
        with watching() as watch:
            told = watch if tensorboard is None else TrackedWatch(watch, tensorboard)
            if launcher == "ray":
                failures = execute_on(Cluster(address, gpus), order, work, told)
            else:
                failures = perform(work, told)
    except (KeyboardInterrupt, TrialError):  # the latter if a cluster is lost
        ending()
        stopped(work, since)
        raise
    summarise(failures, len(work))
    raise typer.Exit(call(exit_code(failures, all_failed=len(failures) == len(work))))


def _tell(notes: list[str]) -> None:
    """Prints notes on standard error, once if several processes share the work."""
    from decathlon.models.processes import rank

    if rank() == 0:
        for note in notes:
            say(visible(note))


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data and results.")] = Path("out/demo"),
    scale: Annotated[float, number(0.02, 1000, help="Factor on images and epochs.")] = 1.0,
) -> None:
    """Go the whole way, from archives to the table, on generated data."""
    from decathlon.demo.tour import tour

    check_folder(out)
    tour(out, scale)
