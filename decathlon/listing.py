"""Tables of what there is: methods and domains."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from decathlon.domains import DOMAINS, SPLITS
from decathlon.method import about, registered
from decathlon.scoring.escape import visible
from decathlon.scoring.published import TABLE_3, in_table_order, published_rows

if TYPE_CHECKING:
    from decathlon.data.manifest import DomainEntry

WIDE = 140
"""Characters from which a table tells more."""


def _table(*columns: str, whole: int = 1) -> Table:
    """Starts a table whose first ``whole`` columns are never cut or wrapped."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index < whole)
    return table


def methods_table(width: int) -> Table:
    """Lists all registered methods with what their tables printed, importing none.

    Those of Table 3 come first, in its order.

    Args:
        width: Characters there are; where they are many, what a method does is told too.
    """
    rows = {row.method: row for row in published_rows() if row.table == TABLE_3}
    wide = width >= WIDE
    table = _table("method", "#par", "S", "year", "paper", "trains", *["does"] * wide, whole=4)
    for name in in_table_order(registered()):
        facts, row = about(name), rows.get(name)
        ratio = f"{row.params_ratio:g}x" if row and row.params_ratio else ""
        score = f"{row.score_printed:g}" if row and row.score_printed is not None else ""
        cells = [name, ratio, score, str(facts.year or ""), facts.paper, facts.trains]
        table.add_row(*(Text(visible(cell)) for cell in cells + [facts.text] * wide))
    table.caption = "#par and S as printed in Table 3 of the SpotTune paper"
    return table


def _state(data: Path, entry: "DomainEntry") -> str:
    """Returns whether a prepared domain is whole and official, in one word."""
    from decathlon.data.work import intact

    if not all(intact(data, s) for split in entry.splits.values() for s in split.shards):
        return "damaged"
    return "official" if entry.official else "own" if entry.own else "other"


def domains_table(data: Path, width: int) -> Table:
    """Lists the official domains, and counts and sizes of what is prepared in a folder.

    Args:
        data: The data folder.
        width: Characters there are; where they are many, what the images are is told too.

    Raises:
        DataError: What is prepared cannot be read.
    """
    from decathlon.data.manifest import Manifest, read_manifest

    manifest = read_manifest(data) or Manifest(domains={})
    wide = width >= WIDE
    table = _table("domain", "classes", whole=2)
    table.padding = (0, int(wide), 0, 0)
    for column in (*SPLITS, "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("state", "official counts", *["images"] * wide):
        table.add_column(column, no_wrap=True)
    totals = dict.fromkeys((*SPLITS, "MB"), 0.0)
    for name in dict.fromkeys([*DOMAINS, *manifest.domains]):
        official, entry = DOMAINS.get(name), manifest.domains.get(name)
        numbers, state = dict.fromkeys(totals, "-"), "-"
        if entry is not None:
            counts = {split: float(found.num_images) for split, found in entry.splits.items()}
            size = sum(s.size for found in entry.splits.values() for s in found.shards) / 1e6
            for key, value in {**counts, "MB": size}.items():
                totals[key] += value
                unknown = key in entry.splits and not entry.splits[key].labelled
                numbers[key] = f"{value:.0f}{'*' * unknown}"
            state = _state(data, entry)
        classes = len(entry.class_names) if entry else official.num_classes if official else 0
        sizes = "/".join(map(str, official.sizes)) if official else "-"
        text = [official.text if official else ""] * wide
        cells = [name, str(classes), *numbers.values(), state, sizes, *text]
        table.add_row(*(Text(visible(cell)) for cell in cells))
    table.add_section()
    table.add_row("total", "", *(f"{value:.0f}" for value in totals.values()))
    table.caption = (
        "images and sizes as prepared; * labels not known (prepare --labels);"
        " official: its classes, counts and images; other: not all of these"
    )
    return table
