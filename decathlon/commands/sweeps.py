"""The command that chooses settings: sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    DryRun,
    Fraction,
    Gpus,
    Launcher,
    Precision,
    ResultsFolder,
    Seeds,
    Settings,
    Shots,
    Sources,
    Tensorboard,
    Threads,
    Track,
    check_launcher,
    checked_crop,
    tracked,
)
from decathlon.commands.training import carry_out, print_notes
from decathlon.common.errors import UsageError
from decathlon.common.files import CHECKPOINT_SECONDS
from decathlon.common.text import plural, visible

if TYPE_CHECKING:
    from decathlon.common.grid import Grid
    from decathlon.running.sweeping import Choice

LOST = "failed"


def sweep(
    method: Annotated[str, typer.Option(help="Method to run; see 'decathlon methods'.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="Values of a setting: FIELD=A,B,C. Repeat it, and every combination is tried."
        ),
    ] = None,
    draw: Annotated[
        list[str] | None,
        typer.Option(
            help="How a setting is drawn: FIELD=log:LOW:HIGH, lin:LOW:HIGH, int:LOW:HIGH or"
            " choice:A,B. Repeat for several; needs --trials."
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Number of points to draw.")
    ] = None,
    optuna: Annotated[
        bool,
        typer.Option(
            "--optuna", help="Let Optuna propose the points, after the accuracies so far."
        ),
    ] = False,
    per_domain: Annotated[
        bool,
        typer.Option(
            "--per-domain", help="Choose settings for each domain, not one point for all."
        ),
    ] = False,
    source: Sources = None,
    data: Data = None,
    results: ResultsFolder = Path("results"),
    domain: Domains = None,
    seed: Seeds = None,
    shots: Shots = None,
    fraction: Fraction = None,
    crop: CutFrom = "image",
    name: Annotated[
        str | None,
        typer.Option(help="Beginning of all names in the results (default: the method's)."),
    ] = None,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    threads: Threads = 0,
    compiled: Compile = False,
    cache_frozen: CacheFrozen = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Train the chosen settings again, even if that is finished."),
    ] = False,
    dry_run: DryRun = False,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
    checkpoint_steps: CheckpointSteps = 0,
    track: Track = None,
    tensorboard: Tensorboard = None,
    launcher: Launcher = "local",
    address: Address = None,
    gpus: Gpus = None,
) -> None:
    """Choose settings by accuracy on val, and train with them for test.

    Every point is a trial on val, named after its settings; the best settings are then trained for
    test under the name METHOD+best. The highest accuracy wins: the mean over the domains, or each
    domain's own with --per-domain; of equal ones the earlier point. Finished trials are skipped,
    interrupted ones resume.
    """
    from decathlon.common.grid import emit
    from decathlon.data.reading.store import data_folder
    from decathlon.running.config import Checkpointing, RunConfig, subsets_of
    from decathlon.running.crops import notes_on_crop
    from decathlon.running.display import summarise
    from decathlon.running.dry_run import preview
    from decathlon.running.faults import Failure, exit_code
    from decathlon.running.launchers.launch import launch
    from decathlon.running.launchers.ray import Cluster
    from decathlon.running.resolve import methods_named
    from decathlon.running.space import space_of
    from decathlon.running.splits import notes_on_splits
    from decathlon.running.survey import TrialState, check_unmixed, survey
    from decathlon.running.sweeping import plan
    from decathlon.running.tracking import trackers_of
    from decathlon.training.device import Compute

    space = space_of(grid or (), draw or (), trials, optuna, settings or ())
    check_launcher(launcher, address, gpus, dry_run=dry_run)
    if dry_run and optuna:
        raise UsageError("--dry-run: Optuna's points are not known before; leave --optuna out")
    trackers = trackers_of(tracked(track, tensorboard))
    methods = methods_named([method])
    if len(methods) > 1:
        raise UsageError("--method all: a sweep is of one method; sweep one after the other")
    own = threads or (1 if launcher == "ray" else 0)
    compute = Compute(device, precision, own, compiled=compiled)
    if launcher == "local":
        compute.fabric()  # reports a missing device before anything is planned
    config = RunConfig(
        methods,
        data_folder(data),
        results,
        sources=tuple(source or ()),
        domains=tuple(domain or ()),
        seeds=tuple(seed or (0,)),
        subsets=subsets_of(shots, fraction, ()),
        crop=checked_crop(crop),
        name=name,
        settings=tuple(settings or ()),
        compute=compute,
        checkpointing=Checkpointing(checkpoint, checkpoint_steps),
        force=force,
        cache_frozen=cache_frozen,
    )
    planned = plan(config, space, per_domain)
    store, domains = planned.run.store, planned.config.domains
    print_notes(
        [*notes_on_splits(store, domains, "test"), *notes_on_crop(store, domains, config.crop)]
    )
    if dry_run:
        states = survey(planned.runs)
        preview(states)
        check_unmixed(states)
        return
    cluster = Cluster(address, gpus) if launcher == "ray" else None
    failures: list[Failure] = []
    count = 0

    def launched(states: Sequence[TrialState]) -> list[Failure]:
        nonlocal count
        count += len(states)
        failures.extend(found := launch(states, cluster, trackers))
        return found

    choices = planned.choices(launched)
    summarise(failures, count)
    emit(points_table(choices))
    if all(choice.best is None for choice in choices):
        raise typer.Exit(exit_code(failures, all_failed=True))
    winners = planned.winners(choices)
    code = carry_out([winner.run for winner in winners], winners, cluster, trackers)
    complete = all(choice.best is not None for choice in choices)
    raise typer.Exit(code or int(not complete))


def points_table(choices: "Sequence[Choice]") -> "Grid":
    """Returns the points of a sweep with their accuracies on val in percent, the best marked."""
    from decathlon.common.grid import Column, Grid
    from decathlon.results.selection import value_text

    domains = [domain for choice in choices for domain in choice.domains]
    together = len(choices) == 1 and len(domains) > 1
    fields = list(choices[0].tried[0].point)
    headings = [*domains, *(["mean"] if together else [])]
    table = Grid(
        [*(Column(visible(field)) for field in fields)]
        + [Column(visible(heading), right=True) for heading in headings]
        + [Column("chosen", wraps=True, below=True)]
    )
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    chosen: dict[tuple[str, ...], list[str]] = {}
    for choice in choices:
        for tried in choice.tried:
            key = tuple(value_text(tried.point[field]) for field in fields)
            own = {**tried.accuracy, "mean": tried.mean}
            texts = {k: LOST if v is None else f"{float(100 * v):.2f}" for k, v in own.items()}
            lines.setdefault(key, {}).update(texts)
            if tried is choice.best:
                chosen.setdefault(key, []).extend(choice.domains if len(choices) > 1 else ["yes"])
    for key, texts in lines.items():
        cells = [texts.get(heading, "") for heading in headings]
        table.add_row(*map(visible, [*key, *cells, ", ".join(chosen.get(key, []))]))
    of = "by domain" if len(choices) > 1 else "mean accuracy over the domains"
    table.caption = f"{plural(len(lines), 'point')}, accuracy on val (%); chosen: {of}"
    return table
