"""Options that several commands share."""

import math
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from decathlon.common.errors import UsageError
from decathlon.common.files import check_output
from decathlon.common.world import world
from decathlon.suites.base import Crop


def number(minimum: float, maximum: float | None = None, **settings: Any) -> Any:
    """Returns a typer option for a finite number; typer's own ranges accept NaN.

    Args:
        minimum: The smallest number accepted.
        maximum: The largest one, if there is one.
        settings: Of :func:`typer.Option`.
    """
    return typer.Option(min=minimum, max=maximum, callback=_finite, **settings)


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of prepared data (default: $DECATHLON_DATA, else ./data).",
        readable=False,  # the code that opens it reports a missing folder, with exit code 3
    ),
]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only this domain. Repeat for several.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a recipe setting: field=value, with a JSON value. Repeat for several.",
    ),
]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="Source network from 'pretrain' or 'import-weights'. METHOD=FILE is for one"
        " method only.",
    ),
]
ResultsFolder = Annotated[Path, typer.Option("--results", help="Results folder.")]
Seeds = Annotated[
    list[int] | None, typer.Option("--seed", min=0, help="Seed (default: 0). Repeat for several.")
]
Shots = Annotated[int | None, typer.Option(help="Train on at most so many images per class.")]
Fraction = Annotated[
    float | None, number(0, 1, help="Train on this share of each class's images, such as 0.1.")
]
CutFrom = Annotated[
    str,
    typer.Option(
        "--crop", help="image, or box: cut images to bounding boxes, in domains that have them"
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only list the trials and estimate their time.")
]
Launcher = Annotated[
    str, typer.Option(help="local: one trial after another. ray: on a Ray cluster.")
]
Address = Annotated[
    str | None, typer.Option(help="Address of the Ray cluster (default: one on this machine).")
]
Gpus = Annotated[
    float | None,
    number(minimum=0, help="GPUs per trial with Ray, such as 0.5 (default: 1 if there are any)."),
]
Draws = Annotated[
    list[int] | None,
    typer.Option(
        "--draw", help="Which images --shots or --fraction takes (default: 0). Repeatable."
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the results (default: the method's).")]
Force = Annotated[bool, typer.Option("--force", help="Run finished trials again.")]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, 32 or bf16. auto uses bf16 if the device has it. Processors without bf16"
        " instructions refuse bf16."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Threads = Annotated[
    int,
    typer.Option(
        min=0, max=4096, help="Processor threads per training; 0: all cores (1 with Ray)."
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Train with torch.compile: slower to start, then faster.")
]
CacheFrozen = Annotated[
    bool,
    typer.Option(
        "--cache-frozen",
        help="Compute the frozen layers at the beginning of a network once for each crop of an"
        " image, and keep the result in memory. Needs --set crops=N.",
    ),
]
KeepLogits = Annotated[
    bool,
    typer.Option(
        "--keep-logits",
        help="Also keep the logits of every image, for calibration and top-5 accuracy in 'report'.",
    ),
]
SyncBN = Annotated[
    bool,
    typer.Option(
        "--sync-bn",
        help="Synchronise batch normalisation across GPUs: use the statistics of the whole batch"
        " instead of each process's share.",
    ),
]
Checkpoint = Annotated[float, number(minimum=0, help="Seconds between two checkpoints.")]
CheckpointSteps = Annotated[
    int,
    typer.Option(
        min=0, help="Also write a checkpoint every so many steps; 0: by --checkpoint only."
    ),
]
Tensorboard = Annotated[
    Path | None,
    typer.Option("--tensorboard", help="Also write TensorBoard curves: --track tensorboard:DIR."),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        help="Also send curves to tensorboard:DIR, trackio:PROJECT or wandb:PROJECT. Repeatable."
    ),
]
TrainedSplit = Annotated[
    str,
    typer.Option(help="Split to evaluate on. val: train on train; test: train on train and val."),
]
Results = Annotated[Path, typer.Argument(help="Results folder.")]
Gatherable = Annotated[
    list[Path],
    typer.Argument(metavar="RESULTS...", help="Results folders, bundles, or folders of bundles."),
]
Split = Annotated[str, typer.Option(help="val or test.")]
Baseline = Annotated[
    str | None,
    typer.Option(
        help="Run whose mean errors, doubled, are E_max; needed for data that is not official. In a"
        " suite without a score, the run to compare with (default: fine-tuning)."
    ),
]
TableOrJson = Annotated[str, typer.Option("--format", help="table or json.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="File to write instead of the terminal.",
        callback=lambda path: None if str(path) == "-" else path,
    ),
]


def check_out(out: Path | None, *inputs: Path) -> None:
    """Checks the file that a command is to write, before the work begins.

    Args:
        out: The file, or None for standard output.
        inputs: Files and folders that the command reads.

    Raises:
        UsageError: The file cannot be written, or is one of those that the command reads.
    """
    if out is None:
        return
    check_output(out)
    if out.is_file() and any(_reads(given, out) for given in inputs):
        raise UsageError(f"{out}: this command reads it; write to another file")


def _reads(given: Path, out: Path) -> bool:
    """Returns whether a command that reads ``given`` would read an existing file ``out``.

    In a folder of results or data, the files of a trial and the manifest are known by their
    names, published rows by their folder, shards by their suffix.
    """
    from decathlon.results.records import LOG, LOGITS, PREDICTIONS, RECORD, ROUTING, WEIGHTS

    names = (RECORD, PREDICTIONS, ROUTING, LOG, LOGITS, WEIGHTS, "manifest.json")
    if not given.is_dir():
        return given.exists() and out.samefile(given)
    real = out.resolve()
    if not real.is_relative_to(given.resolve()):
        return False
    row = real.suffix == ".json" and "published" in real.parent.parts[-2:]
    return row or real.name in names or real.suffix == ".h5"


def tracked(track: list[str] | None, tensorboard: Path | None) -> list[str]:
    """Returns what ``--track`` says, with ``--tensorboard DIR`` as one more tracker."""
    return [*(track or ()), *([] if tensorboard is None else [f"tensorboard:{tensorboard}"])]


def check_split(split: str) -> None:
    """Checks a split that can be reported.

    Raises:
        UsageError: It is not val or test.
    """
    if split not in ("val", "test"):
        raise UsageError(f"--split '{split}': use val or test")


def checked_crop(crop: str) -> Crop:
    """Returns what images are cut from.

    Raises:
        UsageError: It is not image or box.
    """
    if crop not in get_args(Crop):
        raise UsageError(f"--crop '{crop}': use image or box")
    return cast(Crop, crop)


def check_launcher(
    launcher: str, address: str | None, gpus: float | None, dry_run: bool = False
) -> None:
    """Checks how trials are to be started.

    Raises:
        UsageError: The launcher is not known, has no such options, or is for one process.
    """
    if launcher not in ("local", "ray"):
        raise UsageError(f"--launcher is local or ray, not '{launcher}'")
    if launcher == "local" and (address is not None or gpus is not None):
        raise UsageError("--address and --gpus are of --launcher ray; add that, or leave them out")
    if world().size > 1 and (launcher == "ray" or dry_run):
        option = "--launcher ray" if launcher == "ray" else "--dry-run"
        raise UsageError(f"{option} is work for one process: call it without torchrun")
