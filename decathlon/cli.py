"""The command line."""

import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, NoReturn, TextIO

import typer

from decathlon import __version__
from decathlon.commands import data, scores, training
from decathlon.errors import DEBUG, DataError, DecathlonError, UsageError
from decathlon.launch import INTERRUPTED, here, one_voice
from decathlon.oserrors import explained
from decathlon.scoring.escape import visible

PARALLEL = ("run", "pretrain")
"""Commands that several processes, started by torchrun, do together."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The Visual Decathlon: ten image domains at 72 pixels, every published method, one score.",
    epilog="Start with 'decathlon demo'. Exit codes: 0 done, 1 a trial failed, 2 wrong usage,"
    " 3 bad or missing data or weights, 4 invalid result, 130 interrupted.",
)


def _version(show: bool) -> None:
    if show:
        print(f"decathlon {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    command = context.invoked_subcommand
    if here().size > 1 and command not in PARALLEL:
        raise UsageError(
            f"'{command}' is work for one process: call it without torchrun, which is for"
            f" {' and '.join(PARALLEL)}"
        )


DATA, TRAINING, SCORES = "Data", "Training", "Results"
for panel, commands in {
    DATA: (data.prepare, data.verify, data.show, data.domains),
    TRAINING: (
        training.demo,
        training.methods,
        training.pretrain,
        training.import_weights,
        training.run,
    ),
    SCORES: (scores.score, scores.compare, scores.plot, scores.submit, scores.evaluate),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows a warning as every message is shown, without a line of code."""
    print(f"decathlon: warning: {visible(str(message))}", file=sys.stderr)


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
    if not DEBUG:
        warnings.showwarning = _warn
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    with one_voice(everyone=DEBUG):
        _main()


def _main() -> NoReturn:
    try:
        app(standalone_mode=True)
    except DecathlonError as error:
        if DEBUG:
            raise
        lines = [visible(line) for line in str(error).splitlines()]
        print("decathlon: " + "\n".join(lines), file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what typer makes of an interrupt
            print("decathlon: interrupted; run the same command to go on", file=sys.stderr)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if DEBUG:
            raise
        print(f"decathlon: {visible(explained(error, 'a file'))}", file=sys.stderr)
        sys.exit(DataError.exit_code)
    except Exception as error:
        if DEBUG:
            raise
        print(
            f"decathlon: unexpected {type(error).__name__}: {error};"
            " DECATHLON_DEBUG=1 shows where, please report it",
            file=sys.stderr,
        )
        sys.exit(1)
    sys.exit(0)
