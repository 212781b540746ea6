"""Which rows of a board are shown, and in which order."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from decathlon.errors import UsageError, nearest
from decathlon.scoring.rows import Row

if TYPE_CHECKING:
    from decathlon.scoring.board import Board

KINDS = ("published", "run")
SORTS = ("table", "label", "params", "score", "printed", "mean", "rank", "covered", "time", "year")
"""What rows can be sorted by, beside the domains; ``table`` is the order of the paper."""
LOW_FIRST = ("params", "rank", "time", "year")


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


def _value(row: Row, key: str) -> float | str | None:
    values: dict[str, float | str | None] = {
        "label": row.label.casefold(),
        "params": row.params_ratio,
        "score": row.score,
        "printed": row.score_printed,
        "mean": row.mean_accuracy,
        "rank": row.mean_rank,
        "covered": row.covered,
        "time": row.training_seconds,
        "year": row.year,
    }
    return values[key] if key in values else row.accuracy.get(key)


def arrange(
    board: "Board",
    sort: str = "table",
    match: Sequence[str] = (),
    kind: str | None = None,
) -> "Board":
    """Returns a board with some of the rows, in another order, and ranked anew.

    Args:
        board: The board.
        sort: One of :data:`SORTS` or a domain; ``-`` before it turns the order round.
            Accuracies and scores go from high to low, the rest from low to high;
            rows without a value come last.
        match: Shell patterns; a row is kept when its method or label matches one,
            whatever the case. All rows where empty.
        kind: ``published`` or ``run`` for those rows only.

    Raises:
        UsageError: Unknown ``sort`` or ``kind``, or no row matches.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'{nearest(kind, KINDS)} ({', '.join(KINDS)})")
    turned, key = sort.startswith("-"), sort.removeprefix("-")
    known = (*SORTS, *board.domains)
    if key not in known:
        raise UsageError(f"cannot sort by '{key}'{nearest(key, known)} ({', '.join(known)})")
    rows = [row for row in board.rows if kind in (None, row.kind) and _matches(row, match)]
    if match and not rows:
        raise UsageError(f"no row matches {' or '.join(map(repr, match))}")
    if key != "table":
        with_value = [row for row in rows if _value(row, key) is not None]
        without = [row for row in rows if _value(row, key) is None]
        high_first = key != "label" and key not in LOW_FIRST
        with_value.sort(key=lambda row: _value(row, key) or 0, reverse=high_first != turned)
        rows = with_value + without
    elif turned:
        rows.reverse()
    return replace(board, rows=tuple(ranked(rows, board.domains)))


def _matches(row: Row, patterns: Sequence[str]) -> bool:
    names = [name.casefold() for name in (row.label, row.method) if name]
    return not patterns or any(fnmatchcase(n, p.casefold()) for n in names for p in patterns)
