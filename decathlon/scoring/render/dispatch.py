"""Writing boards: the format by its name, to the terminal or to a file."""

import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

from rich.console import Console

from decathlon.common.errors import UsageError, check_known
from decathlon.common.grid import PLAIN_WIDTH, sized_output
from decathlon.common.output import write_utf8
from decathlon.common.progress import say
from decathlon.common.text import visible
from decathlon.scoring.board import Board
from decathlon.scoring.columns import columns_of, notes_of
from decathlon.scoring.render.formats import to_csv, to_json, to_markdown
from decathlon.scoring.render.latex import to_latex
from decathlon.scoring.render.svg import to_svg
from decathlon.scoring.render.terminal import show

Columns = Sequence[str] | None


def _table(board: Board, columns: Columns) -> str:
    text = StringIO()
    show(board, Console(file=text, width=PLAIN_WIDTH), columns)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _json(board: Board, columns: Columns) -> str:
    columns_of(board, columns or ())  # JSON has all columns; a wrong one is an error all the same
    return to_json(board, sensitivity="slopes" in (columns or ()))


def _html(board: Board, columns: Columns) -> str:
    # Imported here: no other format pays for jinja2.
    from decathlon.scoring.render.html import to_html

    return to_html(board, columns)


def _svg(board: Board, columns: Columns) -> str:
    return to_svg(board, columns)


def _svg_dark(board: Board, columns: Columns) -> str:
    return to_svg(board, columns, dark=True)


_FORMATS: dict[str, Callable[[Board, Columns], str]] = {
    "table": _table,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": _json,
    "html": _html,
    "svg": _svg,
    "svg-dark": _svg_dark,
}
FORMATS = tuple(_FORMATS)
"""Names of the formats."""
WITHOUT_NOTES = ("csv", "json", "svg", "svg-dark")
"""Formats that cannot hold the board's notes: they go to standard error."""
ONE_BOARD = ("csv", "html", "svg", "svg-dark")
"""Formats that hold one board."""


def text_of(board: Board, form: str, columns: Columns = None) -> str:
    """Returns the board as text in one of :data:`FORMATS`.

    Args:
        board: The board.
        form: Name of the format.
        columns: Column keys (see ``columns.columns_of``) in place of the default ones.

    Raises:
        UsageError: There is no such format or column.
    """
    check_known("format", form, FORMATS)
    return _FORMATS[form](board, columns).rstrip("\n") + "\n"


def render_boards(
    boards: Sequence[Board], form: str = "table", out: Path | None = None, columns: Columns = None
) -> None:
    """Prints boards one below the other, or writes them to a file.

    Args:
        boards: One board, or one of each of several suites: a list in JSON.
        form: One of :data:`FORMATS`.
        out: File to write, whole or not at all; standard output where None.
        columns: Column keys (see ``columns.columns_of``) in place of the default ones.

    Raises:
        UsageError: There is no such format or column, or the format holds one board only.
    """
    check_known("format", form, FORMATS)
    if form == "table" and out is None and sized_output():
        for place, board in enumerate(boards):
            print("\n" * bool(place), end="")
            show(board, columns=columns)
        return
    text = _joined(boards, form, columns)
    if form == "table" and out is None:
        sys.stdout.write(text)
    else:
        write_utf8(text, out)
    if form in WITHOUT_NOTES:
        for board in boards:
            for note in notes_of(board, ["ci", "diff", "rank_ci"]):
                say(f"* {visible(note)}")


def _joined(boards: Sequence[Board], form: str, columns: Columns) -> str:
    """Returns boards as one text, with titles where the format has none."""
    if len(boards) == 1:
        return text_of(boards[0], form, columns)
    if form in ONE_BOARD:
        names = " or ".join(board.suite.name for board in boards)
        raise UsageError(f"--format {form} holds the table of one suite: add --suite {names}")
    texts = [text_of(board, form, columns) for board in boards]
    if form == "json":
        return f"[{','.join(text.rstrip() for text in texts)}]\n"
    titles = {"markdown": "## {}\n\n", "latex": "% {}\n"}
    heads = [titles.get(form, "").format(visible(board.suite.title)) for board in boards]
    return "\n".join(head + text for head, text in zip(heads, texts, strict=True))
