"""What all figures share: their look, and how they become files.

Everything can be told apart in grey: by marker, line style, hatching or the number
itself, not by hue alone. Figures are drawn without pyplot, so that nothing is kept
between them, and their files hold no date, so that equal results give equal bytes.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from decathlon.domains import DOMAINS
from decathlon.errors import UsageError
from decathlon.files import replacing
from decathlon.scoring.escape import visible

SUFFIXES = (".svg", ".png")
DPI = 200
STYLE: dict[str, Any] = {
    "font.size": 8,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "savefig.facecolor": "white",
    "svg.hashsalt": "decathlon",
    "svg.fonttype": "none",
    "text.parse_math": False,
}
"""Text stays text, and dollar signs in names are not taken for mathematics."""
INKS = ("#000000", "#b2182b", "#2166ac", "#4d9221", "#8c510a", "#762a83", "#666666", "#e08214")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3)))


def styled() -> AbstractContextManager[None]:
    """Returns a context in which figures look like those of a paper."""
    return matplotlib.rc_context(matplotlib.RcParams(STYLE))


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure of that size in inches."""
    with styled():
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        return drawn


def check_suffix(out: Path) -> None:
    """Raises UsageError where ``out`` is neither an SVG nor a PNG file."""
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: figures are written as {' or '.join(SUFFIXES)}")


def save(drawn: Figure, out: Path) -> None:
    """Writes a figure to an SVG or PNG file, whole or not at all."""
    form = out.suffix.lower().removeprefix(".")
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with styled(), replacing(out) as part:
        drawn.savefig(part, format=form, dpi=DPI, metadata=metadata)


def column(domain: str) -> str:
    """Returns the short name of a domain as the paper has it."""
    return DOMAINS[domain].column if domain in DOMAINS else visible(domain)


def in_order(domains: Sequence[str]) -> list[str]:
    """Returns domains in the order of the paper's columns, others after them."""
    return [*(d for d in DOMAINS if d in domains), *sorted(set(domains) - set(DOMAINS))]
