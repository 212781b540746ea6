"""The command that runs finished trials again: reproduce."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from decathlon.commands.options import (
    Checkpoint,
    CheckpointSteps,
    Data,
    Device,
    Domains,
    Out,
    TableOrJson,
    check_out,
)
from decathlon.common.errors import ResultError, UsageError, check_known
from decathlon.common.files import CHECKPOINT_SECONDS


def reproduce(
    record: Annotated[
        Path,
        typer.Argument(
            help="Folder of a trial, or its record.json; or the folder of all trials of a name,"
            " RESULTS/NAME.",
            readable=False,
        ),
    ],
    data: Data = None,
    source: Annotated[
        Path | None,
        typer.Option(help="Source network (default: the one kept beside the results)."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Results folder of the new trials.")] = Path(
        "reproduced"
    ),
    domain: Domains = None,
    loosely: Annotated[
        bool,
        typer.Option(
            "--loosely",
            help="Go on with other data, source, code or library versions than the record states.",
        ),
    ] = False,
    form: TableOrJson = "table",
    out: Out = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto (that of the record), 32 or bf16.")] = "auto",
    threads: Annotated[
        int,
        typer.Option(min=0, max=4096, help="Processor threads; 0: as many as the record states."),
    ] = 0,
    checkpoint: Checkpoint = CHECKPOINT_SECONDS,
    checkpoint_steps: CheckpointSteps = 0,
) -> None:
    """Run finished trials again as their records say, and compare the results.

    Exit code 4 if a new accuracy lies outside the 95 % interval of the recorded one. Finished
    trials are not run again; interrupted ones resume.
    """
    from decathlon.data.reading.store import data_folder
    from decathlon.results.records import RECORD, read_placed
    from decathlon.running.again import config_of
    from decathlon.running.config import Checkpointing
    from decathlon.running.display import summarise, watched
    from decathlon.running.execution import execute
    from decathlon.running.faults import exit_code
    from decathlon.running.reproduction import check_possible, find_source, plan
    from decathlon.scoring.agreement import Agreement, read_recorded
    from decathlon.scoring.render.agreements import render_agreements

    check_known("format", form, ("table", "json"))
    check_out(out, record, *filter(None, (data,)))
    origin, records = read_recorded(record, domain or ())
    if results.resolve() == origin.resolve():
        raise UsageError(
            f"{results}: holds what is to be reproduced; name another folder with --results"
        )
    check_possible(records)
    folder, when = data_folder(data), Checkpointing(checkpoint, checkpoint_steps)
    configs = []
    for one in records:
        config = config_of(one, folder, results, source or find_source(one, origin))
        compute = replace(
            config.compute,
            device=config.compute.device if device == "auto" else device,
            precision=config.compute.precision if precision == "auto" else precision,
            threads=threads or config.compute.threads,
        )
        configs.append(replace(config, compute=compute, checkpointing=when))
    states = plan(records, configs, loosely)
    with watched(states) as listener:
        failures = execute(states, listener)
    summarise(failures, len(states))
    found = [
        Agreement(origin, results, one, read_placed(results, path))
        for one in records
        if (path := results / one.folder / RECORD).exists()
    ]
    if found:
        render_agreements(found, form, out)
    code = exit_code(failures, all_failed=len(failures) == len(states))
    outside = any(one.verdict == "outside" for one in found)
    raise typer.Exit(code or (ResultError.exit_code if outside else 0))
