"""The leaderboard: one frame of plain rows from which every format is rendered."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from decathlon.common.errors import ResultError, UsageError, nearest
from decathlon.results import published
from decathlon.scoring import setups
from decathlon.scoring.integrity import check_same_images, official_problem
from decathlon.scoring.notes import notes_on
from decathlon.scoring.rows import Row, published_row, ranked, run_row
from decathlon.scoring.score import OFFICIAL_E_MAX
from decathlon.scoring.trials import Trials, find_trials, hint_on, read_trials
from decathlon.suites.base import SPLITS
from decathlon.suites.visual_decathlon import DOMAINS

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        split: Split that the runs were evaluated on.
        domains: Columns: the official domains in the paper's order, then others.
        e_max: E_max in [0, 1] by scored domain.
        baseline: Label of the run whose errors define E_max, or None for the official values.
        rows: The rows in the order in which they are shown.
        results: The folder of records, if there is one.
        trials: The trials behind the runs, by label.
        hidden: Published rows that are not shown.
        hint: What to do where there are no runs.
        checks: What the check of the records found.
        audited: Whether the records were checked against the labels.
    """

    split: str
    domains: tuple[str, ...]
    e_max: dict[str, float]
    baseline: str | None
    rows: tuple[Row, ...]
    results: Path | None = None
    trials: dict[str, Trials] = field(default_factory=dict)
    hidden: tuple[Row, ...] = ()
    hint: str = ""
    checks: tuple[str, ...] = ()
    audited: bool = False

    def behind(self, row: Row) -> Trials | None:
        """Returns the trials behind a row, or None where it is a published one."""
        return self.trials.get(row.label) if row.kind == "run" else None

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the rows that are shown, one sentence or two each."""
        found = notes_on(
            self.rows,
            [trials for row in self.rows if (trials := self.behind(row))],
            split=self.split,
            baseline=self.trials[self.baseline] if self.baseline else None,
            hint=self.hint,
            hidden=len(self.hidden),
            audited=self.audited,
        )
        return (*self.checks, *found)


def build(
    results: Path | None,
    split: str = "test",
    baseline: str | None = None,
    all_rows: bool = False,
    answers: "Answers | None" = None,
) -> Board:
    """Builds the leaderboard of a results folder.

    Rows of the literature come first, in the order of their table, then the runs, best
    first. Runs that start from different source networks are grouped by source. The
    literature is shown beside official results on the test split only.

    Args:
        results: The folder of records, or None for the literature alone.
        split: Split whose records are read.
        baseline: Name or label whose mean errors define E_max (twice each); by default
            E_max is official, which only results on the official data can use.
        all_rows: All published rows instead of Table 3 of the SpotTune paper.
        answers: Labels to check every record against; the digests of predictions are
            checked in any case.

    Raises:
        UsageError: Unknown split or baseline, or one that was run with several setups.
        ResultError: A record or row is not valid, a record is not what its predictions
            give, or results on other than the official data are scored without a
            baseline.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'{nearest(split, SPLITS)} ({', '.join(SPLITS)})")
    trials = read_trials(results, split) if results is not None else {}
    if baseline is None:
        check_official(trials.values())
    e_max, base = defining_e_max(trials, baseline, split, results)
    notes = []
    if results is not None:
        counted = [r for t in trials.values() for s in t.counted.values() for r in s.values()]
        notes += check_same_images(results, counted)
        if answers is not None:
            # Imported here: a board of published rows alone does not pay for numpy.
            from decathlon.scoring.audit import audit

            notes += audit(results, [r for t in trials.values() for r in t.records], answers)
    domains = _columns(trials.values())
    runs = _grouped([run_row(t, domains, e_max, base) for t in trials.values()])
    literature = published.published_rows(results) if base is None and split == "test" else []
    shown = [row for row in literature if all_rows or row.table == published.TABLE_3]
    rows = ranked([*map(published_row, shown), *runs], domains)
    hidden = tuple(published_row(row) for row in literature if row not in shown)
    return Board(
        split,
        domains,
        e_max,
        base.label if base else None,
        tuple(rows),
        results,
        trials,
        hidden,
        hint=hint_on(results, split) if results is not None and not trials else "",
        checks=tuple(notes),
        audited=answers is not None,
    )


def _grouped(runs: list[Row]) -> list[Row]:
    """Sorts runs by source, the group with the best score first, and best first in a group.

    Groups without a source come last.
    """
    runs = sorted(runs, key=lambda row: (row.score is None, -(row.score or 0), row.label))
    groups = setups.groups([row.setup for row in runs if row.setup])
    return sorted(
        (replace(row, group=groups[row.setup]) for row in runs if row.setup),
        key=lambda row: row.group,
    )


def defining_e_max(
    trials: dict[str, Trials], baseline: str | None, split: str, results: Path | None = None
) -> tuple[dict[str, float], Trials | None]:
    """Returns E_max by domain, and the trials that define it if it is not official.

    It is twice the mean error over the baseline's seeds. A domain in which the baseline
    makes no error is left out: nothing could be scored against it.

    Raises:
        UsageError: There is no such baseline, or it was run with several setups.
        ResultError: Its labels are unknown.
    """
    if baseline is None:
        return dict(OFFICIAL_E_MAX), None
    base = find_trials(trials, baseline, results, split, role="baseline ")
    if not base.domains:
        raise ResultError(
            f"baseline '{base.label}': the labels of the {split} split are unknown, so it has no"
            " errors; prepare the data with --labels and run it again"
        )
    errors = base.mean_errors()
    known = [*DOMAINS, *sorted(set(errors) - set(DOMAINS))]
    return {name: 2 * errors[name] for name in known if errors.get(name, 0) > 0}, base


def _columns(trials: Iterable[Trials]) -> tuple[str, ...]:
    found = {record.domain for t in trials for record in t.used}
    return (*DOMAINS, *sorted(found - set(DOMAINS)))


def check_official(trials: Iterable[Trials]) -> None:
    """Raises ResultError where a record is not of the official data, or cannot be.

    That a record calls its data official is not enough: the numbers of classes and images
    have to be the official ones.
    """
    for trial in trials:
        for record in trial.used:
            if problem := official_problem(record):
                raise ResultError(
                    f"{problem}. The official E_max does not apply to it: name the run that"
                    " defines E_max with --baseline NAME (e.g. --baseline fine-tuning)"
                )
