"""The rows of a board: what is known of one published result, or of runs with one setup."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from decathlon.results.records import PublishedRow, RunRecord, params_ratio
from decathlon.scoring import rounding
from decathlon.scoring.score import OFFICIAL_E_MAX, decathlon_score, domain_points, slope
from decathlon.scoring.setups import Setup
from decathlon.scoring.trials import Trials
from decathlon.suites.visual_decathlon import DOMAINS

Pair = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """One row of a board.

    Attributes:
        method: Name under RESULTS of a run; registered method of a published row, if any.
        label: What the row is called: unique among runs.
        kind: ``"published"`` or ``"run"``.
        params_ratio: #par, in units of one plain network, or None where it is unknown.
        params_domains: Number of target domains that #par of a run rests on.
        accuracy: Accuracy in percent by column, the mean over seeds; None where missing.
        points: Points by scored domain, the mean over seeds.
        slopes: Points that S gains per accuracy point, by scored domain.
        score: S, the mean over seeds of each seed's S; None where nothing is known.
        score_printed: Score as printed in the literature.
        score_range: The least and greatest S that round to the printed accuracies.
        consistent: Whether some S in that range rounds to the printed score.
        ci: 95 % interval of S.
        accuracy_ci: 95 % interval of each accuracy, in percent.
        seeds: Seeds that the row is the mean of.
        missing: Columns without an accuracy; they count 0.
        unknown: Those of the missing that were predicted, but have no labels.
        training_seconds: Seconds of training, the mean over seeds.
        mean_rank: Mean over the columns of the row's rank among the rows shown.
        year: Year of publication.
        table: Table that a published row is printed in.
        source: Citation of a published row.
        note: What is known to be odd about it.
        setup: How the records of a run were made.
        group: Number of the row's group on the board; rows of a group rest on one source.
    """

    method: str | None
    label: str
    kind: Literal["published", "run"]
    params_ratio: float | None
    accuracy: dict[str, float | None]
    points: dict[str, float]
    slopes: dict[str, float]
    score: float | None
    missing: tuple[str, ...]
    params_domains: int | None = None
    score_printed: float | None = None
    score_range: Pair | None = None
    consistent: bool | None = None
    ci: Pair | None = None
    accuracy_ci: dict[str, Pair] | None = None
    seeds: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()
    training_seconds: float | None = None
    mean_rank: float | None = None
    year: int | None = None
    table: str = ""
    source: str = ""
    note: str = ""
    setup: Setup | None = None
    group: int = 0

    @property
    def section(self) -> tuple[str, int]:
        """Kind and group: rows that differ in it are set apart."""
        return self.kind, self.group

    @property
    def covered(self) -> int:
        """Number of columns with an accuracy."""
        return sum(value is not None for value in self.accuracy.values())

    @property
    def mean_accuracy(self) -> float | None:
        """Mean accuracy in percent over the columns covered."""
        known = [value for value in self.accuracy.values() if value is not None]
        return math.fsum(known) / len(known) if known else None


def published_row(row: PublishedRow) -> Row:
    """Scores one row of the literature and audits its printed score."""
    accuracy = {name: row.accuracy.get(name) for name in DOMAINS}
    errors = {name: 1 - a / 100 for name, a in accuracy.items() if a is not None}
    bounds = rounding.score_range(accuracy) if errors else None
    fits = None
    if bounds and row.score_printed is not None:
        fits = rounding.consistent(row.score_printed, bounds)
    return Row(
        method=row.method,
        label=row.label,
        kind="published",
        params_ratio=row.params_ratio,
        accuracy=accuracy,
        points=domain_points(errors),
        slopes={name: slope(error, OFFICIAL_E_MAX[name]) for name, error in errors.items()},
        score=decathlon_score(errors) if errors else None,
        missing=tuple(name for name in accuracy if accuracy[name] is None),
        score_printed=row.score_printed,
        score_range=bounds,
        consistent=fits,
        year=row.year,
        table=row.table,
        source=row.source,
        note=row.note,
    )


def plug_in_score(trials: Trials, e_max: dict[str, float]) -> float | None:
    """Returns the mean over seeds of each seed's S, or None where nothing is scored."""
    if not any(name in e_max for name in trials.domains):
        return None
    seeds = [trials.errors(seed, e_max) for seed in trials.counted]
    return _mean([decathlon_score(errors, e_max) for errors in seeds])


def run_row(
    trials: Trials,
    domains: tuple[str, ...],
    e_max: dict[str, float],
    baseline: Trials | None = None,
) -> Row:
    """Scores the seeds of one name and setup that cover the most domains.

    Args:
        trials: Its records.
        domains: Columns of the board.
        e_max: E_max by scored domain.
        baseline: Trials that ``e_max`` was computed from; they are redrawn too.
    """
    errors = trials.mean_errors()
    seeds = [trials.errors(seed, e_max) for seed in trials.counted]
    points = [domain_points(seed, e_max) for seed in seeds]
    scored = [name for name in e_max if name in errors]
    ci, accuracy_ci = _intervals(trials, e_max, baseline)
    params = params_ratio(trials.used)
    accuracy = {name: 100 * (1 - errors[name]) if name in errors else None for name in domains}
    return Row(
        method=trials.name,
        label=trials.label,
        kind="run",
        params_ratio=params[0] if params else None,
        params_domains=params[1] if params else None,
        accuracy=accuracy,
        points={name: _mean([p[name] for p in points]) for name in scored},
        slopes={name: _mean([slope(s[name], e_max[name]) for s in seeds]) for name in scored},
        score=plug_in_score(trials, e_max),
        missing=tuple(name for name in domains if accuracy[name] is None),
        ci=ci if scored else None,
        accuracy_ci=accuracy_ci,
        seeds=tuple(trials.counted),
        unknown=tuple(name for name in domains if name in trials.unknown),
        training_seconds=_training_seconds(trials),
        setup=trials.setup,
    )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _intervals(
    trials: Trials, e_max: dict[str, float], baseline: Trials | None
) -> tuple[Pair | None, dict[str, Pair]]:
    if not trials.counted:
        return None, {}
    # Imported here: a board of published rows alone does not pay for numpy.
    from decathlon.scoring import statistics

    drawn = statistics.draw([trials], e_max, baseline)[0]
    score = statistics.interval(drawn.score)
    return score, {name: statistics.interval(a) for name, a in drawn.accuracy.items()}


def _seconds(records: Iterable[RunRecord]) -> float:
    """Sums the training of one seed; domains trained jointly record the same seconds."""
    found = (record.timing.get("train_seconds") for record in records if record.trained)
    return math.fsum({float(s) for s in found if isinstance(s, (int, float))})


def _training_seconds(trials: Trials) -> float | None:
    by_seed = [_seconds(records.values()) for records in trials.counted.values()]
    return _mean(by_seed) if by_seed else None


def ranked(rows: Sequence[Row], domains: Sequence[str]) -> list[Row]:
    """Gives each row the mean over ``domains`` of its rank among ``rows``.

    Equal accuracies share the mean of their ranks; missing ones share the last. Columns
    that no row has, and rows without any accuracy, are left out.
    """
    ranks: list[list[float]] = [[] for _ in rows]
    present = [i for i, row in enumerate(rows) if row.covered]
    for name in domains:
        values = {i: -1.0 if (a := rows[i].accuracy.get(name)) is None else a for i in present}
        if all(value < 0 for value in values.values()):
            continue
        for i, value in values.items():
            above = sum(other > value for other in values.values())
            equal = sum(other == value for other in values.values())
            ranks[i].append(above + (equal + 1) / 2)
    return [
        replace(row, mean_rank=sum(own) / len(own) if own else None)
        for row, own in zip(rows, ranks, strict=True)
    ]
