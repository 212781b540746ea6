"""The command line."""

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, NoReturn, TextIO

import typer

from decathlon import __version__
from decathlon.commands import (
    applying,
    citing,
    data,
    probes,
    publishing,
    reproduction,
    scores,
    sites,
    starting,
    sweeps,
    training,
)
from decathlon.common.errors import DEBUG, DecathlonError, UsageError
from decathlon.common.interrupts import INTERRUPTED, RESUME, ending, received
from decathlon.common.oserrors import of_the_system
from decathlon.common.output import guarded
from decathlon.common.progress import say
from decathlon.common.text import visible, visible_lines
from decathlon.common.world import one_voice, world
from decathlon.suites.registry import DEFAULT

PARALLEL = ("run", "pretrain")
"""Commands that torchrun can start as several processes."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Benchmarks of where and how to fine-tune, such as the {DEFAULT.title}: data, the"
    " published methods, leaderboards.",
    epilog="Start with 'decathlon demo'. Exit codes: 0 done, 1 a trial failed or output was lost,"
    " 2 wrong usage, 3 bad or missing data or weights, 4 invalid result, 130 interrupted.",
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
    if world().size > 1 and command not in PARALLEL:
        raise UsageError(
            f"'{command}' is work for one process: call it without torchrun; torchrun is for"
            f" {' and '.join(PARALLEL)}"
        )


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Data": (data.prepare, data.verify, data.show, data.domains, data.suites),
    "Training": (
        training.demo,
        training.methods,
        training.networks,
        training.pretrain,
        training.import_weights,
        training.run,
        probes.probe,
        sweeps.sweep,
        starting.new_method,
    ),
    "Trained networks": (applying.predict, applying.export),
    "Results": (
        scores.score,
        scores.report,
        scores.compare,
        scores.plot,
        reproduction.reproduce,
        scores.submit,
        scores.evaluate,
        publishing.bundle,
        publishing.check_bundle,
        sites.site,
        sites.new_leaderboard,
        citing.cite,
    ),
}
for panel, commands in PANELS.items():
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
    """Shows a warning like any other message, without a line of code."""
    say(f"decathlon: warning: {visible(str(message))}")


def main() -> NoReturn:
    """Runs the command line and exits with the documented code."""
    if not DEBUG:
        warnings.showwarning = _warn
    with guarded(), one_voice(everyone=DEBUG):
        _main()


def _main() -> NoReturn:
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what typer makes of an interrupt
            _interrupted()
        raise
    except Exception as error:
        if DEBUG:
            raise
        if received() and not isinstance(error, DecathlonError):
            _interrupted()  # a library turned the interrupt into an error of its own
            sys.exit(INTERRUPTED)
        code, text = _message(error)
        say(f"decathlon: {visible_lines(text)}")
        sys.exit(code)
    sys.exit(0)


def _interrupted() -> None:
    ending()
    say(f"decathlon: {RESUME}")


def _message(error: Exception) -> tuple[int, str]:
    """Returns the exit code and the message of the error that ended a command."""
    if isinstance(error, OSError):
        error = of_the_system(error)
    if isinstance(error, DecathlonError):
        return error.exit_code, str(error)
    kind = type(error).__name__
    return 1, f"unexpected {kind}: {error}; please report it, DECATHLON_DEBUG=1 shows where"
