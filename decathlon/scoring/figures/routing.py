"""Which blocks images are routed through: Figures 3 and 4 of the SpotTune paper.

The decisions are recorded at evaluation, one digit per routed block and image, so
that no network is needed to draw them:

    routing.json: {"blocks": 8, "images": ["01101100", ...]}
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from decathlon.errors import ResultError
from decathlon.records import RunRecord
from decathlon.scoring.figures import canvas
from decathlon.scoring.trials import Trials

ROUTING = "routing.json"
MAX_BYTES = 50_000_000

Decisions = NDArray[np.uint8]


def read_decisions(path: Path) -> Decisions:
    """Reads the routing of one trial.

    Returns:
        Images x blocks; 1 where the fine-tuned block was taken.

    Raises:
        ResultError: The file is not a valid routing.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ResultError(f"{path}: too large for routing decisions")
        value = json.loads(path.read_bytes())
        blocks, images = value["blocks"], value["images"]
        if not images or any(len(image) != blocks or set(image) - set("01") for image in images):
            raise ValueError(f"an image has not {blocks} digits 0 or 1")
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResultError(
            f"{path}: not a record of routing ({type(error).__name__}: {error});"
            " run the trial again with --force"
        ) from None
    digits = np.frombuffer("".join(images).encode("ascii"), dtype=np.uint8)
    return (digits - ord("0")).reshape(len(images), blocks)


def is_routed(results: Path, trials: Trials) -> bool:
    """Tells whether any trial of a name has recorded its routing."""
    return any(_path(results, record).exists() for record in trials.records)


def decisions_of(results: Path, trials: Trials) -> dict[str, Decisions]:
    """Reads the routing of one name by domain, all seeds together.

    Raises:
        ResultError: There is none, or a domain's seeds have other numbers of blocks.
    """
    found: dict[str, list[Decisions]] = {}
    for record in trials.records:
        path = _path(results, record)
        if path.exists():
            found.setdefault(record.domain, []).append(read_decisions(path))
    if not found:
        raise ResultError(
            f"'{trials.name}' has no {ROUTING}: only methods that route images between frozen and"
            " fine-tuned blocks, as spottune does, have policies to plot"
        )
    for domain, parts in found.items():
        if len({part.shape[1] for part in parts}) > 1:
            raise ResultError(f"'{trials.name}': the seeds of {domain} route unlike many blocks")
    return {name: np.concatenate(found[name]) for name in canvas.in_order(list(found))}


def _path(results: Path, record: RunRecord) -> Path:
    return results / record.folder / ROUTING


def policy(results: Path, trials: Trials) -> Figure:
    """Draws the share of images that took the fine-tuned path, by block and domain."""
    decisions = decisions_of(results, trials)
    num_blocks = max(d.shape[1] for d in decisions.values())
    shares = np.full((len(decisions), num_blocks), np.nan)
    for row, taken in enumerate(decisions.values()):
        shares[row, : taken.shape[1]] = 100 * taken.mean(axis=0)
    drawn = canvas.figure(1.6 + 0.42 * num_blocks, 0.9 + 0.3 * len(decisions))
    with canvas.styled():
        axes = drawn.subplots()
        image = axes.imshow(shares, cmap="Reds", vmin=0, vmax=100, aspect="auto")
        for (row, block), share in np.ndenumerate(shares):
            if np.isfinite(share):
                ink = "white" if share > 60 else "black"
                axes.text(
                    block, row, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=7
                )
        axes.set_xticks(range(num_blocks), [str(block + 1) for block in range(num_blocks)])
        axes.set_yticks(range(len(decisions)), [canvas.column(name) for name in decisions])
        axes.set_xlabel("routed block")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = drawn.colorbar(image, ax=axes, pad=0.02)
        bar.set_label("images fine-tuned (%)")
        bar.outline.set_visible(False)
    return drawn


def usage(results: Path, trials: Trials) -> Figure:
    """Draws how many images used how many fine-tuned blocks, a histogram per domain."""
    decisions = decisions_of(results, trials)
    columns = min(5, len(decisions))
    rows = -(-len(decisions) // columns)
    drawn = canvas.figure(0.4 + 1.4 * columns, 0.4 + 1.25 * rows)
    with canvas.styled():
        grid = drawn.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(decisions) :]:
            axes.set_visible(False)
        for axes, (name, taken) in zip(grid.flat, decisions.items(), strict=False):
            num_blocks = taken.shape[1]
            counts = np.bincount(taken.sum(axis=1, dtype=np.int64), minlength=num_blocks + 1)
            axes.bar(
                range(num_blocks + 1), counts, color="#b2182b", edgecolor="black", linewidth=0.4
            )
            axes.set_title(canvas.column(name))
            axes.set_xticks(range(0, num_blocks + 1, 2 if num_blocks > 6 else 1))
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        drawn.supxlabel("fine-tuned blocks used by an image", fontsize=8)
        drawn.supylabel("images", fontsize=8)
    return drawn
