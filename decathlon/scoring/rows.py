"""The rows of a board: what is known of one published result, or of runs with one setup."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal

from decathlon.results.parameters import params_ratio
from decathlon.results.published import PublishedRow
from decathlon.scoring import rounding
from decathlon.scoring.entries import Entry
from decathlon.scoring.rounding import Pair
from decathlon.scoring.setups import Setup
from decathlon.suites.base import Suite
from decathlon.suites.score import domain_points, slope
from decathlon.suites.subset import Subset

if TYPE_CHECKING:
    from decathlon.scoring.difference import ToBaseline


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
        slopes: Points that the score gains per accuracy point, by scored domain.
        score: The mean over seeds of each seed's score; None where nothing is scored.
        score_printed: Score as printed in the literature.
        score_range: The least and greatest score that round to the printed accuracies.
        consistent: Whether some score in that range rounds to the printed one.
        ci: 95 % interval of the score.
        accuracy_ci: 95 % interval of each accuracy, in percent.
        seeds: Seeds that the row is the mean of.
        draws: Draws of a subset of the training images that it is the mean of.
        num_repetitions: Number of combinations of seed and draw that it is the mean of.
        missing: Columns without an accuracy; they count 0.
        unknown: Those of the missing that were predicted, but have no labels.
        training_seconds: Seconds of training, the mean over seeds.
        flops: Floating-point operations of a test image, the mean over the records; None if one
            does not tell.
        peak_memory: The highest of its trials, in bytes; None if one does not tell.
        mean_rank: Mean over the columns of the row's rank among the rows shown.
        year: Year of publication.
        table: Table that a published row is printed in.
        source: Citation of a published row.
        note: What is known to be odd about it.
        setup: How the records of a run were made.
        group: Number of the row's group on the board; rows of a group rest on one source.
        subset: Size of the subset of the training images, such as ``10shot``; empty for all.
        versus: How the mean accuracy differs from the baseline's, or None.
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
    draws: tuple[int, ...] = ()
    num_repetitions: int = 0
    unknown: tuple[str, ...] = ()
    training_seconds: float | None = None
    flops: float | None = None
    peak_memory: int | None = None
    mean_rank: float | None = None
    year: int | None = None
    table: str = ""
    source: str = ""
    note: str = ""
    setup: Setup | None = None
    group: int = 0
    subset: str = ""
    versus: "ToBaseline | None" = None

    @property
    def section(self) -> tuple[str, str, int]:
        """Subset, kind and group: rows that differ in it are set apart."""
        return self.subset, self.kind, self.group

    @property
    def covered(self) -> int:
        """Number of columns with an accuracy."""
        return sum(value is not None for value in self.accuracy.values())

    @property
    def mean_accuracy(self) -> float | None:
        """Mean accuracy in percent over the columns covered."""
        known = [value for value in self.accuracy.values() if value is not None]
        return math.fsum(known) / len(known) if known else None

    @property
    def difference(self) -> float | None:
        """Mean accuracy minus the baseline's, in points, over the domains that both have."""
        return self.versus.mean.difference if self.versus else None


def merit(row: Row, suite: Suite) -> float | None:
    """Returns what runs are ordered by: the score, or the mean accuracy if there is none."""
    return row.score if suite.score else row.mean_accuracy


def merit_text(suite: Suite) -> str:
    """Returns what :func:`merit` is called."""
    return suite.score.heading if suite.score else "Mean accuracy"


def placed(rows: Iterable[Row], suite: Suite) -> list[tuple[Row, float, float]]:
    """Returns the rows that a plot of merit over size can show, with their #par and merit."""
    found = [(row, row.params_ratio, merit(row, suite)) for row in rows]
    return [(row, size, value) for row, size, value in found if size and value is not None]


def powers_of_two(sizes: Sequence[float]) -> list[float]:
    """Returns the powers of two among the sizes, or the sizes where there are hardly any."""
    low, high = math.ceil(math.log2(min(sizes))), math.floor(math.log2(max(sizes)))
    powers = [2.0**power for power in range(low, high + 1)]
    return powers if len(powers) > 1 else sorted({min(sizes), max(sizes)})


def published_row(row: PublishedRow, suite: Suite) -> Row:
    """Scores one row of the literature and audits its printed score."""
    accuracy = {name: row.accuracy.get(name) for name in suite.domains}
    e_max = suite.score.e_max if suite.score else {}
    scored = {name: a for name, a in accuracy.items() if a is not None and name in e_max}
    errors = {name: 1 - a / 100 for name, a in scored.items()}
    points = domain_points(errors, e_max)
    bounds = rounding.score_range(scored, e_max) if errors else None
    printed = row.score_printed
    fits = rounding.consistent(printed, bounds) if bounds and printed is not None else None
    return Row(
        method=row.method,
        label=row.label,
        kind="published",
        params_ratio=row.params_ratio,
        accuracy=accuracy,
        points=points,
        slopes={name: slope(error, e_max[name]) for name, error in errors.items()},
        score=math.fsum(points.values()) if errors else None,
        missing=tuple(name for name in accuracy if accuracy[name] is None),
        score_printed=row.score_printed,
        score_range=bounds,
        consistent=fits,
        year=row.year,
        table=row.table,
        source=row.source,
        note=row.note,
        subset=row.subset,
    )


def run_row(
    entry: Entry,
    domains: tuple[str, ...],
    e_max: Mapping[str, float],
    suite: Suite,
    baseline: Entry | None = None,
) -> Row:
    """Scores the seeds of one name and setup that cover the most domains.

    Args:
        entry: Its records.
        domains: Columns of the board.
        e_max: E_max by scored domain.
        suite: The suite of the board.
        baseline: The row that ``e_max`` was computed from; it is redrawn too.
    """
    errors = entry.mean_errors()
    seeds = [entry.errors(seed, e_max) for seed in entry.counted]
    points = [domain_points(seed, e_max) for seed in seeds]
    scored = [name for name in e_max if name in errors]
    ci, accuracy_ci = _intervals(entry, e_max, baseline) if entry.counted else (None, {})
    params = params_ratio(entry.used, suite)
    flops = _known(one.cost.flops if one.cost else None for one in entry.used)
    memory = _known(one.cost.peak_memory if one.cost else None for one in entry.used)
    accuracy = {name: 100 * (1 - errors[name]) if name in errors else None for name in domains}
    return Row(
        method=entry.name,
        label=entry.label,
        kind="run",
        params_ratio=params[0] if params else None,
        params_domains=params[1] if params else None,
        accuracy=accuracy,
        points={name: _mean([p[name] for p in points]) for name in scored},
        slopes={name: _mean([slope(s[name], e_max[name]) for s in seeds]) for name in scored},
        score=entry.score(e_max),
        missing=tuple(name for name in domains if accuracy[name] is None),
        ci=ci if scored else None,
        accuracy_ci=accuracy_ci,
        seeds=tuple(sorted({one.seed for one in entry.counted})),
        draws=tuple(sorted({one.draw for one in entry.counted})),
        num_repetitions=len(entry.counted),
        unknown=tuple(name for name in domains if name in entry.unknown),
        training_seconds=_training_seconds(entry),
        flops=_mean(flops) if flops else None,
        peak_memory=max(memory, default=None),
        setup=entry.setup,
        subset=entry.setup.subset,
    )


def _known(values: Iterable[int | None]) -> list[int]:
    """Returns the values if all are known, else none."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _intervals(
    entry: Entry, e_max: Mapping[str, float], baseline: Entry | None
) -> tuple[Pair, dict[str, Pair]]:
    # Imported here: a board of published rows alone does not pay for numpy.
    from decathlon.scoring import intervals

    drawn = intervals.draw([entry], e_max, baseline)[0]
    accuracy = {name: intervals.interval(a) for name, a in drawn.accuracy.items()}
    return intervals.interval(drawn.score), accuracy


def _training_seconds(entry: Entry) -> float | None:
    by_seed = []
    for records in entry.counted.values():
        found = [r.timing.get("train_seconds") for r in records.values() if r.trained]
        # Domains trained jointly record the same seconds.
        by_seed.append(math.fsum({float(s) for s in found if isinstance(s, int | float)}))
    return _mean(by_seed) if by_seed else None


def by_size(rows: Iterable[Row]) -> list[Row]:
    """Puts rows of subsets of the training images after those of all, larger ones first."""

    def rank(row: Row) -> tuple[bool, bool, float]:
        return bool(row.subset), *(Subset.named(row.subset).rank if row.subset else (False, 0.0))

    return sorted(rows, key=rank)


def ranked(rows: Sequence[Row], domains: Sequence[str]) -> list[Row]:
    """Gives each row the mean over ``domains`` of its rank among ``rows`` of the same subset.

    Equal accuracies share the mean of their ranks; missing ones share the last. Columns
    that no row has, and rows without any accuracy, are left out.
    """
    ranks: list[list[float]] = [[] for _ in rows]
    subsets = dict.fromkeys(row.subset for row in rows)
    for name, subset in product(domains, subsets):
        present = [i for i, row in enumerate(rows) if row.covered and row.subset == subset]
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
