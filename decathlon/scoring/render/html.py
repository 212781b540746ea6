"""The board as one self-contained page; see :mod:`decathlon.scoring.render.page`."""

from collections.abc import Callable, Sequence
from typing import Any

from decathlon.common.text import visible
from decathlon.scoring.board import Board
from decathlon.scoring.columns import (
    EXTRA,
    cells,
    columns_of,
    default_keys,
    headings_of,
    notes_of,
)
from decathlon.scoring.entries import Entry
from decathlon.scoring.render.page import image, page
from decathlon.scoring.render.row_details import (
    facts_of_row,
    lines_by_domain,
    provenance_of_row,
)
from decathlon.scoring.render.terminal import conditions, legend
from decathlon.scoring.routes import is_routed
from decathlon.scoring.rows import Row, merit_text, placed


def to_html(board: Board, columns: Sequence[str] | None = None) -> str:
    """Returns the board as a page of HTML.

    Raises:
        UsageError: There is no such column.
        ResultError: A routing record to draw is damaged.
    """
    table = table_of(board, lambda number: f"#row-{number}", columns)
    details = [_details(board, row) for row in board.rows]
    return page(
        "board.html",
        "board.css",
        "scroll.js board.js",
        title=visible(board.suite.title),
        heading=visible(board.suite.score.heading) if board.suite.score else "",
        conditions=visible(conditions(board)),
        table=table,
        details=list(zip(table["rows"], details, strict=True)),
        figures=_board_figures(board),
    )


def table_of(
    board: Board,
    href: Callable[[int], str],
    columns: Sequence[str] | None = None,
    more: Callable[[Row], str] = lambda row: "",
) -> dict[str, Any]:
    """Returns the table of a board as ``table.html`` takes it.

    Args:
        board: The board.
        href: Where the name of a row leads, by the row's place.
        columns: Column keys in place of the default ones.
        more: What the search finds a row by, beside its label.

    Raises:
        UsageError: There is no such column.
    """
    keys = list(columns or dict.fromkeys([*default_keys(board), *EXTRA]))
    chosen = columns_of(board, keys)
    rows = []
    for place, (row, line) in enumerate(zip(board.rows, cells(board, chosen), strict=True)):
        values = ["" if (v := column.value(row)) is None else v for column in chosen]
        label = visible(row.label)
        rows.append(
            {
                "href": href(place),
                "label": label,
                "searched": f"{label} {visible(more(row))}".strip().lower(),
                "kind": row.kind,
                "brief": _brief(board, row),
                "cells": [
                    {"text": visible(c.text), "mark": c.mark, "value": value}
                    for c, value in zip(line, values, strict=True)
                ],
            }
        )
    return {
        "mixed": len({row.kind for row in board.rows}) > 1,
        "headings": headings_of(board),
        "columns": [{"key": c.key, "heading": visible(c.heading)} for c in chosen],
        "rows": rows,
        "legend": legend(board.suite, keys),
        "notes": [visible(note) for note in notes_of(board, keys)],
    }


def _brief(board: Board, row: Row) -> str:
    """Returns the score or the mean accuracy, for narrow screens."""
    if board.suite.score:
        heading = visible(board.suite.score.heading)
        return "" if row.score is None else f"{heading} {row.score:.0f}"
    (mean,) = columns_of(board, ["mean"])
    return "" if row.mean_accuracy is None else f"{mean.heading} {mean.text(row, 2)}"


def _details(board: Board, row: Row) -> dict[str, Any]:
    entry = board.behind(row)
    return {
        "facts": [(term, visible(value)) for term, value in facts_of_row(board, row) if value],
        "domains": lines_by_domain(board, row),
        "figures": _own_figures(board, entry) if entry else [],
        "blocks": provenance_of_row(entry) if entry else [],
    }


def _board_figures(board: Board) -> list[dict[str, str]]:
    """Draws the rows of the board that are shown."""
    shown = {one.label: one for row in board.rows if (one := board.behind(row))}
    if not shown:
        return []
    # Imported here: a page of published rows alone does not pay for matplotlib.
    from decathlon.scoring.figures import boards

    figures = []
    if placed(board.rows, board.suite):
        text = f"{merit_text(board.suite)} against the number of parameters"
        figures.append(image(boards.tradeoff(board), text))
    if board.baseline:
        base = board.entries[board.baseline]
        shown = {
            label: one for label, one in shown.items() if one.setup.subset == base.setup.subset
        }
        others = [one for one in shown.values() if one.label != base.label]
        if any(set(base.domains) & set(one.domains) for one in others):
            text = f"Accuracy by domain relative to {visible(base.label)}, with 95 % intervals"
            drawn = boards.domains({base.label: base, **shown}, base.label, board.suite)
            figures.append(image(drawn, text))
    return figures


def _own_figures(board: Board, entry: Entry) -> list[dict[str, str]]:
    if board.results is None or not is_routed(board.results, entry):
        return []
    from decathlon.scoring.figures import policies

    share = "Share of images that took the fine-tuned path, by block and domain"
    used = "Number of fine-tuned blocks used by an image, by domain"
    return [
        image(policies.policy(board.results, entry, board.suite), share),
        image(policies.usage(board.results, entry, board.suite), used),
    ]
