"""The columns of a board and the text of its cells, the same for every format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from decathlon.common.errors import UsageError, nearest
from decathlon.common.text import cell_duration
from decathlon.scoring.board import Board
from decathlon.scoring.notes import cost_notes, difference_note, interval_note, rank_note
from decathlon.scoring.rounding import Pair
from decathlon.scoring.rows import Row
from decathlon.suites.base import Suite
from decathlon.suites.subset import size_in_words

Better = Literal["high", "low"]
Mark = Literal["", "best", "second"]

MISSING = "-"
"""Nothing was run or printed."""
UNKNOWN = "?"
"""Predicted, but the labels are unknown."""


@dataclass(frozen=True)
class BoardColumn:
    """One column.

    Attributes:
        key: What ``--columns`` calls it.
        heading: Short heading, as the paper has it where it has one.
        value: The number of a row, or None.
        text: The text of a row, given the number of digits after the point that
            accuracies are shown with.
        better: Which end is best, or None where no value is better than another.
        narrow: Heading in narrow tables, if it is another.
    """

    key: str
    heading: str
    value: Callable[[Row], float | None]
    text: Callable[[Row, int], str]
    better: Better | None = None
    narrow: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell: its text (not escaped) and whether it is the best of its column."""

    text: str
    mark: Mark = ""


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _params(row: Row, digits: int) -> str:
    if row.params_ratio is None:
        return MISSING
    if row.kind == "published":
        return f"{row.params_ratio:g}x"  # as printed
    tail = f" ({row.params_domains})" if digits > 1 else ""
    return f"{row.params_ratio:.{digits}f}x{tail}"


def _range(pair: Pair | None, digits: int) -> str:
    return MISSING if pair is None else f"{pair[0]:.{digits}f}-{pair[1]:.{digits}f}"


def training_time(row: Row) -> str:
    """Returns how long a row's networks were trained."""
    return MISSING if row.training_seconds is None else cell_duration(row.training_seconds)


def _accuracy(name: str, suite: Suite) -> BoardColumn:
    def text(row: Row, digits: int) -> str:
        return UNKNOWN if name in row.unknown else _number(row.accuracy.get(name), digits)

    heading, narrow = suite.column_of(name), _narrow(name, suite)
    return BoardColumn(name, heading, lambda row: row.accuracy.get(name), text, "high", narrow)


def _slope(name: str, suite: Suite) -> BoardColumn:
    def text(row: Row, digits: int) -> str:
        return _number(row.slopes.get(name), digits - 1)

    heading, narrow = suite.column_of(name), _narrow(name, suite)
    return BoardColumn(f"slope:{name}", heading, lambda r: r.slopes.get(name), text, narrow=narrow)


def _narrow(name: str, suite: Suite) -> str:
    return suite.domains[name].narrow if name in suite.domains else ""


def _mean(row: Row, digits: int) -> str:
    return _number(row.mean_accuracy, digits)


def _partial_mean(row: Row, digits: int) -> str:
    return _mean(row, digits) + _count(row.covered, row)


def _count(covered: int, row: Row) -> str:
    """Returns the number of domains that a mean is over, where some are missing."""
    return f" ({covered})" if 0 < covered < len(row.accuracy) else ""


def _difference(row: Row, digits: int) -> str:
    if row.versus is None:
        return MISSING
    covered = _count(len(row.versus.domains), row)
    return f"{row.versus.mean.difference:+.{digits}f}{covered}"


def _difference_ci(row: Row, digits: int) -> str:
    if row.versus is None:
        return MISSING
    low, high = row.versus.mean.ci
    return f"{low:+.{digits}f} to {high:+.{digits}f}"


def _seeds(row: Row, digits: int) -> str:
    seeds, draws = len(row.seeds), len(row.draws)
    if row.subset and seeds * draws == row.num_repetitions:
        return f"{seeds} x {draws}" if seeds else MISSING
    return str(row.num_repetitions or MISSING)


def _rank(row: Row, digits: int) -> str:
    return _number(row.mean_rank, 1)


def _printed(row: Row, digits: int) -> str:
    return _number(row.score_printed, 0) + ("!" if row.consistent is False else "")


def _flops(row: Row, digits: int) -> str:
    return _number(None if row.flops is None else row.flops / 1e9, digits + 1)


def _memory(row: Row, digits: int) -> str:
    return _number(None if row.peak_memory is None else row.peak_memory / 1e6, 0)


def _columns(board: Board) -> dict[str, BoardColumn]:
    """Returns the columns that are not of one domain, by key."""

    def rank_ci(row: Row, digits: int) -> str:
        return _range(board.ranks.get(row.label) if row.kind == "run" else None, 0)

    suite = board.suite
    s = suite.score.heading if suite.score else ""
    scores = (
        BoardColumn("score", s, lambda r: r.score, lambda r, n: _number(r.score, n - 1), "high"),
        BoardColumn("printed", "Score", lambda r: r.score_printed, _printed, "high"),
        BoardColumn("ci", f"95 % of {s}", lambda r: None, lambda r, _: _range(r.ci, 0)),
        BoardColumn("range", "rounding", lambda r: None, lambda r, _: _range(r.score_range, 1)),
    )
    differences = (
        BoardColumn("diff", "vs. baseline", lambda r: r.difference, _difference),
        BoardColumn("diff_ci", "95 %", lambda r: None, _difference_ci),
    )
    mean = _mean if suite.score else _partial_mean
    columns = (
        BoardColumn("params", "#par", lambda r: r.params_ratio, _params, "low"),
        *(scores if suite.score else ()),
        BoardColumn("mean", "mean", lambda r: r.mean_accuracy, mean, "high"),
        *(() if suite.score else differences),
        BoardColumn("rank_ci", "95 % of rank", lambda r: None, rank_ci),
        BoardColumn("rank", "rank", lambda r: r.mean_rank, _rank, "low"),
        BoardColumn("covered", "dom.", lambda r: r.covered, lambda r, _: str(r.covered)),
        BoardColumn("seeds", "seeds", lambda r: None, _seeds),
        BoardColumn("time", "time", lambda r: r.training_seconds, lambda r, _: training_time(r)),
        BoardColumn("flops", "GFLOPs", lambda r: r.flops, _flops, "low"),
        BoardColumn("memory", "peak MB", lambda r: r.peak_memory, _memory, "low"),
        BoardColumn("year", "year", lambda r: r.year, lambda r, _: str(r.year or MISSING)),
        BoardColumn("table", "table", lambda r: None, lambda r, _: r.table or MISSING),
        BoardColumn("kind", "kind", lambda r: None, lambda r, _: r.kind),
        BoardColumn("method", "method", lambda r: None, lambda r, _: r.method or MISSING),
    )
    return {column.key: column for column in columns}


SENSITIVITY = ("score", "slopes")
"""How the score moves per accuracy point in each domain, at each row's own accuracies."""
OPTIONAL = ("ci", "diff_ci", "rank_ci")
"""Default columns that a narrow table may leave out."""
EXTRA = ("mean", "rank", "covered", "time")
"""Columns that are shown beside the default ones where there is room."""


def default_keys(board: Board) -> list[str]:
    """Returns the columns of the paper, and what else there is to show.

    Args:
        board: The board; without published rows there is no printed score, and
            without runs there are no intervals, and without several no ranks.
    """
    kinds = {row.kind for row in board.rows}
    if board.suite.score is None:
        sized = any(row.params_ratio is not None for row in board.rows)
        compared = any(row.versus is not None for row in board.rows)
        keys = ["params"] * sized + ["domains", "mean"] + ["diff", "diff_ci"] * compared
    else:
        keys = ["params", "domains", "score"]
        keys += ["printed"] * ("published" in kinds) + ["ci"] * ("run" in kinds)
    return keys + ["rank_ci"] * bool(board.ranks)


def shown_domains(board: Board) -> list[str]:
    """Returns the domains to show: those with any result, and those that are scored."""
    filled = {
        name for row in board.rows for name, value in row.accuracy.items() if value is not None
    }
    filled.update(name for row in board.rows for name in row.unknown)
    return [name for name in board.domains if name in filled or name in board.e_max]


def notes_of(board: Board, keys: Sequence[str]) -> list[str]:
    """Returns the notes for the rows of a board and those columns."""
    ranks = board.ranks if "rank_ci" in keys else {}
    found = [
        difference_note(board.rows) if {"diff", "diff_ci"} & set(keys) else None,
        rank_note(board.rows, ranks, board.suite),
        interval_note(board.rows, ranks) if {"ci", "diff_ci", "rank_ci"} & set(keys) else None,
        *cost_notes(board.rows, keys),
    ]
    return [*board.notes, *filter(None, found)]


def headings_of(board: Board) -> dict[int, str]:
    """Returns the heading above each group of rows, by the index of the group's first row.

    The groups are of the subsets of the training images; without any there are no headings.
    """
    subsets = [row.subset for row in board.rows]
    if not any(subsets):
        return {}
    starts = {subset: subsets.index(subset) for subset in dict.fromkeys(subsets)}
    return {start: size_in_words(subset) for subset, start in starts.items()}


def label_in_group(row: Row) -> str:
    """Returns what a row is called below the heading of its group, which says the subset.

    Example:
        ``mine [epochs 2]`` for ``mine [10shot, epochs 2]``, ``mine`` for ``mine [10shot]``
    """
    if row.setup is None or not row.subset:
        return row.label
    facts = row.label.removeprefix(f"{row.method} [{row.subset}").removesuffix("]")
    return f"{row.method} [{facts.removeprefix(', ')}]" if facts else f"{row.method}"


def columns_of(board: Board, keys: Sequence[str]) -> list[BoardColumn]:
    """Returns the columns of those keys.

    ``domains`` stands for the accuracies of the :func:`shown_domains`, ``slopes`` for the
    points that the score gains per accuracy point in each scored domain. A suite without a
    score has no columns of scores.

    Raises:
        UsageError: There is no such column; the nearest is suggested.
    """
    suite, fixed = board.suite, _columns(board)
    columns: list[BoardColumn] = []
    for key in keys:
        if key == "domains":
            columns += [_accuracy(name, suite) for name in shown_domains(board)]
        elif key == "slopes" and suite.score:
            columns += [_slope(name, suite) for name in board.domains if name in board.e_max]
        elif key in board.domains:
            columns.append(_accuracy(key, suite))
        elif key in fixed:
            columns.append(fixed[key])
        else:
            known = ("domains", *(["slopes"] if suite.score else []), *fixed, *board.domains)
            raise UsageError(f"unknown column '{key}'{nearest(key, known)} ({', '.join(known)})")
    return columns


def cells(board: Board, columns: Sequence[BoardColumn], digits: int = 2) -> list[list[Cell]]:
    """Returns the cells of all rows, the best and second best of each column marked.

    Args:
        board: The board.
        columns: The columns; the row's label is not among them.
        digits: Digits after the point of an accuracy, 1 or 2.
    """
    marks = [_marks(board, column) for column in columns]
    return [
        [Cell(c.text(row, digits), marks[j][i]) for j, c in enumerate(columns)]
        for i, row in enumerate(board.rows)
    ]


def _marks(board: Board, column: BoardColumn) -> list[Mark]:
    """Marks the best value of a column and the second best; equal values share a mark.

    Rows of one subset of the training images are compared, and means over the most domains.
    """
    marks: list[Mark] = ["" for _ in board.rows]
    for subset in {row.subset for row in board.rows}:
        rows = {i: row for i, row in enumerate(board.rows) if row.subset == subset}
        most = max(row.covered for row in rows.values())
        values = {
            i: column.value(row)
            for i, row in rows.items()
            if column.key != "mean" or row.covered == most
        }
        known = {value for value in values.values() if value is not None}
        distinct = sorted(known, reverse=column.better == "high")
        if column.better is not None and len(distinct) > 1:
            named: dict[float | None, Mark] = {distinct[0]: "best", distinct[1]: "second"}
            for i, value in values.items():
                marks[i] = named.get(value, "")
    return marks
