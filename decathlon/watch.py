"""What a user sees of a run: a live table of trials on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from decathlon.errors import DecathlonError
from decathlon.plan import Trial
from decathlon.records import RunRecord
from decathlon.runs import Watch

PLAIN_EVERY = 30.0
"""Seconds between two plain lines about the same trial."""
ROWS = 30
"""Rows of the live table; of more trials the latest are shown."""


def describe(error: Exception) -> str:
    """Returns one message for any error; those that are not ours say their kind too."""
    if isinstance(error, DecathlonError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _accuracy(records: Sequence[RunRecord]) -> str:
    known = [r.accuracy for r in records if r.accuracy is not None]
    return f"{sum(known) / len(known):.2f} %" if known else "labels unknown"


class PlainWatch:
    """Tells of a run in lines on standard error."""

    def __init__(self) -> None:
        self.said = 0.0
        self.began = 0.0

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def planned(self, todo: Sequence[Trial], done: Sequence[Trial]) -> None:
        """Says how much there is to do."""
        self._say(f"{len(todo)} trials to run, {len(done)} done already")

    def started(self, trial: Trial) -> None:
        """Says which trial begins."""
        self.began = self.said = time.monotonic()
        self._say(f"{trial}: started")

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Says how training goes, now and then."""
        if time.monotonic() - self.said >= PLAIN_EVERY:
            self.said = time.monotonic()
            self._say(
                f"{trial}: epoch {facts['epoch']}/{facts['epochs']}, loss {facts['loss']:.3f},"
                f" {facts['images_per_s']:.0f} images/s"
            )

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Says what came out."""
        seconds = time.monotonic() - self.began
        self._say(f"{trial}: {_accuracy(records)} in {seconds:.0f} s")

    def failed(self, trial: Trial, error: Exception) -> None:
        """Says what went wrong."""
        self._say(f"{trial}: FAILED: {describe(error)}")


class LiveWatch:
    """Tells of a run in a table that changes in place."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.rows: dict[Trial, tuple[str, str, str, str]] = {}
        self.began = 0.0

    def _show(self, trial: Trial, *cells: str) -> None:
        self.rows[trial] = (cells + ("",) * 4)[:4]  # type: ignore[assignment]
        self.live.update(self._table())

    def _table(self) -> Table:
        table = Table("trial", "state", "epoch", "loss", "images/s or time")
        for trial, cells in list(self.rows.items())[-ROWS:]:
            table.add_row(*(Text(cell) for cell in (str(trial), *cells)))
        return table

    def planned(self, todo: Sequence[Trial], done: Sequence[Trial]) -> None:
        """Lists all trials."""
        for trial in done:
            self._show(trial, "done before")
        for trial in todo:
            self._show(trial, "waiting")

    def started(self, trial: Trial) -> None:
        """Marks a trial as running, and moves it to the end."""
        self.began = time.monotonic()
        self._show(trial, "running")

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Shows how training goes."""
        done = f"{facts['epoch']}/{facts['epochs']}"
        rate = f"{facts['images_per_s']:.0f}/s"
        self._show(trial, "training", done, f"{facts['loss']:.3f}", rate)

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Shows what came out."""
        seconds = time.monotonic() - self.began
        epoch, loss = self.rows.get(trial, ("",) * 4)[1:3]
        self._show(trial, _accuracy(records), epoch, loss, f"{seconds:.0f} s")

    def failed(self, trial: Trial, error: Exception) -> None:
        """Shows what went wrong."""
        self._show(trial, "failed")
        self.live.console.print(Text(f"{trial}: {describe(error)}", style="red"))


@contextmanager
def watching() -> Iterator[Watch]:
    """Yields the watch that fits standard error."""
    if not sys.stderr.isatty():
        yield PlainWatch()
        return
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield LiveWatch(live)
