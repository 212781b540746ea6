"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from decathlon.errors import UsageError

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of the prepared shards [default: $DECATHLON_DATA, else ./data]."),
]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only this domain; may be repeated.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the recipe, field=value (JSON); may be repeated."),
]
Precision = Annotated[str, typer.Option(help="auto, 32 or bf16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
SyncBN = Annotated[
    bool,
    typer.Option(
        "--sync-bn",
        help="Of several processes on GPUs: batch statistics of the whole batch, not of each"
        " process's part.",
    ),
]
Checkpoint = Annotated[
    float, typer.Option(min=0, help="Seconds between two checkpoints to resume from.")
]
TrainedSplit = Annotated[str, typer.Option(help="val: train on train. test: train on train+val.")]
Results = Annotated[Path, typer.Argument(help="Folder of records.")]
Split = Annotated[str, typer.Option(help="val or test.")]
Baseline = Annotated[
    str | None,
    typer.Option(help="Name whose mean errors, doubled, are E_max; for other than official data."),
]
Out = Annotated[Path | None, typer.Option(help="File to write instead of the terminal.")]


def check_split(split: str) -> None:
    """Checks a split that can be reported.

    Raises:
        UsageError: It is not val or test.
    """
    if split not in ("val", "test"):
        raise UsageError(f"--split '{split}': is val or test")
