"""The board on a terminal, by rich."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from decathlon.scoring.columns import Cell, cells, choose, default_keys, notes_of
from decathlon.scoring.escape import visible

if TYPE_CHECKING:
    from decathlon.scoring.board import Board

WIDE = 112
"""Width from which accuracies have two digits after the point."""
PLAIN_WIDTH = 120
"""Width of tables that go to a file or a pipe and not to a terminal."""
SHORT = {"ImNet": "INet", "Airc.": "Airc"}
"""Headings of narrow tables, as wide as an accuracy with one digit after the point."""
STYLES = {"best": "bold", "second": "underline", "": ""}


def table(board: "Board", width: int, columns: Sequence[str] | None = None) -> Table:
    """Returns the board as a rich table that fits ``width`` characters.

    Narrow tables have one digit after the point and no padding.

    Args:
        board: The board.
        width: Width in characters.
        columns: Column keys in place of those that fit by default.

    Raises:
        UsageError: There is no such column.
    """
    chosen = choose(board, columns or default_keys(board, width))
    digits = 2 if width >= WIDE else 1
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, digits - 1, 0, 0))
    shown.add_column("", overflow="fold", min_width=10)
    for column in chosen:
        heading = column.heading if digits == 2 else SHORT.get(column.heading, column.heading)
        shown.add_column(Text(visible(heading)), justify="right", no_wrap=True)
    for i, (row, line) in enumerate(zip(board.rows, cells(board, chosen, digits), strict=True)):
        last = i + 1 == len(board.rows) or board.rows[i + 1].section != row.section
        shown.add_row(Text(visible(row.label)), *map(_text, line), end_section=last)
    return shown


def _text(cell: Cell) -> Text:
    text = Text(visible(cell.text))
    text.stylize(STYLES[cell.mark])  # not as its style, which would underline the padding too
    return text


def conditions(board: "Board") -> str:
    """Says what the scores of a board rest on."""
    e_max = f"E_max = 2 x error of {board.baseline}" if board.baseline else "official E_max"
    return f"{board.split} split, {e_max}"


def legend(columns: Sequence[str]) -> str:
    """Says how to read the columns of those keys."""
    said = ["S is computed"]
    if "printed" in columns:
        said.append("Score is as printed (! cannot follow from the printed accuracies)")
    if "slopes" in columns:
        said.append("below a domain stand the points that S gains per accuracy point in it")
    return f"{', '.join(said)}. Bold is best, underlined second, - missing (counts 0)."


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
    keys = columns or default_keys(board, console.width)
    shown = table(board, console.width, keys)
    console.print(Text(visible(f"Visual Decathlon, {conditions(board)}")))
    console.print(shown)
    console.print()
    console.print(Text(legend(keys)))
    for note in notes_of(board, keys):
        console.print(Text(visible(f"* {note}")))
