"""What all figures share: their look, and how they become files.

Everything can be told apart in grey: by marker, line style, hatching or the number
itself, not by hue alone. Figures are drawn without pyplot, so that nothing is kept
between them, and their files hold no date, so that equal results give equal bytes.
"""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import LineStyleType
from rich.cells import cell_len

from decathlon.common.files import replacing
from decathlon.common.progress import say
from decathlon.common.text import visible
from decathlon.suites.base import Suite

SUFFIXES = (".svg", ".png")
DPI = 200
FONT = "DejaVu Sans"
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "Arial Unicode MS",
    "Noto Emoji",
)
"""Fonts, if they are installed, for characters that the font of all figures lacks."""
STYLE: dict[str, Any] = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "legend.handlelength": 3.5,
    "lines.linewidth": 1.2,
    "savefig.facecolor": "white",
    "svg.hashsalt": "decathlon",
    "svg.fonttype": "none",
    "text.parse_math": False,
}
"""Text stays text, and dollar signs in names are not taken for mathematics."""
INKS = ("#000000", "#b2182b", "#2166ac", "#4d9221", "#8c510a", "#762a83", "#777777", "#e08214")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[LineStyleType, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (10, 3)),
    (0, (3, 1, 1, 1, 1, 1)),
)
LONGEST = 40
"""Characters of a line of a name; longer names take several lines."""
MARGIN = 0.15
"""Inches around a legend."""


class Look(NamedTuple):
    """How one of several methods is drawn."""

    ink: str
    marker: str
    line: LineStyleType


def look(place: int) -> Look:
    """Returns the look of a method by its place; 64 differ in colour, marker or line.

    The first eight differ in all three, so that they can be told apart in grey as well.
    """
    turn = place // len(INKS)
    shifted = place + 3 * turn
    ink = INKS[place % len(INKS)]
    return Look(ink, MARKERS[shifted % len(MARKERS)], LINES[shifted % len(LINES)])


@contextmanager
def styled() -> Iterator[None]:
    """Enters a context in which figures look like those of a paper."""
    installed = set(font_manager.get_font_names())
    fonts = [FONT, *(font for font in FALLBACKS if font in installed)]
    style = matplotlib.RcParams(STYLE | {"font.family": fonts})
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # see save()
        yield


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure of that size in inches."""
    with styled():
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        return drawn


def save(drawn: Figure, out: Path) -> None:
    """Writes a figure to an SVG or PNG file, whole or not at all.

    Characters that no installed font has are boxes in a PNG, which standard error says.
    """
    form = out.suffix.lower().removeprefix(".")
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with styled(), replacing(out) as part:
        drawn.savefig(part, format=form, dpi=DPI, metadata=metadata)
        boxes = _without_font(drawn) if form == "png" else ""
    if boxes:
        say(
            f"{visible(str(out))}: no installed font has {boxes}, drawn as boxes; write an .svg,"
            f" or install a font such as {FALLBACKS[0]}"
        )


def _without_font(drawn: Figure) -> str:
    """Returns the characters of a figure that no font in use has."""
    families = matplotlib.rcParams["font.family"]
    fonts = [font_manager.get_font(font_manager.findfont(family)) for family in families]
    characters = {c for text in drawn.findobj(Text) for c in text.get_text() if c.isprintable()}
    lacking = (c for c in characters if not any(f.get_char_index(ord(c)) for f in fonts))
    return "".join(sorted(lacking))


def svg(drawn: Figure) -> bytes:
    """Returns a figure as an SVG without a background, for a page of any colour."""
    buffer = BytesIO()
    metadata = {"Date": None, "Creator": None}
    with styled():
        drawn.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    return buffer.getvalue()


def folded(name: str, longest: int = LONGEST) -> str:
    """Returns a name as text that is safe to draw, on several lines if it is long."""
    text = visible(name)
    wide = cell_len(text) > len(text)  # Chinese, for instance
    return "\n".join(textwrap.wrap(text, longest // 2 if wide else longest)) or text


def size_of(drawn: Figure, artist: Artist) -> tuple[float, float]:
    """Returns width and height of something drawn, in inches."""
    box = artist.get_window_extent(renderer_of(drawn))
    return box.width / drawn.dpi, box.height / drawn.dpi


def renderer_of(drawn: Figure) -> RendererAgg:
    """Returns what measures the text of a figure."""
    assert isinstance(drawn.canvas, FigureCanvasAgg)
    renderer: RendererAgg = drawn.canvas.get_renderer()  # type: ignore[no-untyped-call]
    return renderer


def set_ticks(axis: Axis, most: int, integer: bool = False) -> None:
    """Sets a few round ticks within the limits of an axis, which have to be final."""
    low, high = sorted(axis.get_view_interval())
    ticks = MaxNLocator(most, integer=integer, steps=[1, 2, 5, 10]).tick_values(low, high)
    axis.set_ticks([tick for tick in ticks if low <= tick <= high])


def legend(drawn: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Adds a legend outside the axes, and makes room for it.

    It is one line above the axes if that fits, and a column on their right otherwise.
    """
    labels = [folded(name) for name in names]
    width, height = drawn.get_size_inches()
    above = drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    wide, high = size_of(drawn, above)
    if wide + MARGIN <= width:
        drawn.set_size_inches(width, height + high)
        return
    above.remove()
    wide, high = size_of(drawn, drawn.legend(handles, labels, loc="outside right upper"))
    drawn.set_size_inches(width + wide + MARGIN, max(height, high + MARGIN))


def panels(
    names: Sequence[str], suite: Suite, width: float, height: float, across: int = 5
) -> tuple[Figure, dict[str, Axes]]:
    """Returns a figure of one titled panel per domain, and the panels by domain.

    Args:
        names: The domains, in order.
        suite: Their suite.
        width: Width of a panel in inches.
        height: Height of a panel in inches.
        across: Panels side by side, at most.
    """
    columns = min(across, len(names))
    rows = -(-len(names) // columns)
    drawn = figure(max(0.6 + width * columns, 2.6), max(0.6 + height * rows, 2.1))
    with styled():
        grid = drawn.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(names) :]:
            axes.remove()
        found = dict(zip(names, grid.flat, strict=False))
        for name, axes in found.items():
            axes.set_title(column(name, suite, int(width * 13)))
    return drawn, found


def column(domain: str, suite: Suite, longest: int = LONGEST) -> str:
    """Returns a domain's column heading, or its name folded if the suite does not list it."""
    return suite.column_of(domain) if domain in suite.domains else folded(domain, longest)
