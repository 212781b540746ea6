"""A sweep: trials on val at the points of a space, and a trial on test with the best settings.

The points and the winner are ordinary trials, so that a sweep which is interrupted goes on where
it stopped, and points that are finished are not trained again, whatever sweep they were made for.
The rule is fixed: the highest accuracy on val, and of equal ones the earlier point.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from decathlon.common.errors import DataError, UsageError, first_difference
from decathlon.common.files import check_folder, digest_of
from decathlon.common.locks import claim
from decathlon.results.points import point_name
from decathlon.results.records import read_record
from decathlon.results.selection import Selection, procedure
from decathlon.running.config import RunConfig
from decathlon.running.faults import Failure
from decathlon.running.proposals import Study, import_optuna
from decathlon.running.resolve import resolve, vary
from decathlon.running.run import Run
from decathlon.running.space import Point, Space
from decathlon.running.survey import TrialState, survey
from decathlon.running.trial_folder import TrialFolder

BEST = "best"
"""Ends the name of the winner: ``fine-tuning+best``."""
ONE_NETWORK = ("protocol", "width")
"""Settings that change more than their own value, so that domains cannot differ in them."""

Launch = Callable[[Sequence[TrialState]], list[Failure]]
"""Runs trials; returns those that failed."""


@dataclass(frozen=True)
class Tried:
    """A point and what came of it.

    Attributes:
        point: Its settings.
        accuracy: On val by domain, from 0 to 1, the mean over seeds; None where a trial failed.
    """

    point: Point
    accuracy: dict[str, Fraction | None]

    @property
    def mean(self) -> Fraction | None:
        """The mean accuracy over the domains; None if a trial failed in one."""
        known = [value for value in self.accuracy.values() if value is not None]
        return _mean(known) if len(known) == len(self.accuracy) else None


@dataclass(frozen=True)
class Choice:
    """The points that were tried for some domains, and the best of them.

    Attributes:
        domains: The domains that share the choice.
        tried: The points, in order.
    """

    domains: tuple[str, ...]
    tried: tuple[Tried, ...]

    @property
    def best(self) -> Tried | None:
        """The point of the highest mean accuracy, the first of equal ones; None if all failed."""
        known = [(tried.mean, tried) for tried in self.tried if tried.mean is not None]
        return max(known, key=lambda pair: pair[0])[1] if known else None


@dataclass(frozen=True)
class Sweep:
    """A checked sweep of one method; see :func:`plan`.

    Attributes:
        run: The method, source and data, without the settings of a point; its domains are those
            in which anything is trained.
        config: The configuration that was asked for, with all domains.
        space: What is tried.
        groups: The domains, in groups that share a choice.
        points: The points; with Optuna, the ends of the space.
        runs: The run of each point on val.
    """

    run: Run
    config: RunConfig
    space: Space
    groups: tuple[tuple[str, ...], ...]
    points: tuple[Point, ...]
    runs: tuple[Run, ...]

    @property
    def winner(self) -> str:
        """The name of the winner in the results."""
        return f"{self.config.name or self.run.method_name}+{BEST}"

    def selection(self, domains: Sequence[str], point: Point) -> Selection:
        """Describes the choice of a point for some domains."""
        of = f"mean accuracy over {', '.join(domains)}" if len(domains) > 1 else "accuracy"
        return Selection(
            space=self.space.as_json(),
            sampler=self.space.sampler,
            trials=self.space.trials if self.space.optuna else len(self.points),
            rule=f"highest {of}; of equal ones the earlier point",
            chosen=point,
        )

    def choices(self, launch: Launch) -> list[Choice]:
        """Tries the points, and returns a choice for each group of domains.

        Raises:
            UsageError: A finished record of a point belongs to another run.
            DataError: The labels of val are unknown.
        """
        if self.space.optuna:
            with self._studying() as folder:
                return [self._proposed(group, folder, launch) for group in self.groups]
        launch(survey(self.runs))
        return [
            Choice(
                group,
                tuple(
                    Tried(point, _accuracy(run, group))
                    for point, run in zip(self.points, self.runs, strict=True)
                ),
            )
            for group in self.groups
        ]

    def winners(self, choices: Sequence[Choice]) -> list[TrialState]:
        """Returns the trials on test with the chosen settings, of all groups that have any."""
        config = replace(self.config, split="test", name=self.winner)
        kept = tuple(d for d in self.config.domains if d not in self.run.config.domains)
        configs = [replace(config, domains=kept)] if kept else []
        for choice in choices:
            if (best := choice.best) is not None:
                chosen = self.selection(choice.domains, best.point)
                own = replace(config, domains=choice.domains, selection=chosen)
                configs.append(_at(own, best.point))
        return survey(vary(self.run, configs))

    def _proposed(self, group: tuple[str, ...], folder: Path, launch: Launch) -> Choice:
        """Tries the points that Optuna proposes for a group of domains, one after the other."""
        config = replace(self.run.config, domains=group)
        (base,) = vary(self.run, [config])
        identities = [TrialFolder(base, trial).identity() for trial in base.trials()]
        name = digest_of([identities, config.seeds, self.space.as_json()])
        study = Study(folder, name, self.space, config.seeds[0])
        found = []
        for number in range(self.space.trials):
            point, trial = study.point(number)
            (run,) = vary(self.run, [_named(config, point)])
            states = survey([run])
            if any(state.state != "done" for state in states):
                launch(states)
            found.append(Tried(point, _accuracy(run, group)))
            if trial is not None:
                study.tell(trial, found[-1].mean)
        return Choice(group, tuple(found))

    @contextmanager
    def _studying(self) -> Iterator[Path]:
        """Yields the folder of Optuna's journal, which no other process writes meanwhile."""
        results = self.config.results
        check_folder(results, "name another folder with --results")
        folder = results / self.winner
        with claim(folder) as ours:
            if not ours:
                raise UsageError(
                    f"{folder}: another process is at work on this sweep with Optuna; wait until it"
                    " has ended"
                )
            yield folder


def plan(config: RunConfig, space: Space, per_domain: bool) -> Sweep:
    """Checks what a user asked for, all points included, and makes it a sweep.

    Args:
        config: The configuration, of one method.
        space: What is to be tried.
        per_domain: Choose for each domain, not for all together.

    Raises:
        UsageError: Something does not fit, or the results hold the winner of another sweep.
        DataError: The data or source weights are missing or damaged.
    """
    if space.optuna:
        import_optuna()
    (run,) = resolve(replace(config, split="val", force=False))
    method = run.method_name
    trials = [trial for trial in run.trials() if not trial.kept]
    domains = tuple(dict.fromkeys(domain for trial in trials for domain in trial.domains))
    if run.trainer is not None:
        raise UsageError(
            f"method '{method}' trains nothing: it evaluates the network of {run.trainer.name},"
            " which can be swept"
        )
    if not domains:
        raise UsageError(
            f"method '{method}' trains nothing in {', '.join(run.config.domains)}, so there is"
            " nothing to choose; name other domains with --domain"
        )
    if per_domain:
        _check_per_domain(run, space)
    config = replace(config, domains=run.config.domains, seeds=run.config.seeds)
    own = replace(run.config, domains=domains)
    points = space.points(own.seeds[0])
    runs = vary(run, [_named(own, point) for point in points])
    sweep = Sweep(
        replace(run, config=own),
        config,
        space,
        tuple((domain,) for domain in domains) if per_domain else (domains,),
        tuple(points),
        tuple(runs),
    )
    for one in runs:
        _check_point(one)
    if not config.force:
        _check_earlier(sweep)
    return sweep


def _check_per_domain(run: Run, space: Space) -> None:
    """Raises UsageError where domains cannot have settings of their own."""
    if run.method.scope == "joint":
        raise UsageError(
            f"--per-domain: method '{run.method_name}' trains all domains jointly, with the same"
            " settings; leave it out"
        )
    for name in (name for name in space.as_json() if name in ONE_NETWORK):
        raise UsageError(f"--per-domain: all domains have the same {name}; leave one of them out")


def _check_point(run: Run) -> None:
    """Checks the name of a point, and the domains that its settings name.

    Raises:
        UsageError: Something does not fit, or a finished trial of that name is of another sweep.
    """
    for trial in run.trials():
        folder = TrialFolder(run, trial)
        for domain in trial.domains:
            if folder.record(domain).exists():
                folder.check_own(domain, "--name gives this sweep another name")


def _check_earlier(sweep: Sweep) -> None:
    """Raises UsageError where the results have the winner of another sweep."""
    config = replace(sweep.run.config, split="test", name=sweep.winner)
    (run,) = vary(sweep.run, [config])
    for trial in run.trials():
        for domain in trial.domains:
            path = TrialFolder(run, trial).record(domain)
            group = next(group for group in sweep.groups if domain in group)
            now = procedure(sweep.selection(group, {}))
            if path.exists() and (was := procedure(read_record(path).selection)) != now:
                raise UsageError(
                    f"{path}: was chosen in another way ({first_difference(was or {}, now)});"
                    " --force replaces it, --name gives this sweep another name"
                )


def _named(config: RunConfig, point: Point) -> RunConfig:
    """Returns the configuration of a point on val."""
    return replace(_at(config, point), name=point_name(config.name or config.methods[0], point))


def _at(config: RunConfig, point: Point) -> RunConfig:
    """Returns a configuration with the settings of a point."""
    own = (f"{name}={json.dumps(value)}" for name, value in point.items())
    return replace(config, settings=(*config.settings, *own))


def _accuracy(run: Run, domains: Sequence[str]) -> dict[str, Fraction | None]:
    """Reads the mean accuracies over seeds of a run, by domain; None where a trial failed.

    Raises:
        DataError: The labels are unknown.
    """
    found: dict[str, Fraction | None] = {}
    for domain in domains:
        paths = [
            TrialFolder(run, trial).record(domain)
            for trial in run.trials()
            if domain in trial.domains
        ]
        records = [read_record(path) for path in paths if path.exists()]
        known = [Fraction(r.correct, r.total) for r in records if r.correct is not None and r.total]
        if len(known) < len(records):
            raise DataError(
                f"{run.store.data}: the val labels of {domain} are unknown, so that no point can be"
                " chosen; prepare the data with --labels"
            )
        found[domain] = _mean(known) if len(known) == len(paths) else None
    return found


def _mean(values: Sequence[Fraction]) -> Fraction:
    """Returns the exact mean, so that points tie whatever the order of their domains."""
    return sum(values, Fraction()) / len(values)
