"""Progress of long work: a bar on a terminal, plain lines otherwise.

Everything goes to standard error, so that standard output holds results only.
"""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from decathlon.common.text import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_EVERY = 10.0
"""Seconds between two plain lines about the same work."""


def say(line: str) -> None:
    """Prints a line to standard error."""
    print(line, file=sys.stderr, flush=True)


def say_next(*words: object) -> None:
    """Prints the command that usually comes next, ready to be copied, to standard error."""
    sys.stdout.flush()  # what was printed there comes first
    line = shlex.join(["decathlon", *map(str, words)])
    say(f"next: {visible(line)}")


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        """Counts ``amount`` units as done; ``text`` replaces the text beside the bar."""


class _PlainBar:
    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.told, self.text = 0.0, 0.0, ""
        self.started = self.said = time.monotonic()

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        self.done += amount
        self.text = self.text if text is None else text
        if time.monotonic() - self.said >= PLAIN_EVERY:
            self.say()

    def say(self) -> None:
        self.said, self.told = time.monotonic(), self.done
        rate = self.done / max(self.said - self.started, 1e-9)
        whole = f"/{self.total:.0f}" if self.total else ""
        text = f" {self.text}" if self.text else ""
        say(f"{self.title}: {self.done:.0f}{whole} {self.unit}, {rate:.3g}/s{text}")


class _RichBar:
    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self.progress, self.task = progress, task

    def advance(self, amount: float = 1, text: str | None = None) -> None:
        fields: dict[str, Any] = {} if text is None else {"text": text}
        self.progress.update(self.task, advance=amount, **fields)


@contextmanager
def progress(title: str, total: float | None, unit: str) -> Iterator[Bar]:
    """Shows the progress of the block's work on standard error.

    Args:
        title: What is being done, e.g. ``"aircraft train"``.
        total: Number of units in all, or None where it is not known.
        unit: Name of a unit, in the plural.

    Yields:
        A bar to advance.
    """
    if not sys.stderr.isatty():
        bar = _PlainBar(title, total, unit)
        try:
            yield bar
        finally:
            if bar.done != bar.told:
                bar.say()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        yield _RichBar(shown, shown.add_task(title, total=total, text=""))
