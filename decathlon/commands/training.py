"""Commands that train: methods, pretrain, import-weights, run, demo."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from decathlon.commands.options import (
    Checkpoint,
    Data,
    Device,
    Domains,
    Precision,
    Settings,
    SyncBN,
    TrainedSplit,
    check_split,
)
from decathlon.files import CHECKPOINT_SECONDS


def methods() -> None:
    """List the methods that can be run, strangers' included."""
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
    width: Annotated[float, typer.Option(min=0.05, help="Factor on channel numbers.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 0,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    sync_bn: SyncBN = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
) -> None:
    """Train the source network on imagenet12.

    What was interrupted goes on: its checkpoints are kept beside the file until it is there.
    torchrun --nproc-per-node=N -m decathlon pretrain ... trains with N processes.
    """
    from decathlon import pretraining
    from decathlon.data.store import data_folder, open_store
    from decathlon.method import find
    from decathlon.progress import progress
    from decathlon.recipes import apply, parse_settings
    from decathlon.training.device import Compute
    from decathlon.training.team import assemble, united

    check_split(split)
    chosen = find(method)()
    recipe = apply({"paper": pretraining.RECIPE}, parse_settings(settings or []), "pretraining")
    compute = Compute(device, precision, sync_bn)
    assemble(compute)
    with united(), progress("pretraining", recipe.epochs, "epochs") as bar:
        done = pretraining.pretrain(
            open_store(data_folder(data)),
            out,
            method=chosen,
            method_name=method,
            recipe=recipe,
            width=width,
            seed=seed,
            split=split,
            compute=compute,
            report=lambda facts: bar.advance(
                1, f"loss {facts['loss']:.3f}, {facts['images_per_s']:.0f} images/s"
            ),
            checkpoint_seconds=checkpoint,
        )
    known = f"{done.accuracy:.2f} % on {split}" if done.accuracy is not None else "labels unknown"
    print(f"{out}: {known}, trained in {done.seconds:.0f} s")


def import_weights(
    source: Annotated[Path, typer.Argument(help="The authors' checkpoint (.t7, .pth).")],
    out: Annotated[Path, typer.Argument(help="Weights file to write (.safetensors).")],
    task: Annotated[
        int, typer.Option(min=0, help="Which task, of a checkpoint that holds several.")
    ] = 0,
) -> None:
    """Convert a checkpoint of the reference codes, running nothing in it."""
    from decathlon.models.import_weights import import_weights as run

    print(run(source, out, task))


def run(
    method: Annotated[str, typer.Option(help="Method to run; see 'decathlon methods'.")],
    source: Annotated[
        Path | None, typer.Option(help="Source network, from 'pretrain' or 'import-weights'.")
    ] = None,
    data: Data = None,
    results: Annotated[Path, typer.Option(help="Folder that records are written to.")] = Path(
        "results"
    ),
    domain: Domains = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seed; may be repeated [default: 0].")
    ] = None,
    split: TrainedSplit = "test",
    name: Annotated[str | None, typer.Option(help="Name of a variant in the results.")] = None,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    sync_bn: SyncBN = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
) -> None:
    """Train a method on the domains, evaluate it, and write records.

    What is finished is skipped, what was interrupted goes on. A method's settings are
    listed when an unknown one is --set. torchrun --nproc-per-node=N -m decathlon run ...
    trains every network with N processes, each of which has a part of every batch.
    """
    from decathlon.data.store import data_folder, open_store
    from decathlon.method import about
    from decathlon.request import request
    from decathlon.teamwork import perform
    from decathlon.training.device import Compute
    from decathlon.training.team import assemble, one_fate
    from decathlon.watch import watching

    check_split(split)
    about(method)  # a wrong name is said before data are looked for
    compute = Compute(device, precision, sync_bn)
    assemble(compute)
    with one_fate():
        wanted = request(
            method,
            store=open_store(data_folder(data)),
            source=source,
            results=results,
            domains=domain,
            split=split,
            seeds=seed or [0],
            name=name,
            settings=settings or [],
            compute=compute,
            force=force,
            checkpoint_seconds=checkpoint,
        )
    with watching() as watch:
        failed = perform(wanted, watch)
    if failed:
        names = "\n".join(f"  {trial}" for trial in failed)
        print(f"{len(failed)} trials failed:\n{names}", file=sys.stderr)
        raise typer.Exit(1)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for data and results.")] = Path("out/demo"),
    scale: Annotated[float, typer.Option(min=0.02, help="Factor on images and epochs.")] = 1.0,
) -> None:
    """Go the whole way, from archives to the table, on generated data."""
    from decathlon.demo.tour import tour

    tour(out, scale)
