"""The command line: parse, call, print; nothing else.

Nothing is imported here that a command does not need: ``--help``, ``score``, ``prepare``
and ``methods`` start without torch.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from decathlon import __version__
from decathlon.errors import DecathlonError, UsageError

_DEBUG = os.environ.get("DECATHLON_DEBUG") == "1"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The Visual Decathlon: ten image domains at 72 pixels, every published method, one score.",
    epilog="Start with 'decathlon demo'. Exit codes: 0 done, 1 a trial failed, 2 wrong usage,"
    " 3 bad or missing data or weights, 4 invalid result, 130 interrupted.",
)

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of the prepared shards [default: $DECATHLON_DATA, else ./data]."),
]
Results = Annotated[Path, typer.Option(help="Folder that records are written to.")]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only this domain; may be repeated.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the recipe, field=value; may be repeated."),
]
Precision = Annotated[str, typer.Option(help="auto, 32 or bf16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def _version(show: bool) -> None:
    if show:
        print(f"decathlon {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def prepare(
    archives: Annotated[Path, typer.Option(help="Folder of the official archives.")] = Path(
        "archives"
    ),
    data: Data = None,
    domain: Domains = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode [default: all cores].")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="labels_test.zip, the public labels of the test split.")
    ] = None,
) -> None:
    """Turn the official archives into shards.

    Archives are streamed, never extracted. What is done already is not done again.
    """
    from decathlon.data.prepare import prepare as run
    from decathlon.data.store import data_folder

    target = data_folder(data)
    prepared = run(archives, target, domains=domain, jobs=jobs, labels=labels)
    for message in prepared.messages:
        print(message, file=sys.stderr)
    print(f"{target}: nothing to do, all is prepared" if prepared.done else f"{target}: prepared")


@app.command()
def verify(data: Data = None) -> None:
    """Read every shard again and compare it with the manifest."""
    from decathlon.data.store import data_folder
    from decathlon.data.verify import verify as run

    target = data_folder(data)
    print(f"{target}: {run(target)}")


@app.command()
def methods() -> None:
    """List the methods that can be run, strangers' included."""
    from rich.console import Console

    from decathlon.listing import methods_table

    Console().print(methods_table())


@app.command()
def domains(data: Data = None) -> None:
    """List the ten domains, and what of them is prepared."""
    from rich.console import Console

    from decathlon.data.store import data_folder
    from decathlon.listing import domains_table

    Console().print(domains_table(data_folder(data)))


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Weights file to write (.safetensors).")],
    data: Data = None,
    method: Annotated[
        str, typer.Option(help="Method whose kind of source network is trained.")
    ] = "fine-tuning",
    split: Annotated[str, typer.Option(help="val: train on train. test: on train+val.")] = "val",
    width: Annotated[float, typer.Option(min=0.05, help="Factor on channel numbers.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 0,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
) -> None:
    """Train the source network on imagenet12."""
    from decathlon import pretraining
    from decathlon.data.store import data_folder, open_store
    from decathlon.method import find
    from decathlon.progress import progress
    from decathlon.recipes import apply, parse_settings
    from decathlon.training.device import Compute

    _check_split(split)
    chosen = find(method)()
    recipe = apply({"paper": pretraining.RECIPE}, parse_settings(settings or []), "pretraining")
    store = open_store(data_folder(data))
    with progress("pretraining", recipe.epochs, "epochs") as bar:
        done = pretraining.pretrain(
            store,
            out,
            method=chosen,
            method_name=method,
            recipe=recipe,
            width=width,
            seed=seed,
            split=split,
            compute=Compute(device, precision),
            report=lambda facts: bar.advance(
                1, f"loss {facts['loss']:.3f}, {facts['images_per_s']:.0f} images/s"
            ),
        )
    known = f"{done.accuracy:.2f} % on {split}" if done.accuracy is not None else "labels unknown"
    print(f"{out}: {known}, trained in {done.seconds:.0f} s")


@app.command()
def run(
    method: Annotated[str, typer.Option(help="Method to run; see 'decathlon methods'.")],
    source: Annotated[
        Path | None, typer.Option(help="Source network, from 'pretrain' or 'import-weights'.")
    ] = None,
    data: Data = None,
    results: Results = Path("results"),
    domain: Domains = None,
    seed: Annotated[
        list[int] | None, typer.Option(min=0, help="Seed; may be repeated [default: 0].")
    ] = None,
    split: Annotated[
        str, typer.Option(help="val: train on train. test: train on train+val.")
    ] = "test",
    name: Annotated[str | None, typer.Option(help="Name of a variant in the results.")] = None,
    settings: Settings = None,
    precision: Precision = "auto",
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
) -> None:
    """Train a method on the domains, evaluate it, and write records.

    What is finished is skipped. Fields of a method's recipe are listed when an unknown one
    is --set.
    """
    from decathlon.data.store import data_folder, open_store
    from decathlon.request import request
    from decathlon.runs import execute
    from decathlon.training.device import Compute
    from decathlon.watch import watching

    _check_split(split)
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
        compute=Compute(device, precision),
        force=force,
    )
    with watching() as watch:
        failed = execute(wanted, watch)
    if failed:
        names = "\n".join(f"  {trial}" for trial in failed)
        print(f"{len(failed)} trials failed:\n{names}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def score(
    results: Annotated[Path, typer.Argument(help="Folder of records.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    baseline: Annotated[
        str | None,
        typer.Option(help="Name whose mean error is half of E_max; for data that is not official."),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, markdown, csv or json.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write instead of the terminal.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All published rows, not Table 3 only.")
    ] = False,
) -> None:
    """Print the leaderboard: your runs beside the published rows."""
    from decathlon.scoring.board import build
    from decathlon.scoring.render import render

    _check_split(split)
    board = build(results, split=split, baseline=baseline, all_rows=everything)
    render(board, form, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for data and results.")] = Path("out/demo"),
    scale: Annotated[float, typer.Option(min=0.02, help="Factor on images and epochs.")] = 1.0,
) -> None:
    """Go the whole way, from archives to the table, on generated data."""
    from decathlon.demo.tour import tour

    tour(out, scale)


def _check_split(split: str) -> None:
    if split not in ("val", "test"):
        raise UsageError(f"--split '{split}': is val or test")


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
    try:
        app(standalone_mode=True)
    except DecathlonError as error:
        if _DEBUG:
            raise
        print(f"decathlon: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("decathlon: interrupted; run the same command to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if _DEBUG:
            raise
        print(
            f"decathlon: unexpected {type(error).__name__}: {error};"
            " DECATHLON_DEBUG=1 shows where, please report it",
            file=sys.stderr,
        )
        sys.exit(1)
    sys.exit(0)
