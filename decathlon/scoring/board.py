"""The leaderboard: one frame of plain rows from which every format is rendered."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from decathlon.common.errors import ResultError, check_known
from decathlon.results.published import published_rows
from decathlon.scoring import setups
from decathlon.scoring.entries import Entry, find_entry, hint_on, read_entries, suite_of
from decathlon.scoring.integrity import check_same_images, official_problem
from decathlon.scoring.notes import notes_on
from decathlon.scoring.reference import REFERENCE, ambiguous, references
from decathlon.scoring.rows import Row, by_size, merit, published_row, ranked, run_row
from decathlon.suites.base import SPLITS, Suite

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers


@dataclass(frozen=True)
class Board:
    """A leaderboard of one suite.

    Attributes:
        suite: The suite.
        split: Split that the runs were evaluated on.
        domains: Columns: the suite's domains in its order, then others.
        e_max: E_max in [0, 1] by scored domain; empty for a suite without a score.
        baseline: Label of the run to compare with: whose errors define E_max, or None for the
            official values. In a suite without a score, the one whose mean accuracy the others'
            differences are to, or None where there is none among the runs on all images.
        rows: The rows in the order in which they are shown.
        results: The folder of records, if there is one.
        entries: The records behind the runs, by label.
        hidden: Published rows that are not shown.
        hint: What to do where there are no runs.
        checks: What the check of the records found.
        audited: Whether the records were checked against the labels.
    """

    suite: Suite
    split: str
    domains: tuple[str, ...]
    e_max: dict[str, float]
    baseline: str | None
    rows: tuple[Row, ...]
    results: Path | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    hidden: tuple[Row, ...] = ()
    hint: str = ""
    checks: tuple[str, ...] = ()
    audited: bool = False

    def behind(self, row: Row) -> Entry | None:
        """Returns the records behind a row, or None where it is a published one."""
        return self.entries.get(row.label) if row.kind == "run" else None

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the rows that are shown, one sentence or two each."""
        found = notes_on(
            self.suite,
            self.split,
            self.rows,
            [entry for row in self.rows if (entry := self.behind(row))],
            baseline=self.entries[self.baseline] if self.baseline else None,
            hint=self.hint,
            hidden=len(self.hidden),
            audited=self.audited,
        )
        return (*self.checks, *found)

    @cached_property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """95 % intervals of the ranks of the runs that are shown, by label.

        A run is ranked among those on the same subset of the training images, if there are others.
        In a suite without a score, only those that cover the most domains have a rank.
        """
        found: dict[str, tuple[int, int]] = {}
        for rows in _comparable(self.rows, self.suite):
            # Imported here: a board of published rows alone does not pay for numpy.
            from decathlon.scoring.ranks import rank_intervals

            base = self.entries[self.baseline] if self.baseline and self.suite.score else None
            entries = [self.entries[row.label] for row in rows]
            ranks = rank_intervals(entries, self.e_max, base, self.suite)
            found |= {row.label: pair for row, pair in zip(rows, ranks, strict=True)}
        return found


def board_of(
    results: Path | None,
    split: str = "test",
    baseline: str | None = None,
    all_rows: bool = False,
    answers: "Answers | None" = None,
    suite: Suite | None = None,
) -> Board:
    """Makes the leaderboard of a results folder.

    Rows of the literature come first, in the order of their table, then the runs, best
    first. Runs that start from different source networks are grouped by source. Rows of subsets
    of the training images follow, in groups by size. The literature is shown beside official
    results on the test split only.

    Args:
        results: The folder of records, or None for the literature alone.
        split: Split whose records are read.
        baseline: Name or label whose mean errors define E_max (twice each); by default
            E_max is official, which only results on the official data can use. In a suite
            without a score, what the mean accuracies are compared with; ``fine-tuning`` by
            default, if there is such a run.
        all_rows: All published rows instead of those of the suite's main table.
        answers: Labels to check every record against; the digests of predictions are
            checked in any case.
        suite: The suite; by default, that of the records.

    Raises:
        UsageError: Unknown split or baseline, one that was run with several setups, or records
            of several suites.
        ResultError: A record or row is not valid, a record is not what its predictions
            give, or results on other than the official data are scored without a
            baseline.
    """
    check_known("split", split, SPLITS)
    suite = suite or suite_of(results)
    entries = read_entries(results, split, suite) if results is not None else {}
    e_max, base = defining_e_max(entries, baseline, split, suite, results)
    if base is None:
        check_official(entries.values(), suite)
    notes = []
    if results is not None:
        notes += check_same_images(results, [r for e in entries.values() for r in e.averaged])
        if answers is not None:
            # Imported here: a board of published rows alone does not pay for numpy.
            from decathlon.scoring.audit import audit

            notes += audit(results, [r for e in entries.values() for r in e.records], answers)
    found = {record.domain for entry in entries.values() for record in entry.used}
    domains = tuple(suite.in_order({*suite.domains, *found}))
    runs = [run_row(e, domains, e_max, suite, base) for e in entries.values()]
    if suite.score is None:
        runs, more = _compared(runs, entries, base, suite)
        notes += more
        base = base or entries.get(REFERENCE)
    runs = _grouped(runs, suite)
    literature = published_rows(results, suite) if split == "test" else []
    if suite.score and base is not None:
        literature = []  # their scores are of another E_max
    elif literature and (problem := _unofficial(entries.values(), suite)):
        literature = []
        notes.append(f"{problem}: published rows do not compare with it and are left out.")
    subsets = {row.subset for row in runs}
    shown = [
        row
        for row in literature
        if all_rows or (row.subset in subsets if row.subset else row.table == suite.table)
    ]
    rows = by_size([*(published_row(row, suite) for row in shown), *runs])
    return Board(
        suite,
        split,
        domains,
        e_max,
        base.label if base else None,
        tuple(ranked(rows, domains)),
        results,
        entries,
        tuple(published_row(row, suite) for row in literature if row not in shown),
        hint=hint_on(results, split, suite) if results is not None and not entries else "",
        checks=tuple(notes),
        audited=answers is not None,
    )


def _comparable(rows: Iterable[Row], suite: Suite) -> list[list[Row]]:
    """Returns the groups of at least two runs that can be ranked."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == "run" and merit(row, suite) is not None:
            groups.setdefault(row.subset, []).append(row)
    if not suite.score:
        most = {subset: max(own, key=lambda row: row.covered) for subset, own in groups.items()}
        groups = {
            subset: [row for row in own if row.missing == most[subset].missing]
            for subset, own in groups.items()
        }
    return [own for own in groups.values() if len(own) > 1]


def _grouped(runs: list[Row], suite: Suite) -> list[Row]:
    """Sorts runs by source, the group with the best run first, and best first in a group.

    Groups without a source come last.
    """

    def order(row: Row) -> tuple[bool, int, float, str]:
        value = merit(row, suite)
        # Means over different numbers of domains do not compare.
        lacking = 0 if suite.score else -row.covered
        return value is None, lacking, -(value or 0), row.label

    runs = sorted(runs, key=order)
    groups = setups.source_groups([row.setup for row in runs if row.setup])
    return sorted(
        (replace(row, group=groups[row.setup]) for row in runs if row.setup),
        key=lambda row: row.group,
    )


def _compared(
    runs: list[Row], entries: dict[str, Entry], base: Entry | None, suite: Suite
) -> tuple[list[Row], list[str]]:
    """Returns rows with their differences to the baseline, and notes on those without."""
    if not runs:
        return runs, []
    # Imported here: a board of published rows alone does not pay for numpy.
    from decathlon.scoring.difference import to_baseline

    found = references(entries, base)
    done = [
        replace(row, versus=to_baseline(entries[row.label], found[row.label], suite))
        if row.label in found
        else row
        for row in runs
    ]
    labels = [] if base else ambiguous(entries.values(), found)
    text = f"Several runs of {REFERENCE} could be the baseline of {', '.join(labels)}: name one"
    return done, [f"{text} with --baseline."] if labels else []


def defining_e_max(
    entries: dict[str, Entry],
    baseline: str | None,
    split: str,
    suite: Suite,
    results: Path | None = None,
) -> tuple[dict[str, float], Entry | None]:
    """Returns E_max by domain, and the baseline if one is named.

    E_max is the suite's, or twice the mean error over the baseline's seeds. A domain in which
    the baseline makes no error is left out: nothing could be scored against it. A suite
    without a score has no E_max.

    Raises:
        UsageError: There is no such baseline, or it was run with several setups.
        ResultError: Its labels are unknown.
    """
    if baseline is None:
        return dict(suite.score.e_max) if suite.score else {}, None
    base = find_entry(entries, baseline, results, split, role="baseline ")
    if not base.domains:
        raise ResultError(
            f"baseline '{base.label}': the labels of the {split} split are unknown, so it has no"
            " errors; prepare the data with --labels and run it again"
        )
    errors = base.mean_errors() if suite.score else {}
    return {name: 2 * errors[name] for name in suite.in_order(errors) if errors[name] > 0}, base


def _unofficial(entries: Iterable[Entry], suite: Suite) -> str | None:
    """Returns why the first record that cannot count as official cannot, or None."""
    records = (record for entry in entries for record in entry.used)
    problems = (official_problem(record, suite) for record in records)
    return next(filter(None, problems), None)


def check_official(entries: Iterable[Entry], suite: Suite) -> None:
    """Raises ResultError where a record is not of the official data, or cannot be.

    That a record calls its data official is not enough: the numbers of classes and images
    have to be the official ones. Without a score, any data will do.
    """
    if suite.score and (problem := _unofficial(entries, suite)):
        raise ResultError(
            f"{problem}. The official E_max does not apply to it: name the run that defines E_max"
            " with --baseline NAME (e.g. --baseline fine-tuning)"
        )
