"""The command that evaluates a source network without training it: probe."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from decathlon.commands.options import (
    Data,
    Device,
    Domains,
    Draws,
    Force,
    Fraction,
    Name,
    Precision,
    Shots,
    Threads,
    TrainedSplit,
    check_split,
)
from decathlon.commands.training import carry_out, print_notes
from decathlon.common.errors import UsageError

LINEAR, NEIGHBOURS = "linear-probe", "knn"
"""The probes, as they are registered."""
DEFAULT_K = 20


def probe(
    source: Annotated[
        Path | None, typer.Option(help="Source network from 'pretrain' or 'import-weights'.")
    ] = None,
    data: Data = None,
    results: Annotated[Path, typer.Option(help="Results folder.")] = Path("results"),
    domain: Domains = None,
    split: TrainedSplit = "test",
    linear: Annotated[
        bool, typer.Option("--linear", help="Only the linear probe, unless --knn is there too.")
    ] = False,
    knn: Annotated[
        int | None,
        typer.Option(min=1, help=f"Only kNN with so many neighbours (default: both, {DEFAULT_K})."),
    ] = None,
    shots: Shots = None,
    fraction: Fraction = None,
    draw: Draws = None,
    name: Name = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither read nor write RESULTS/features.")
    ] = False,
    precision: Precision = "32",
    device: Device = "auto",
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Evaluate the features of a frozen source network: linear probe and nearest neighbours.

    Features are computed once per domain and split and kept in RESULTS/features. The results are
    records like those of 'run', named linear-probe and knn. Finished ones are skipped.
    """
    from decathlon.data.reading.store import data_folder
    from decathlon.running.config import RunConfig, subsets_of
    from decathlon.running.resolve import resolve
    from decathlon.running.splits import notes_on_splits
    from decathlon.running.survey import survey
    from decathlon.training.device import Compute

    check_split(split)
    asked: dict[str, tuple[str, ...]] = {LINEAR: ()} if linear or knn is None else {}
    if knn is not None or not linear:
        asked[NEIGHBOURS] = (f"k={knn or DEFAULT_K}",)
    if name is not None and len(asked) > 1:
        raise UsageError(
            f"--name '{name}' cannot be the name of both probes; add --linear or --knn {DEFAULT_K}"
        )
    compute = Compute(device, precision, threads)
    compute.fabric()  # reports a missing device before anything is planned
    config = RunConfig(
        (),
        data_folder(data),
        results,
        sources=() if source is None else (str(source),),
        domains=tuple(domain or ()),
        split=split,
        subsets=subsets_of(shots, fraction, draw or ()),
        name=name,
        compute=compute,
        force=force,
        cache_features=not no_cache,
    )
    runs = [
        run
        for method, settings in asked.items()
        for run in resolve(replace(config, methods=(method,), settings=settings))
    ]
    states = survey(runs)
    print_notes(notes_on_splits(runs[0].store, runs[0].config.domains, split))
    raise typer.Exit(carry_out(runs, states))
