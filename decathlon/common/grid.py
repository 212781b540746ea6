"""Tables for terminals of any width, in which no text is ever cut.

A row takes one line where that fits. Otherwise text wraps between words. Where even that
is too wide, each row takes several lines, and so do the headings, in the same places.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 120
"""Width of tables that go to a file or a pipe and not to a terminal."""
INDENT = 2
"""Indent of the lines below a row's first one."""
LEAST = 10
"""Characters that a wrapped column keeps unless all of its text is shorter."""
LONGEST_WORD = 40
"""Words of more characters, such as names made by a program, are broken before others are."""


@dataclass(frozen=True)
class Line:
    """One of the lines that a row takes.

    Attributes:
        places: Index and width of each column on it.
        gap: Characters between two columns.
        indent: Characters before the first column.
    """

    places: Sequence[tuple[int, int]]
    gap: int
    indent: int = 0

    @property
    def width(self) -> int:
        """Characters that the line takes."""
        return self.indent + _total([width for _, width in self.places], self.gap)


@dataclass(frozen=True)
class Column:
    """One column of a grid; the first one holds the names.

    Attributes:
        heading: Its heading.
        right: Whether it is aligned to the right, as numbers are.
        wraps: Whether its text may wrap between words. Names always may.
        below: Whether it goes below the name first when a row takes several lines.
    """

    heading: str
    right: bool = False
    wraps: bool = False
    below: bool = False


class Grid:
    """A table that picks its layout for the width it is printed at.

    Args:
        columns: The columns. Headings and cells are plain text without control characters.
        caption: Text below the table.
    """

    def __init__(self, columns: Sequence[Column], caption: str = "") -> None:
        self.columns = columns
        self.caption = caption
        self.rows: list[list[Text]] = []
        self.ends: set[int] = set()
        self.groups: dict[int, str] = {}

    def add_heading(self, text: str) -> None:
        """Adds a line of text above the next row, over all columns."""
        self.groups[len(self.rows)] = text

    def add_row(self, *cells: str | Text, end_section: bool = False) -> None:
        """Adds a row, with a blank line below it if it ends a section."""
        self.rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])
        if end_section:
            self.ends.add(len(self.rows) - 1)

    def fits(self, width: int) -> bool:
        """Whether each row fits on one line of ``width`` characters."""
        return _total(self._natural(), 1) <= width

    def depth(self, width: int) -> int:
        """Returns how many lines of headings there are at a width."""
        return len(self._layout(width))

    def _texts(self, index: int) -> list[str]:
        return [self.columns[index].heading, *(row[index].plain for row in self.rows)]

    def _natural(self) -> list[int]:
        return [max(map(cell_len, self._texts(i))) for i in range(len(self.columns))]

    def _least(self) -> list[int]:
        """Returns the widths at which no word is broken and no number is wrapped."""
        least = []
        for index, column in enumerate(self.columns):
            heading, *cells = self._texts(index)
            wraps = column.wraps or index == 0
            words = [word for text in [heading, *cells * wraps] for word in text.split()]
            longest = max(map(cell_len, [heading, *cells]))
            whole = max(map(cell_len, [*words, *cells * (not wraps)]), default=0)
            if wraps:
                whole = max(min(whole, LONGEST_WORD), min(longest, LEAST))
            least.append(whole)
        return least

    def _layout(self, width: int) -> list[Line]:
        """Returns the lines that each row takes."""
        natural, least = self._natural(), self._least()
        for gap in (2, 1):
            if _total(natural, gap) <= width:
                return [Line(list(enumerate(natural)), gap)]
        if _total(least, 1) <= width:
            return [Line(list(enumerate(_grown(least, natural, width))), 1)]
        beside = [i for i, column in enumerate(self.columns) if i and not column.below]
        below = [i for i, column in enumerate(self.columns) if i and column.below]
        room = width - sum(least[i] + 2 for i in beside)
        if room >= min(least[0], width // 3):
            first = [(0, min(natural[0], room)), *((i, least[i]) for i in beside)]
        else:
            first, below = [(0, width)], beside + below
        return [Line(first, 2), *self._packed(below, natural, width)]

    def _packed(self, below: Sequence[int], natural: list[int], width: int) -> list[Line]:
        room = width - INDENT
        lines: list[list[tuple[int, int]]] = []
        left = 0
        for i in below:
            needed = min(natural[i], room)
            if left < needed or self.columns[i].wraps:
                lines.append([])
                left = room
            lines[-1].append((i, needed))
            left -= needed + 1
        wide = [_total([w for _, w in places], 2) <= room for places in lines]
        gap = 2 if all(wide) else 1
        return [Line(places, gap, INDENT) for places in lines]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Prints the grid at the width there is."""
        layout = self._layout(options.max_width)
        headings = [Text(column.heading, style="bold") for column in self.columns]
        yield from self._lines(headings, layout)
        total = max(line.width for line in layout)
        rule = Rule(characters="-" if options.ascii_only else "─", style="")
        yield from console.render(rule, options.update(width=total))
        for number, row in enumerate(self.rows):
            if number in self.groups:
                yield Text(self.groups[number], style="italic")
            yield from self._lines(row, layout)
            if number in self.ends and number + 1 < len(self.rows):
                yield Text()
        if self.caption:
            yield Text(self.caption)

    def _lines(self, cells: list[Text], layout: list[Line]) -> RenderResult:
        for number, line in enumerate(layout):
            if number and not any(cells[index].plain for index, _ in line.places):
                continue
            shown = Table.grid(padding=(0, line.gap, 0, 0), pad_edge=False)
            for index, width in line.places:
                justify: JustifyMethod = "right" if self.columns[index].right else "left"
                shown.add_column(width=width, justify=justify, overflow="fold", vertical="top")
            shown.add_row(*(cells[index] for index, _ in line.places))
            yield Padding(shown, (0, 0, 0, line.indent))


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _grown(least: list[int], natural: list[int], width: int) -> list[int]:
    """Widens the columns whose text wraps most until the width is used up."""
    widths = [max(1, w) for w in least]
    for _ in range(width - _total(widths, 1)):
        index = max(range(len(widths)), key=lambda i: natural[i] / widths[i])
        if natural[index] <= widths[index]:
            break
        widths[index] += 1
    return widths


def sized_output() -> bool:
    """Whether standard output has a width: it is a terminal, or COLUMNS is set."""
    return Console().is_terminal or "COLUMNS" in os.environ


def emit(*parts: RenderableType) -> None:
    """Prints tables and text to standard output, :data:`PLAIN_WIDTH` wide in a pipe."""
    if sized_output():
        Console(highlight=False).print(*parts, sep="\n")
    else:
        sys.stdout.write(plain(*parts))


def plain(*parts: RenderableType) -> str:
    """Returns tables and text as plain text, :data:`PLAIN_WIDTH` wide."""
    buffer = StringIO()
    Console(file=buffer, width=PLAIN_WIDTH).print(*parts, sep="\n")
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines())
