"""Which blocks images are routed through: Figures 3 and 4 of the SpotTune paper.

The decisions are recorded at evaluation, so that no network is needed to draw them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from decathlon.scoring.entries import Entry
from decathlon.scoring.figures import style
from decathlon.scoring.routes import decisions_of, stages_of
from decathlon.suites.base import Suite


def policy(results: Path, entry: Entry, suite: Suite) -> Figure:
    """Draws the share of images that took the fine-tuned path, by block and domain.

    Lines part the stages of the network, if the records name its blocks.
    """
    decisions = decisions_of(results, entry, suite)
    shares = {name: 100 * taken.mean(axis=0) for name, taken in decisions.items()}
    return heat_map([(style.column(name, suite), row) for name, row in shares.items()], entry)


def heat_map(
    rows: Sequence[tuple[str, Sequence[float]]], entry: Entry, row_height: float = 0.3
) -> Figure:
    """Draws the shares of images that took the fine-tuned path, in percent.

    Args:
        rows: Names, and their shares by block.
        entry: The entry, whose records name the blocks in each stage of the network.
        row_height: Of each row, in inches.
    """
    num_blocks = max(len(row) for _, row in rows)
    shares = np.full((len(rows), num_blocks), np.nan)
    for place, (_, row) in enumerate(rows):
        shares[place, : len(row)] = row
    height = max(1.2 + row_height * len(rows), 1.9)  # of the text beside the scale, at least
    drawn = style.figure(max(1.2 + 0.42 * num_blocks, 3.0), height)
    with style.styled():
        axes = drawn.subplots()
        image = axes.imshow(shares, cmap=_reds(), vmin=0, vmax=100, aspect="auto")
        for (row, block), share in np.ndenumerate(shares):
            if np.isfinite(share):
                axes.text(block, row, f"{share:.0f}", ha="center", va="center", fontsize=7)
        axes.set_xticks(range(num_blocks), [str(block + 1) for block in range(num_blocks)])
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_xlabel("routed block")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _part_stages(axes, stages_of(entry, num_blocks))
        bar = drawn.colorbar(image, ax=axes, location="right", pad=0.02, fraction=0.05)
        bar.set_label("images fine-tuned (%)")
        bar.outline.set_visible(False)
    return drawn


def _part_stages(axes: Axes, stages: list[tuple[int, int]]) -> None:
    start = -0.5
    for number, count in stages:
        if start > 0:
            axes.axvline(start, color="white", linewidth=4)
        name = "stage " if count > 1 else ""
        axes.text(
            start + count / 2, 1.02, f"{name}{number}", ha="center", va="bottom", fontsize=7,
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        start += count


def _reds() -> ListedColormap:
    """Returns reds on which black numbers are readable, as white ones are on their inverse."""
    return ListedColormap(colormaps["Reds"](np.linspace(0, 0.45, 256)))


def usage(results: Path, entry: Entry, suite: Suite) -> Figure:
    """Draws how many images used how many fine-tuned blocks, a histogram per domain."""
    decisions = decisions_of(results, entry, suite)
    drawn, panels = style.panels(list(decisions), suite, 1.4, 1.25)
    with style.styled():
        for name, axes in panels.items():
            taken = decisions[name]
            num_blocks = taken.shape[1]
            counts = np.bincount(taken.sum(axis=1, dtype=np.int64), minlength=num_blocks + 1)
            axes.bar(
                range(num_blocks + 1), counts, color="#b2182b", edgecolor="black", linewidth=0.4
            )
            style.set_ticks(axes.xaxis, 5, integer=True)
            style.set_ticks(axes.yaxis, 4, integer=True)
        drawn.supxlabel("fine-tuned blocks used by an image", fontsize=8)
        drawn.supylabel("images", fontsize=8)
    return drawn
