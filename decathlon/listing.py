"""Tables of what there is: methods and domains."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from decathlon.domains import DOMAINS
from decathlon.errors import DataError
from decathlon.method import about, registered
from decathlon.scoring.published import published_rows


def methods_table() -> Table:
    """Lists all registered methods with what their tables printed, importing none."""
    rows = {row.method: row for row in published_rows() if row.table == "SpotTune Table 3"}
    table = Table("method", "paper", "year", "trains", "#par", "S", "what it does")
    for name in registered():
        facts, row = about(name), rows.get(name)
        ratio = f"{row.params_ratio:g}x" if row and row.params_ratio else ""
        score = f"{row.score_printed:g}" if row and row.score_printed is not None else ""
        year = str(facts.year or "")
        cells = (name, facts.paper, year, facts.trains, ratio, score, facts.text)
        table.add_row(*(Text(cell) for cell in cells))
    table.caption = "#par and S as printed in Table 3 of the SpotTune paper"
    return table


def domains_table(data: Path) -> Table:
    """Lists the official domains, and counts and sizes of what is prepared in a folder."""
    from decathlon.data.store import open_store

    table = Table("domain", "images", "classes", "official train / val / test", "prepared", "MB")
    try:
        store = open_store(data)
    except DataError:
        store = None
    prepared = store.domains if store else {}
    for name in dict.fromkeys([*DOMAINS, *prepared]):
        official = DOMAINS.get(name)
        counts = " / ".join(map(str, official.sizes)) if official else "-"
        info = prepared.get(name)
        here = size = "-"
        if store and info:
            here = " / ".join(f"{split.num_images}" for split in info.splits.values())
            files = data.joinpath(name).glob("*.h5")
            size = f"{sum(f.stat().st_size for f in files) / 1e6:.0f}"
        classes = str(info.num_classes if info else official.num_classes if official else "-")
        text = official.text if official else "own"
        table.add_row(*(Text(cell) for cell in (name, text, classes, counts, here, size)))
    return table
