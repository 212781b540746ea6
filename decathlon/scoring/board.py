"""The leaderboard: one frame of plain rows from which every format is rendered."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from decathlon.domains import DOMAINS, SPLITS
from decathlon.errors import ResultError, UsageError, nearest
from decathlon.scoring import published
from decathlon.scoring.notes import notes_on
from decathlon.scoring.rows import Row, published_row, ranked, run_row
from decathlon.scoring.score import OFFICIAL_E_MAX
from decathlon.scoring.trials import Trials, read_trials, splits_present


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        split: Split that the runs were evaluated on.
        domains: Columns: the official domains in the paper's order, then others.
        e_max: E_max in [0, 1] by scored domain.
        baseline: Name whose errors define E_max, or None for the official values.
        rows: The rows in the order in which they are shown.
        results: The folder of records, if there is one.
        trials: The trials behind the runs, by name.
        hidden: Published rows that are not shown.
        others: Number of records of each other split, where this one has none.
    """

    split: str
    domains: tuple[str, ...]
    e_max: dict[str, float]
    baseline: str | None
    rows: tuple[Row, ...]
    results: Path | None = None
    trials: dict[str, Trials] = field(default_factory=dict)
    hidden: tuple[Row, ...] = ()
    others: dict[str, int] = field(default_factory=dict)

    def behind(self, row: Row) -> Trials | None:
        """Returns the trials behind a row, or None where it is a published one."""
        return self.trials.get(row.method or "") if row.kind == "run" else None

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the rows that are shown, one sentence or two each."""
        found = notes_on(
            self.rows,
            [trials for row in self.rows if (trials := self.behind(row))],
            split=self.split,
            baseline=self.trials[self.baseline] if self.baseline else None,
            others=self.others,
            hidden=len(self.hidden),
        )
        return tuple(found)


def build(
    results: Path | None,
    split: str = "test",
    baseline: str | None = None,
    all_rows: bool = False,
) -> Board:
    """Builds the leaderboard of a results folder.

    Rows of the literature come first, in the order of their table, then the runs,
    best first. The literature is shown beside official results on the test split only.

    Args:
        results: The folder of records, or None for the literature alone.
        split: Split whose records are read.
        baseline: Name whose mean errors define E_max (twice each); by default
            E_max is official, which only results on the official data can use.
        all_rows: All published rows instead of Table 3 of the SpotTune paper.

    Raises:
        UsageError: Unknown split or baseline.
        ResultError: A record or row is not valid, or results on other than the
            official data are scored without a baseline.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'{nearest(split, SPLITS)} ({', '.join(SPLITS)})")
    trials = read_trials(results, split) if results is not None else {}
    if baseline is None:
        check_official(trials.values())
    e_max, base = defining_e_max(trials, baseline, split)
    domains = _columns(trials.values())
    runs = [run_row(t, domains, e_max, base) for t in trials.values()]
    runs.sort(key=lambda row: (row.score is None, -(row.score or 0), row.label))
    literature = published.published_rows(results) if base is None and split == "test" else []
    shown = [row for row in literature if all_rows or row.table == published.TABLE_3]
    rows = ranked([*map(published_row, shown), *runs], domains)
    hidden = tuple(published_row(row) for row in literature if row not in shown)
    others = dict(splits_present(results)) if results is not None and not trials else {}
    return Board(split, domains, e_max, baseline, tuple(rows), results, trials, hidden, others)


def defining_e_max(
    trials: dict[str, Trials], baseline: str | None, split: str
) -> tuple[dict[str, float], Trials | None]:
    """Returns E_max by domain, and the trials that define it if it is not official.

    It is twice the mean error over the baseline's seeds. A domain in which the baseline
    makes no error is left out: nothing could be scored against it.

    Raises:
        UsageError: There is no such baseline.
        ResultError: Its labels are unknown.
    """
    if baseline is None:
        return dict(OFFICIAL_E_MAX), None
    base = _baseline_of(trials, baseline, split)
    errors = base.mean_errors()
    known = [*DOMAINS, *sorted(set(errors) - set(DOMAINS))]
    return {name: 2 * errors[name] for name in known if errors.get(name, 0) > 0}, base


def _columns(trials: Iterable[Trials]) -> tuple[str, ...]:
    found = {record.domain for t in trials for record in t.records}
    return (*DOMAINS, *sorted(found - set(DOMAINS)))


def check_official(trials: Iterable[Trials]) -> None:
    """Raises ResultError where a record is not of the official data."""
    for trial in trials:
        for record in trial.records:
            if not record.official or record.domain not in DOMAINS:
                raise ResultError(
                    f"{record.folder}: not on the official {record.domain} data, so the official"
                    " E_max does not apply: name the run that defines E_max with --baseline NAME"
                    " (e.g. --baseline fine-tuning)"
                )


def _baseline_of(trials: dict[str, Trials], name: str, split: str) -> Trials:
    if name not in trials:
        known = ", ".join(trials) or "none"
        raise UsageError(
            f"no {split} results of baseline '{name}'{nearest(name, trials)} (there are: {known})"
        )
    if not trials[name].domains:
        raise ResultError(
            f"baseline '{name}': the labels of the {split} split are unknown, so it has no errors;"
            " prepare the data with --labels and run it again"
        )
    return trials[name]
