"""What a user sees of a run: a live table of trials on a terminal, plain lines otherwise."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from decathlon.common.errors import TrialError
from decathlon.common.grid import Column, Grid
from decathlon.common.interrupts import ending
from decathlon.common.progress import say
from decathlon.common.text import plural, visible, visible_lines
from decathlon.results.records import RunRecord
from decathlon.running.events import Epoch, Event, Finished, Listener, Planned, Started, Waiting
from decathlon.running.execution import outcome
from decathlon.running.faults import Failure, grouped
from decathlon.running.run import Trial
from decathlon.running.survey import TrialState
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


def _opening(states: Mapping[Trial, TrialState], trial: Trial) -> str:
    """Describes how a trial begins: from the start, or from a checkpoint."""
    state = states.get(trial)
    if state is None:  # on a Ray cluster, where the plan is announced elsewhere
        return "started"
    if state.state == "held":
        return "taken over from a process that ended"
    if state.epoch:
        return f"resumed after epoch {state.epoch}"
    return "resumed within the first epoch" if state.state == "begun" else "started"


class PlainLines:
    """A listener that prints lines on standard error."""

    def __init__(self) -> None:
        self.states: dict[Trial, TrialState] = {}
        self.said: dict[Trial, float] = {}
        self.began: dict[Trial, float] = {}
        self.waits = False

    def __call__(self, event: Event) -> None:
        """Prints what there is to say of an event; of epochs and waiting, now and then."""
        now = time.monotonic()
        match event:
            case Planned(states):
                self._plan(states)
            case Started(trial):
                self.began[trial] = self.said[trial] = now
                self.waits = False
                self._say(f"{trial}: {_opening(self.states, trial)}")
            case Epoch(trial, facts):
                if now - self.said[trial] >= PLAIN_EVERY:
                    self.said[trial] = now
                    done = f"{facts['epoch']}/{facts['epochs']}"
                    rate = f"{facts['images_per_s']:.0f} images/s"
                    self._say(f"{trial}: epoch {done}, loss {facts['loss']:.3f}, {rate}")
            case Finished(trial, records):
                took = f" in {now - self.began[trial]:.0f} s" if trial in self.began else ""
                self._say(f"{trial}: {_accuracy(records)}{took}")
            case Failure(trial, _, reason):
                self._say(f"{trial}: FAILED: {reason}")
            case Waiting(trials):
                if not self.waits:
                    running = plural(len(trials), "trial")
                    self._say(f"waiting for other processes, which are running {running}")
                self.waits = True

    def _plan(self, states: Sequence[TrialState]) -> None:
        self.states = {state.trial: state for state in states}
        count = Counter(state.state for state in states)
        todo = len(states) - count["done"] - count["refused"]
        parts = {
            "to resume": count["begun"],
            "failed before": count["failed"],
            "running in other processes": count["held"],
        }
        known = ", ".join(f"{number} {text}" for text, number in parts.items() if number)
        known = known and f" ({known})"
        self._say(f"{plural(todo, 'trial')} to run{known}, {count['done']} already done")
        if count["refused"]:
            self._say(f"{plural(count['refused'], 'trial')} cannot be run, see below")

    def _say(self, line: str) -> None:
        say(visible_lines(line))


class LiveTable:
    """A listener that shows a table that changes in place."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.states: dict[Trial, TrialState] = {}
        self.rows: dict[Trial, tuple[str, ...]] = {}
        self.current = 0
        self.counts: Counter[str] = Counter()
        self.began: dict[Trial, float] = {}

    def __call__(self, event: Event) -> None:
        """Shows an event in the rows of its trials; failures stay above the table too."""
        match event:
            case Planned(states):
                self._plan(states)
            case Started(trial):
                self.began[trial] = time.monotonic()
                self._show(trial, _opening(self.states, trial))
            case Epoch(trial, facts):
                done = f"{facts['epoch']}/{facts['epochs']}"
                rate = f"{facts['images_per_s']:.0f}/s"
                self._show(trial, "training", done, f"{facts['loss']:.3f}", rate)
            case Finished(trial, records):
                self.counts["done"] += 1
                began = self.began.get(trial)
                took = "" if began is None else f"{time.monotonic() - began:.0f} s"
                epoch, loss = self.rows[trial][1:3]
                self._show(trial, _accuracy(records), epoch, loss, took)
            case Failure(trial, _, reason):
                self.counts["failed"] += 1
                self._show(trial, "failed")
                self.live.console.print(Text(visible_lines(f"{trial}: {reason}"), style="red"))
            case Waiting(trials):
                for trial in trials:
                    self._show(trial, "another process")

    def _plan(self, states: Sequence[TrialState]) -> None:
        self.states = {state.trial: state for state in states}
        words = {"done": "done before", "refused": "cannot be run", "held": "another process"}
        self.rows = {s.trial: (words.get(s.state, "waiting"), "", "", "") for s in states}
        count = Counter(state.state for state in states)
        self.counts = Counter(done=count["done"], failed=count["refused"])
        self.live.update(self._table())

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


@contextmanager
def display() -> Iterator[Listener]:
    """Yields the listener that suits standard error."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield LiveTable(live)


@contextmanager
def watched(states: Sequence[TrialState]) -> Iterator[Listener]:
    """Yields the listener for trials that run now; of an interrupted run, says what is left."""
    since = time.time()
    try:
        with display() as listener:
            yield listener
    except (KeyboardInterrupt, TrialError):  # the latter if a cluster is lost
        ending()
        say_interrupted(states, since)
        raise


def say_interrupted(states: Sequence[TrialState], since: float) -> None:
    """Says on standard error what an interrupted run has done and what is left.

    Args:
        states: What :func:`decathlon.running.survey.survey` found when the command began.
        since: When that was, in seconds since 1970.
    """
    outcomes = [(state, outcome(state, since)) for state in states]
    count = Counter(found for _, found in outcomes)
    failed = f", {count['failed']} failed" if count["failed"] else ""
    say(f"{count['done']} of {plural(len(states), 'trial')} done{failed}, {count['left']} left")
    for state, found in outcomes:
        header = peek(state.folder.checkpoints)
        if found == "left" and header is not None:
            say(visible_lines(f"  {state.trial}: has a checkpoint of step {header['step']}"))


def summarise(failures: Sequence[Failure], total: int, console: Console | None = None) -> None:
    """Lists what failed, why, and how to fix it: a table on a terminal, else lines.

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
