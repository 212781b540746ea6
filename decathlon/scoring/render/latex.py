"""The board as a LaTeX table in the manner of the paper (package ``booktabs``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from decathlon.common.text import latex as escaped
from decathlon.common.text import visible
from decathlon.scoring.columns import Cell, cells, columns_of, default_keys, headings_of, notes_of

if TYPE_CHECKING:
    from decathlon.scoring.board import Board


def to_latex(board: "Board", columns: Sequence[str] | None = None) -> str:
    r"""Returns a ``tabular`` for ``\usepackage{booktabs}``; the notes are comments.

    Raises:
        UsageError: There is no such column.
    """
    keys = columns or default_keys(board)
    chosen = columns_of(board, keys)
    head = " & ".join(["", *(escaped(column.heading) for column in chosen)])
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% {visible(note)}" for note in notes_of(board, keys)),
        rf"\begin{{tabular}}{{l{'r' * len(chosen)}}}",
        r"\toprule",
        head + r" \\",
        r"\midrule",
    ]
    section = board.rows[0].section if board.rows else None
    headings = headings_of(board)
    for i, (row, line) in enumerate(zip(board.rows, cells(board, chosen), strict=True)):
        if row.section != section:
            lines.append(r"\midrule")
            section = row.section
        if i in headings:
            text = rf"\multicolumn{{{len(chosen) + 1}}}{{l}}{{\emph{{{escaped(headings[i])}}}}} \\"
            lines.append(text)
        lines.append(" & ".join([escaped(row.label), *map(_cell, line)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _cell(cell: Cell) -> str:
    text = escaped(cell.text).replace("x", r"$\times$") if _is_ratio(cell) else escaped(cell.text)
    return {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]


def _is_ratio(cell: Cell) -> bool:
    return cell.text[:1].isdigit() and "x" in cell.text
