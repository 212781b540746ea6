"""The board in the format and at the place that were asked for."""

import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console

from decathlon.common.errors import UsageError, nearest
from decathlon.common.files import write_text
from decathlon.common.grid import PLAIN_WIDTH, sized_output
from decathlon.common.output import write_utf8
from decathlon.common.progress import say
from decathlon.common.text import visible
from decathlon.scoring.board import Board
from decathlon.scoring.columns import choose, notes_of
from decathlon.scoring.render.formats import to_csv, to_json, to_markdown
from decathlon.scoring.render.latex import to_latex
from decathlon.scoring.render.terminal import show

Columns = Sequence[str] | None


def _table(board: Board, columns: Columns) -> str:
    text = StringIO()
    show(board, Console(file=text, width=PLAIN_WIDTH), columns)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _json(board: Board, columns: Columns) -> str:
    choose(board, columns or ())  # JSON has all columns; a wrong one is an error all the same
    return to_json(board, sensitivity="slopes" in (columns or ()))


def _html(board: Board, columns: Columns) -> str:
    # Imported here: no other format pays for jinja2.
    from decathlon.scoring.render.html import to_html

    return to_html(board, columns)


_FORMATS: dict[str, Callable[[Board, Columns], str]] = {
    "table": _table,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": _json,
    "html": _html,
}
FORMATS = tuple(_FORMATS)
"""Names of the formats."""
WITHOUT_NOTES = ("csv", "json")
"""Formats that cannot hold the board's notes: they go to standard error."""


def text_of(board: Board, form: str, columns: Columns = None) -> str:
    """Returns the board as text in one of :data:`FORMATS`.

    Args:
        board: The board.
        form: Name of the format.
        columns: Column keys (see ``columns.choose``) in place of the default ones.

    Raises:
        UsageError: There is no such format or column.
    """
    if form not in _FORMATS:
        raise UsageError(f"unknown format '{form}'{nearest(form, FORMATS)} ({', '.join(FORMATS)})")
    return _FORMATS[form](board, columns).rstrip("\n") + "\n"


def render(
    board: Board, form: str = "table", out: Path | None = None, columns: Columns = None
) -> None:
    """Prints the board, or writes it to a file.

    Args:
        board: The board.
        form: One of :data:`FORMATS`.
        out: File to write, whole or not at all; standard output where None.
        columns: Column keys (see ``columns.choose``) in place of the default ones.

    Raises:
        UsageError: There is no such format or column.
    """
    if form == "table" and out is None and sized_output():
        show(board, columns=columns)
        return
    text = text_of(board, form, columns)
    if out is not None:
        write_text(out, text)
    elif form == "table":
        sys.stdout.write(text)
    else:
        write_utf8(text)
    if form in WITHOUT_NOTES:
        for note in notes_of(board, ["ci"]):
            say(f"* {visible(note)}")
