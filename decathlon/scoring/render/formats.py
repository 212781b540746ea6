"""The board as JSON, CSV and Markdown, and as a pandas frame."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from decathlon.common.text import markdown as escaped
from decathlon.common.text import spreadsheet
from decathlon.scoring.columns import Cell, cells, columns_of, default_keys, headings_of, notes_of
from decathlon.scoring.rows import Row

if TYPE_CHECKING:
    import pandas

    from decathlon.scoring.board import Board


SCHEMA = 1
"""Version of the board as JSON; it grows when a key changes its meaning or goes."""


def to_json(board: "Board", sensitivity: bool = False) -> str:
    """Returns the board as JSON: its suite, split and rows, numbers unrounded.

    Characters outside ASCII are escaped, so that printing it is safe.

    Args:
        board: The board.
        sensitivity: Add to each row the points that the score gains per accuracy point.
    """
    rows = [_json_row(row) for row in board.rows]
    for line, row in zip(rows, board.rows, strict=True):
        if sensitivity:
            line["sensitivity"] = row.slopes
        if board.suite.score is None:
            line |= {"mean": row.mean_accuracy, "mean_accuracy": row.mean_accuracy}
            line["difference"] = _difference(row)
        if board.ranks:
            line["rank"] = _rank(board, row)
        if cost := _cost(board, row):
            line["cost"] = cost
    value = {
        "schema": SCHEMA,
        "suite": board.suite.name,
        "split": board.split,
        "baseline": board.baseline,
        "rows": rows,
    }
    return json.dumps(value, indent=2, allow_nan=False)


def _json_row(row: Row) -> dict[str, Any]:
    return _of(
        row,
        "method label kind params_ratio accuracy score score_printed consistent ci seeds missing"
        " subset draws",
    ) | _setup(row)


def _rank(board: "Board", row: Row) -> dict[str, int] | None:
    """Returns the interval of a row's rank; None where it has none."""
    pair = board.ranks.get(row.label) if row.kind == "run" else None
    return pair and {"low": pair[0], "high": pair[1]}


def _difference(row: Row) -> dict[str, Any] | None:
    """Returns the difference to the baseline, in the terms of ``compare``."""
    if row.versus is None:
        return None
    facts = {"baseline": row.versus.baseline, "domains": row.versus.domains}
    return facts | row.versus.mean.as_json()


def _of(row: Row, names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names.split()}


def _setup(row: Row) -> dict[str, Any]:
    """Returns what a run's records have in common; None throughout for published rows."""
    keys = ("source", "network", "recipe", "code", "crop")
    found = {key: getattr(row.setup, key, None) for key in keys}
    if row.setup is None:
        return found
    more = {"code": found["code"], "routing": row.setup.routing}
    found |= {key: model.model_dump() for key, model in more.items() if model is not None}
    if (selection := row.setup.selection) is not None:
        found["selection"] = selection.model_dump() | {"chosen": row.setup.chosen}
    return found


def frame(board: "Board") -> "pandas.DataFrame":
    """Returns the board as a pandas frame, one row each, numbers unrounded."""
    import pandas

    return pandas.DataFrame([_flat(row, board) for row in board.rows])


def _flat(row: Row, board: "Board") -> dict[str, Any]:
    low, high = row.ci or (None, None)
    scores = _of(row, "score score_printed consistent") | {"ci_low": low, "ci_high": high}
    setup = {
        key: json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value
        for key, value in _setup(row).items()
    }
    return {
        **_of(row, "label method kind params_ratio"),
        **{name: row.accuracy.get(name) for name in board.domains},
        **(scores if board.suite.score else _flat_difference(row)),
        **_flat_rank(board, row),
        **_of(row, "mean_accuracy mean_rank"),
        "domains_covered": row.covered,
        "num_seeds": len(row.seeds),
        "num_draws": len(row.draws),
        "subset": row.subset,
        **_of(row, "training_seconds year table"),
        **_cost(board, row),
        **setup,
    }


def _cost(board: "Board", row: Row) -> dict[str, Any]:
    """Returns what a row cost; nothing where no row of the board tells."""
    told = any(one.flops is not None or one.peak_memory is not None for one in board.rows)
    return _of(row, "flops peak_memory") if told else {}


def _flat_rank(board: "Board", row: Row) -> dict[str, Any]:
    rank = _rank(board, row) or {}
    return {f"rank_{end}": rank.get(end) for end in ("low", "high") if board.ranks}


def _flat_difference(row: Row) -> dict[str, Any]:
    low, high = row.versus.mean.ci if row.versus else (None, None)
    baseline = row.versus.baseline if row.versus else None
    found = {"baseline": baseline, "difference": row.difference}
    return found | {"difference_low": low, "difference_high": high}


def to_csv(board: "Board", columns: Sequence[str] | None = None) -> str:
    """Returns the board as CSV: all that is known, unrounded, or ``columns`` as shown.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.

    Raises:
        UsageError: There is no such column.
    """
    import pandas

    if columns is None:
        table = frame(board)
    else:
        chosen = columns_of(board, columns)
        names = ["label", *(column.key for column in chosen)]
        lines = zip(board.rows, cells(board, chosen), strict=True)
        data = [[row.label, *(cell.text for cell in line)] for row, line in lines]
        table = pandas.DataFrame(data, columns=names)
    table = table.map(lambda value: spreadsheet(value) if isinstance(value, str) else value)
    table.columns = [spreadsheet(name) for name in table.columns]
    return table.to_csv(index=False, lineterminator="\n")


def to_markdown(board: "Board", columns: Sequence[str] | None = None) -> str:
    """Returns the board as a Markdown table with its notes below.

    Raises:
        UsageError: There is no such column.
    """
    keys = columns or default_keys(board)
    chosen = columns_of(board, keys)
    lines = [
        "| | " + " | ".join(escaped(column.heading) for column in chosen) + " |",
        "| --- |" + " ---: |" * len(chosen),
    ]
    headings = headings_of(board)
    for i, (row, line) in enumerate(zip(board.rows, cells(board, chosen), strict=True)):
        if i in headings:
            lines.append(f"| *{escaped(headings[i])}* |" + " |" * len(chosen))
        lines.append(f"| {escaped(row.label)} | " + " | ".join(map(_markdown_cell, line)) + " |")
    notes = [f"* {escaped(note)}" for note in notes_of(board, keys)]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _markdown_cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return {"best": f"**{text}**", "second": f"<u>{text}</u>", "": text}[cell.mark]
