"""The board as a picture: an SVG that needs no font, script or file but itself.

Rich draws the text. Each piece has its place and length, so that nothing overlaps whatever
monospaced font a reader has; the template here takes the place of rich's, which loads a font from
the network.
"""

import html
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from decathlon.common.text import visible
from decathlon.scoring.render.terminal import STYLES, conditions, fitted, legend

if TYPE_CHECKING:
    from decathlon.scoring.board import Board

WIDTH = 100
"""Characters that a table may take: about what is readable in the column of a page."""
_STYLES = {**STYLES, "best": "bold blue"}
# Background, text and blue of GitHub's pages; the board uses no other of the eight colours.
_LIGHT = TerminalTheme((255, 255, 255), (31, 35, 40), [(9, 105, 218)] * 8)
_DARK = TerminalTheme((13, 17, 23), (230, 237, 243), [(88, 166, 255)] * 8)
_ASPECT = 0.6
"""Width of a character over its height, in most monospaced fonts."""
_TEMPLATE = """\
<svg viewBox="0 0 {{width}} {{height}}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>{title}</title>
<style>
.{{unique_id}}-matrix {{{{
font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
font-size: {{char_height}}px;
}}}}
{{styles}}
</style>
<defs>
{{lines}}
</defs>
<rect width="{{width}}" height="{{height}}" fill="{background}"/>
<g class="{{unique_id}}-matrix" transform="translate({{terminal_x}}, 20)">
{{matrix}}
</g>
</svg>
"""


def to_svg(board: "Board", columns: Sequence[str] | None = None, *, dark: bool = False) -> str:
    """Returns the board as a picture, without its notes.

    Args:
        board: The board.
        columns: Column keys in place of those that fit by default.
        dark: True for light text on a dark ground.

    Raises:
        UsageError: There is no such column.
    """
    shown = fitted(board, WIDTH, columns, _STYLES)
    title = visible(f"{board.suite.title}, {conditions(board)}")
    drawn = StringIO()
    Console(file=drawn, width=WIDTH).print(shown.grid)
    width = max(cell_len(line.rstrip()) for line in [title, *drawn.getvalue().splitlines()])
    console = Console(file=StringIO(), width=width, record=True)
    console.print(Text(title, style="bold"), Text(), shown.grid, Text(), sep="\n")
    # With a line below: rich clips all lines but the last.
    console.print(Text(legend(board.suite, shown.keys), style="dim"), Text(), sep="\n")
    theme = _DARK if dark else _LIGHT
    template = _TEMPLATE.format(
        title=html.escape(title).replace("{", "{{").replace("}", "}}"),
        background=theme.background_color.hex,
    )
    return console.export_svg(
        title="", theme=theme, code_format=template, font_aspect_ratio=_ASPECT, unique_id="board"
    )
