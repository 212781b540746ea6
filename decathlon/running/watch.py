"""What a user sees of a run: a live table of trials on a terminal, plain lines otherwise."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from decathlon.common.grid import Column, Grid
from decathlon.common.progress import say
from decathlon.common.text import plural, visible, visible_lines
from decathlon.results.records import RunRecord
from decathlon.running.execution import Watch, outcome
from decathlon.running.faults import Failure, grouped
from decathlon.running.plan import Trial
from decathlon.running.survey import Work
from decathlon.running.trial import CHECKPOINTS
from decathlon.training.checkpoints import peek

PLAIN_EVERY = 30.0
"""Seconds between two plain lines about the same trial."""
ROWS = 30
"""Rows of the live table; of more trials, those around the one at work are shown."""


def _accuracy(records: Sequence[RunRecord]) -> str:
    if not records:
        return "done by another process"
    known = [r.accuracy for r in records if r.accuracy is not None]
    return f"{sum(known) / len(known):.2f} %" if known else "done; accuracy unknown without labels"


def _opening(work: Mapping[Trial, Work], trial: Trial) -> str:
    """Describes how a trial begins: from the start, or from a checkpoint."""
    item = work.get(trial)
    if item is not None and item.state == "held":
        return "taken over from a process that ended"
    if item is not None and item.epoch:
        return f"resumed after epoch {item.epoch}"
    if item is not None and item.state == "begun":
        return "resumed within the first epoch"
    return "started"


class PlainWatch:
    """Tells of a run in lines on standard error."""

    def __init__(self) -> None:
        self.work: dict[Trial, Work] = {}
        self.said: dict[Trial, float] = {}
        self.began: dict[Trial, float] = {}
        self.waits = False

    def _say(self, line: str) -> None:
        say(visible_lines(line))

    def planned(self, work: Sequence[Work]) -> None:
        """Says how much there is to do."""
        self.work = {item.trial: item for item in work}
        states = Counter(item.state for item in work)
        todo = len(work) - states["done"] - states["refused"]
        parts = {
            "to resume": states["begun"],
            "failed before": states["failed"],
            "running in other processes": states["held"],
        }
        known = ", ".join(f"{count} {text}" for text, count in parts.items() if count)
        known = f" ({known})" if known else ""
        self._say(f"{plural(todo, 'trial')} to run{known}, {states['done']} already done")
        if states["refused"]:
            self._say(f"{plural(states['refused'], 'trial')} cannot be run, see below")

    def started(self, trial: Trial) -> None:
        """Says which trial begins."""
        self.began[trial] = self.said[trial] = time.monotonic()
        self.waits = False
        self._say(f"{trial}: {_opening(self.work, trial)}")

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Says how training goes, now and then."""
        if time.monotonic() - self.said[trial] >= PLAIN_EVERY:
            self.said[trial] = time.monotonic()
            self._say(
                f"{trial}: epoch {facts['epoch']}/{facts['epochs']}, loss {facts['loss']:.3f},"
                f" {facts['images_per_s']:.0f} images/s"
            )

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Says what came out."""
        took = f" in {time.monotonic() - self.began[trial]:.0f} s" if trial in self.began else ""
        self._say(f"{trial}: {_accuracy(records)}{took}")

    def failed(self, failure: Failure) -> None:
        """Says what went wrong."""
        self._say(f"{failure.trial}: FAILED: {failure.reason}")

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Says, once, that other processes are at work on what is left."""
        if not self.waits:
            self._say(
                f"waiting for other processes, which are running {plural(len(trials), 'trial')}"
            )
        self.waits = True


class LiveWatch:
    """Tells of a run in a table that changes in place."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.work: dict[Trial, Work] = {}
        self.rows: dict[Trial, tuple[str, ...]] = {}
        self.current = 0
        self.counts: Counter[str] = Counter()
        self.began: dict[Trial, float] = {}

    def _show(self, trial: Trial, *cells: str) -> None:
        self.rows[trial] = (*cells, *[""] * 4)[:4]
        self.current = list(self.rows).index(trial)
        self.live.update(self._table())

    def _table(self) -> Grid:
        """Returns the trials around the one at work, as many as the terminal has lines for."""
        console = self.live.console
        table = self._rows(min(ROWS, len(self.rows)))
        lines = len(console.render_lines(table, pad=False))
        if lines <= console.height:
            return table
        taken = -(-lines // max(1, len(table.rows)))
        return self._rows(max(1, (console.height - 4) // taken))

    def _rows(self, count: int) -> Grid:
        numbers = [Column(heading, right=True) for heading in ("epoch", "loss")]
        state, speed = Column("state", wraps=True), Column("images/s or time", right=True)
        table = Grid([Column("trial"), state, *numbers, speed])
        first = max(0, min(self.current - count // 2, len(self.rows) - count))
        for trial, cells in list(self.rows.items())[first : first + count]:
            table.add_row(*map(visible, (str(trial), *cells)))
        done, failed = self.counts["done"], self.counts["failed"]
        table.caption = f"{done} of {len(self.rows)} done, {failed} failed"
        return table

    def planned(self, work: Sequence[Work]) -> None:
        """Lists all trials."""
        self.work = {item.trial: item for item in work}
        words = {"done": "done before", "refused": "cannot be run", "held": "another process"}
        self.rows = {w.trial: (words.get(w.state, "waiting"), "", "", "") for w in work}
        states = Counter(item.state for item in work)
        self.counts = Counter(done=states["done"], failed=states["refused"])
        self.live.update(self._table())

    def started(self, trial: Trial) -> None:
        """Marks a trial as running."""
        self.began[trial] = time.monotonic()
        self._show(trial, _opening(self.work, trial))

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Shows how training goes."""
        done = f"{facts['epoch']}/{facts['epochs']}"
        rate = f"{facts['images_per_s']:.0f}/s"
        self._show(trial, "training", done, f"{facts['loss']:.3f}", rate)

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """Shows what came out."""
        self.counts["done"] += 1
        took = f"{time.monotonic() - self.began[trial]:.0f} s" if trial in self.began else ""
        epoch, loss = self.rows.get(trial, ("",) * 4)[1:3]
        self._show(trial, _accuracy(records), epoch, loss, took)

    def failed(self, failure: Failure) -> None:
        """Shows what went wrong."""
        self.counts["failed"] += 1
        self._show(failure.trial, "failed")
        text = visible_lines(f"{failure.trial}: {failure.reason}")
        self.live.console.print(Text(text, style="red"))

    def waiting(self, trials: Sequence[Trial]) -> None:
        """Marks what other processes are at work on."""
        for trial in trials:
            self._show(trial, "another process")


def stopped(work: Sequence[Work], since: float) -> None:
    """Says on standard error what an interrupted run has done and what is left.

    Args:
        work: What :func:`decathlon.running.survey.survey` found when the command began.
        since: When that was, in seconds since 1970.
    """
    stands = [(item, outcome(item, since)) for item in work]
    count = Counter(state for _, state in stands)
    failed = f", {count['failed']} failed" if count["failed"] else ""
    say(f"{count['done']} of {plural(len(work), 'trial')} done{failed}, {count['left']} left")
    for item, state in stands:
        header = peek(item.trial.folder(item.run.results, item.trial.domains[0]) / CHECKPOINTS)
        if state == "left" and header is not None:
            say(visible_lines(f"  {item.trial}: has a checkpoint of step {header['step']}"))


@contextmanager
def watching() -> Iterator[Watch]:
    """Yields the watch that fits standard error."""
    if not sys.stderr.isatty():
        yield PlainWatch()
        return
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield LiveWatch(live)


def summarise(failures: Sequence[Failure], total: int, console: Console | None = None) -> None:
    """Lists what failed, why, and how to mend it: a table on a terminal, else lines.

    Args:
        failures: The trials that failed.
        total: Number of all trials.
        console: Where to; by default standard error.
    """
    if not failures:
        return
    console = console or Console(stderr=True)
    print(f"{len(failures)} of {plural(total, 'trial')} failed:", file=console.file)
    table = Grid([Column("failed"), Column("why, and what to do", wraps=True, below=True)])
    for which, reason in grouped(failures):
        if console.is_terminal:
            table.add_row(visible_lines(which), visible_lines(reason))
        else:
            print(visible_lines(f"  {which}: {reason}"), file=console.file)
    if console.is_terminal:
        console.print(table)
