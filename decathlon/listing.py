"""Tables of what there is: methods and domains."""

from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from decathlon.domains import DOMAINS
from decathlon.errors import DataError
from decathlon.method import about, registered
from decathlon.scoring.published import TABLE_3, in_table_order, published_rows

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
        table.add_row(*(Text(cell) for cell in cells + [facts.text] * wide))
    table.caption = "#par and S as printed in Table 3 of the SpotTune paper"
    return table


def domains_table(data: Path) -> Table:
    """Lists the official domains, and counts and sizes of what is prepared in a folder."""
    from decathlon.data.store import open_store

    table = _table(
        "domain", "classes", "prepared", "MB", "official train/val/test", "images", whole=5
    )
    try:
        store = open_store(data)
    except DataError:
        store = None
    prepared = store.domains if store else {}
    for name in dict.fromkeys([*DOMAINS, *prepared]):
        official = DOMAINS.get(name)
        counts = "/".join(map(str, official.sizes)) if official else "-"
        info = prepared.get(name)
        here = size = "-"
        if store and info:
            here = "/".join(f"{split.num_images}" for split in info.splits.values())
            files = data.joinpath(name).glob("*.h5")
            size = f"{sum(f.stat().st_size for f in files) / 1e6:.0f}"
        classes = str(info.num_classes if info else official.num_classes if official else "-")
        text = official.text if official else "own"
        table.add_row(*(Text(cell) for cell in (name, classes, here, size, counts, text)))
    return table
