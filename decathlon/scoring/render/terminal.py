"""The board on a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from decathlon.common.grid import Column, Grid
from decathlon.common.text import visible
from decathlon.scoring.columns import (
    EXTRA,
    OPTIONAL,
    Cell,
    Mark,
    cells,
    columns_of,
    default_keys,
    headings_of,
    label_in_group,
    notes_of,
)
from decathlon.suites.base import Suite

if TYPE_CHECKING:
    from decathlon.scoring.board import Board

BESIDE = ("params", "score", "printed", "ci", "mean", "diff", "rank")
"""Columns that stay beside the name where a row takes several lines."""
STYLES: Mapping[Mark, str] = {"best": "bold", "second": "underline", "": ""}


@dataclass(frozen=True)
class Fitted:
    """A board as it fits a width.

    Attributes:
        grid: The table.
        keys: Keys of its columns.
        left_out: What there was no room for, in words.
    """

    grid: Grid
    keys: Sequence[str]
    left_out: tuple[str, ...] = ()


def fitted(
    board: "Board",
    width: int,
    columns: Sequence[str] | None = None,
    styles: Mapping[Mark, str] = STYLES,
) -> Fitted:
    """Returns the columns and digits of a board that fit ``width`` characters.

    Where there is no room, these go first, in this order: the columns ``time``,
    ``covered``, ``rank``, ``mean``, ``diff_ci`` and ``ci``; the second digit after the point;
    whole names on one line; and last, the accuracies move below the names.
    Columns that were asked for are never left out.

    Args:
        board: The board.
        width: Width in characters.
        columns: Column keys in place of those that fit by default.
        styles: Style of the cells by their marks.

    Raises:
        UsageError: There is no such column.
    """
    keys = list(columns or default_keys(board))
    optional = []
    if not columns:
        timed = any(row.training_seconds is not None for row in board.rows)
        optional = [key for key in OPTIONAL if key in keys]
        optional += [key for key in EXTRA if key not in keys and (timed or key != "time")]
        keys = [key for key in keys if key not in optional]
    for count in range(len(optional), -1, -1):
        grid = _grid(board, [*keys, *optional[:count]], 2, styles)
        if grid.fits(width):
            return Fitted(grid, [*keys, *optional[:count]], tuple(optional[count:]))
    short = _grid(board, keys, 1, styles)
    if short.depth(width) == 1 or short.depth(width) < grid.depth(width):
        return Fitted(short, keys, (*optional, "second digits"))
    return Fitted(grid, keys, tuple(optional))


def _grid(board: "Board", keys: Sequence[str], digits: int, styles: Mapping[Mark, str]) -> Grid:
    chosen = columns_of(board, keys)
    columns = [Column("")]
    for c in chosen:
        heading = c.narrow if digits == 1 and c.narrow else c.heading
        columns.append(Column(visible(heading), right=True, below=c.key not in BESIDE))
    grid = Grid(columns)
    headings = headings_of(board)
    for i, (row, line) in enumerate(zip(board.rows, cells(board, chosen, digits), strict=True)):
        if i in headings:
            grid.add_heading(f"{headings[i]}:")
        last = i + 1 == len(board.rows) or board.rows[i + 1].section != row.section
        grid.add_row(
            visible(label_in_group(row)), *(_text(cell, styles) for cell in line), end_section=last
        )
    return grid


def _text(cell: Cell, styles: Mapping[Mark, str]) -> Text:
    text = Text(visible(cell.text))
    text.stylize(styles[cell.mark])  # not as its style, which would underline the padding too
    return text


def conditions(board: "Board") -> str:
    """Returns what the numbers of a board rest on."""
    if board.suite.score is None:
        return f"{board.split} split"
    e_max = f"E_max = 2 x error of {board.baseline}" if board.baseline else "official E_max"
    return f"{board.split} split, {e_max}"


def legend(suite: Suite, columns: Sequence[str]) -> str:
    """Returns how to read the columns of those keys."""
    if suite.score is None:
        return "Bold is best, underlined second, - missing."
    heading = suite.score.heading
    texts = [f"{heading} is computed"] if "score" in columns else []
    if "printed" in columns:
        texts.append("Score is as printed (! cannot follow from the printed accuracies)")
    if "slopes" in columns:
        texts.append(
            f"below a domain stand the points that {heading} gains per accuracy point in it"
        )
    first = f"{', '.join(texts)}. " if texts else ""
    return f"{first}Bold is best, underlined second, - missing (counts 0)."


def show(
    board: "Board", console: Console | None = None, columns: Sequence[str] | None = None
) -> None:
    """Prints the board and its notes.

    Args:
        board: The board.
        console: Where to print; standard output by default.
        columns: Column keys in place of those that fit by default.

    Raises:
        UsageError: There is no such column.
    """
    console = console or Console()
    shown = fitted(board, console.width, columns)
    console.print(Text(visible(f"{board.suite.title}, {conditions(board)}")))
    console.print(shown.grid)
    console.print()
    console.print(Text(legend(board.suite, shown.keys)))
    if shown.left_out:
        example = "score,ci" if board.suite.score else "mean,diff"
        text = (
            f"Left out to fit {console.width} characters: {', '.join(shown.left_out)}. Choose"
            f" columns with --columns (such as --columns {example}), use a wider terminal, or see"
            " everything with --format csv."
        )
        console.print(Text(text))
    for note in notes_of(board, shown.keys):
        console.print(Text(visible(f"* {note}")))
