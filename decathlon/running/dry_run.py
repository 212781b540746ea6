"""What a run would do: its trials, how they stand, and how long they will take.

A method's time is measured in one step of the training loop, after one to warm up, and in one
batch of the evaluation. It is counted per pixel of the network's input, and multiplied by the
pixels that there are.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from rich.text import Text
from torch import nn

from decathlon.common.grid import Column, Grid
from decathlon.common.progress import progress
from decathlon.common.text import duration, plural, visible, visible_lines
from decathlon.method.base import Batch
from decathlon.models.capabilities import outline
from decathlon.running.faults import Failure, grouped
from decathlon.running.run import Run, Trial
from decathlon.running.survey import TrialState
from decathlon.running.trial import build, feed_of
from decathlon.training.device import to_device
from decathlon.training.feed import Feed
from decathlon.training.loop import Schedule, schedule_of, train

MEASURED = ("begun", "failed", "to do")
"""States of trials that are still to be done here."""
WORDS = {
    "done": "done",
    "differs": "done, but not as asked for",
    "refused": "cannot be run",
    "held": "another process is at work on it",
    "begun": "goes on",
    "failed": "failed before",
    "to do": "to do",
}
"""How a trial stands, by its state."""
FEW = 16
"""Images in a measured batch on a CPU, where larger ones take as long per image."""
FEW_PIXELS = 1 << 17
"""Pixels in such a batch, so that large images are measured in seconds too."""
RATE = 1e-4
"""Learning rate of measured steps: time does not depend on it, and small batches bear no large
one."""


@dataclass(frozen=True)
class Pace:
    """What one image takes.

    Attributes:
        train: Seconds in training; 0 where nothing is trained.
        evaluate: Seconds in evaluation.
    """

    train: float
    evaluate: float


class Estimates:
    """Estimates of trials; each method is measured once."""

    def __init__(self) -> None:
        self._per_pixel: dict[tuple[str | None, bool], Pace] = {}

    def seconds(self, state: TrialState) -> float:
        """Returns the time a trial will still take.

        Raises:
            Exception: What went wrong when it was measured.
        """
        run, trial = state.run, state.trial
        pace = self.pace(run, trial)
        left = 1 - state.epoch / _schedule(run, trial).epochs if _trains(run, trial) else 0
        evaluated = sum(run.store.domains[d].splits[trial.split].num_images for d in trial.domains)
        if run.config.routing is not None and not trial.kept:
            evaluated *= 1 + run.config.routes  # one pass is for the policy
        return left * num_trained(run, trial) * pace.train + evaluated * pace.evaluate

    def pace(self, run: Run, trial: Trial) -> Pace:
        """Returns what an image takes.

        Raises:
            Exception: What went wrong when that was measured.
        """
        key = (run.source.sha256 if trial.kept else run.name, trial.kept)
        train, evaluation = (_pixels(run, trial, training) for training in (True, False))
        if key not in self._per_pixel:
            found = _measure(run, trial)
            self._per_pixel[key] = Pace(found.train / train, found.evaluate / evaluation)
        found = self._per_pixel[key]
        return Pace(found.train * train, found.evaluate * evaluation)


def num_trained(run: Run, trial: Trial) -> float:
    """Counts the images that a trial trains on, over all epochs."""
    if not _trains(run, trial):
        return 0
    counts, steps = _counts(run, trial), _steps(run, trial)
    # Domains that are trained jointly take turns, whatever their sizes.
    per_step = sum(c / s for c, s in zip(counts, steps, strict=True)) / len(counts)
    return _schedule(run, trial).total * per_step


def _trains(run: Run, trial: Trial) -> bool:
    return not trial.kept and run.trainer is None


def _counts(run: Run, trial: Trial) -> list[int]:
    """Returns the number of training images of each domain."""
    return [run.task(trial, domain).num_images for domain in trial.domains]


def _steps(run: Run, trial: Trial) -> list[int]:
    """Returns the steps in a pass over the images of each domain."""
    return [-(-count // run.method.recipe.batch_size) for count in _counts(run, trial)]


def _schedule(run: Run, trial: Trial) -> Schedule:
    return schedule_of(run.method.recipe, _steps(run, trial))


def _pixels(run: Run, trial: Trial, training: bool) -> float:
    """Returns the pixels of an image as the network sees it, on average over the domains."""
    method = run.method_of(trial)
    tasks = [run.task(trial, domain) for domain in trial.domains]
    # Whole images have sizes of their own, but the short side is the suite's.
    sides = [method.view(task, training).crop or run.store.suite.side for task in tasks]
    return sum(side**2 for side in sides) / len(sides)


def _measure(run: Run, trial: Trial) -> Pace:
    """Trains for two steps and evaluates a batch twice; returns what an image took at last."""
    fabric = run.config.compute.fabric(outline(run.source.architecture))
    domain = trial.domains[0]
    size = run.method.recipe.batch_size
    if fabric.device.type == "cpu":
        size = min(size, FEW, max(2, int(FEW_PIXELS / _pixels(run, trial, training=True))))
    method, seconds = run.method_of(trial), 0.0
    network: nn.Module = run.source.network()
    if not trial.kept:
        method = type(run.method)(
            replace(run.method.recipe, epochs=2, steps=None, lr=RATE, head_lr=None)
        )
        feeds = [feed_of(run, trial, d, fabric, training=True, size=size) for d in trial.domains]
        network = build(run, trial, [feed.task for feed in feeds])
    if not _trains(run, trial):
        network = method.finalise(network)
    else:
        reports: list[dict[str, Any]] = []
        streams = [_OneStep(feed, int(feed is feeds[0])) for feed in feeds]
        network = train(method, network, streams, fabric, trial.seed, reports.append)
        seconds = 1 / reports[-1]["images_per_s"]
    feed = feed_of(run, trial, domain, fabric, training=False, size=size)
    network = method.part(network, domain)
    to_device(network, fabric.device)
    network.eval()
    for _ in range(2):
        began = time.perf_counter()
        with torch.inference_mode(), fabric.autocast():
            _, batch = next(feed.evaluation(size))
            method.predict(network, batch)[0].argmax(1).cpu()
    return Pace(seconds, (time.perf_counter() - began) / len(batch.labels))


class _OneStep:
    """A feed of which one step is called an epoch, since the loop reports the time of epochs."""

    def __init__(self, feed: Feed, steps_per_epoch: int) -> None:
        self.feed, self.task, self.steps_per_epoch = feed, feed.task, steps_per_epoch

    def training(self, start: int, progress: Callable[[int], float]) -> Iterator[Batch]:
        return self.feed.training(start, progress)


def preview(states: Sequence[TrialState], console: Console | None = None) -> None:
    """Prints all trials with their states, and an estimate of their time.

    Nothing is written, and nothing is trained but two steps of each method to measure their time.

    Args:
        states: What :func:`decathlon.running.survey.survey` found.
        console: Where to; by default standard output.
    """
    console = console or Console(highlight=False)
    found = _measured(states)
    seconds = [None if isinstance(took, Exception) else took for took in found]
    console.print(_trials(states, seconds))
    console.print()
    console.print(_methods(states, seconds))
    console.print()
    for line in [*_reasons(states, found), *_advice(states), _conclusion(states, seconds)]:
        console.print(Text(visible_lines(line)))


def _measured(states: Sequence[TrialState]) -> list[float | Exception | None]:
    """Returns the seconds that each trial will take, or why they are not known.

    None stands for a trial that is not to be done here.
    """
    found: list[float | Exception | None] = [None] * len(states)
    left = [number for number, item in enumerate(states) if item.state in MEASURED]
    if not left:
        return found
    estimates = Estimates()
    with progress("measuring", len(left), "trials") as bar:
        for number in left:
            try:
                found[number] = estimates.seconds(states[number])
            except Exception as error:  # noqa: BLE001 - the trial itself will say it
                found[number] = error.with_traceback(None)
            bar.advance()
    return found


def _words(item: TrialState) -> str:
    """Says how a trial stands in a few words."""
    of = _schedule(item.run, item.trial).epochs if item.epoch else 0
    epochs = f" after epoch {item.epoch} of {of}" if item.epoch else ""
    return WORDS[item.state] + epochs + (": see below" if item.failure is not None else "")


def _trials(states: Sequence[TrialState], seconds: Sequence[float | None]) -> Grid:
    state = Column("state", wraps=True, below=True)
    seed, time = (Column(heading, right=True) for heading in ("seed", "time"))
    subset = [Column("images")] if any(item.trial.subset for item in states) else []
    table = Grid([Column("name"), Column("domain"), *subset, seed, state, time])
    for item, needed in zip(states, seconds, strict=True):
        trial = item.trial
        domains = trial.domains[0] if len(trial.domains) == 1 else f"{len(trial.domains)} jointly"
        took = "" if needed is None else duration(needed)
        images = [trial.subset_name or "all"] if subset else []
        cells = (trial.name, domains, *images, str(trial.seed), _words(item), took)
        table.add_row(*map(visible, cells))
    return table


def _methods(states: Sequence[TrialState], seconds: Sequence[float | None]) -> Grid:
    numbers = [Column(heading, right=True) for heading in ("trials", "done", "time to go")]
    table = Grid([Column("name"), *numbers])
    for name in dict.fromkeys(item.trial.name for item in states):
        own = [(i, s) for i, s in zip(states, seconds, strict=True) if i.trial.name == name]
        done = sum(item.state == "done" for item, _ in own)
        left = [s for item, s in own if item.state in MEASURED]
        known = sum(s for s in left if s is not None)
        time = "" if not left else "not known" if None in left else duration(known)
        table.add_row(*map(visible, (name, str(len(own)), str(done), time)))
    return table


def _reasons(states: Sequence[TrialState], found: Sequence[float | Exception | None]) -> list[str]:
    """Says why trials failed or cannot be run, and why a time is not known."""
    failures = []
    for item, took in zip(states, found, strict=True):
        if item.failure is not None:
            failures.append(item.failure)
        if isinstance(took, Exception) and (
            item.failure is None or str(took) != item.failure.reason
        ):
            failures.append(Failure(item.trial, 1, f"no estimate: {took}"))
    return [f"{which}: {reason}" for which, reason in grouped(failures)]


def _advice(states: Sequence[TrialState]) -> list[str]:
    """Names the methods that mean another kind of source network than they are given."""
    others: dict[str, list[Run]] = {}
    for run in {id(item.run): item.run for item in states if item.state in MEASURED}.values():
        given = run.source.architecture
        meant = run.method.pretraining(given.width).adapters
        if run.method.needs_source and meant != given.adapters:
            others.setdefault(meant, []).append(run)
    return [
        f"{', '.join(run.name for run in runs)}: can start from this source, but what is meant is"
        f" one with {meant} adapters: 'decathlon pretrain --method {runs[0].method_name}' trains"
        " it, --source METHOD=FILE names it"
        for meant, runs in others.items()
    ]


def _conclusion(states: Sequence[TrialState], seconds: Sequence[float | None]) -> str:
    count = Counter(item.state for item in states)
    counts = ", ".join(f"{number} {WORDS[state]}" for state, number in count.items())
    line = f"{plural(len(states), 'trial')}: {counts}"
    if all(s is None for s in seconds):
        return line
    cached = any(item.run.config.cache_frozen for item in states)
    return (
        f"{line}. About {duration(sum(s or 0 for s in seconds))} on this machine with one process"
        f" (threads: {torch.get_num_threads()}), as measured in one step of each method"
        + "; less with --cache-frozen"
        * cached
    )
