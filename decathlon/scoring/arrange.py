"""Which rows of a board are shown, and in which order."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from decathlon.common.errors import UsageError, check_known, nearest
from decathlon.scoring.board import Board
from decathlon.scoring.columns import columns_of
from decathlon.scoring.rows import Row, by_size, ranked

KINDS = ("published", "run")
SORTS = (
    *("table", "label", "params", "score", "printed", "mean", "diff", "rank", "covered", "time"),
    *("flops", "memory", "year"),
)
"""What rows can be sorted by, beside the domains; ``table`` is the order of the paper."""
SCORES = ("score", "printed")
"""Those of them that a suite without a score does not have."""
LOW_FIRST = ("label", "params", "rank", "time", "flops", "memory", "year")


def arrange(
    board: Board,
    sort: str = "table",
    match: Sequence[str] = (),
    kind: str | None = None,
) -> Board:
    """Returns a board with some of the rows, in another order, with new ranks.

    Args:
        board: The board.
        sort: One of :data:`SORTS` or a domain; ``-`` before it reverses the order.
            Accuracies and scores go from high to low, the rest from low to high;
            rows without a value come last. All but ``table`` ignore groups of one source;
            subsets of the training images stay apart.
        match: Shell patterns; a row is kept when its method or label matches one or is
            the same text, whatever the case. So a name keeps the rows of all its setups,
            and a label one of them. All rows where empty.
        kind: ``published`` or ``run`` for those rows only.

    Raises:
        UsageError: Unknown ``sort`` or ``kind``, or no row matches.
    """
    if kind is not None:
        check_known("kind", kind, KINDS)
    turned, key = sort.startswith("-"), sort.removeprefix("-")
    others = ("diff",) if board.suite.score else SCORES
    sorts = [name for name in SORTS if name not in others]
    known = (*sorts, *board.domains)
    if key not in known:
        raise UsageError(f"cannot sort by '{key}'{nearest(key, known)} ({', '.join(known)})")
    rows, hidden = (
        [row for row in group if kind in (None, row.kind) and _matches(row, match)]
        for group in (board.rows, board.hidden)
    )
    if match and not rows:
        more = f"; hidden published rows that match: {len(hidden)}, see --all" if hidden else ""
        raise UsageError(f"no row matches {' or '.join(map(repr, match))}{more}")
    if key != "table":

        def value(row: Row) -> Any:
            return (
                row.label.casefold() if key == "label" else columns_of(board, [key])[0].value(row)
            )

        high_first = key not in LOW_FIRST
        with_value = [row for row in rows if value(row) is not None]
        with_value.sort(key=value, reverse=high_first != turned)
        without = [row for row in rows if value(row) is None]
        rows = [replace(row, group=0) for row in with_value + without]
    elif turned:
        rows.reverse()
    rows = ranked(by_size(rows), board.domains)
    return replace(board, rows=tuple(rows), hidden=tuple(hidden))


def _matches(row: Row, patterns: Sequence[str]) -> bool:
    names = [name.casefold() for name in (row.label, row.method) if name]
    wanted = [pattern.casefold() for pattern in patterns]
    # A label may hold brackets, which as a pattern would not match themselves.
    return not wanted or any(n == p or fnmatchcase(n, p) for n in names for p in wanted)
