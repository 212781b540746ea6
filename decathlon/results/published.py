"""The literature's rows.

One row is one JSON file. The rows come with the package (``decathlon/published``
where it is installed, ``results/published`` in a checkout). A results folder that
has a ``published`` folder is read with that folder's rows *instead*: what stands
there is what the board shows, so a copy of the rows can be extended or thinned
out. In a checkout ``results/published`` is both, and nothing is read twice.
"""

from collections.abc import Iterable
from pathlib import Path

from decathlon.results.records import PublishedRow, read_published

TABLE_3 = "SpotTune Table 3"
"""``table`` of the rows that a board shows by default."""
FOLDER = "published"


def packaged() -> Path:
    """Returns the folder of the rows that come with the package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / FOLDER
    return installed if installed.is_dir() else package.parent / "results" / FOLDER


def folder_of(results: Path | None) -> Path:
    """Returns the folder of rows that a board of ``results`` shows."""
    if results is not None and (results / FOLDER).is_dir():
        return results / FOLDER
    return packaged()


def published_rows(results: Path | None = None) -> list[PublishedRow]:
    """Reads the literature's rows: Table 3 first, then by table and row.

    Args:
        results: A results folder whose own ``published`` folder, if it has one, is
            read in place of the packaged rows.

    Raises:
        ResultError: A row's file is not valid; names the file and field.
    """
    rows = [read_published(path) for path in sorted(folder_of(results).glob("*.json"))]
    return sorted(rows, key=lambda row: (row.table != TABLE_3, row.table, row.row, row.label))


def in_table_order(methods: Iterable[str]) -> list[str]:
    """Sorts methods as Table 3 has them; those it does not have come last."""
    rows = {row.method: row.row for row in published_rows() if row.table == TABLE_3}
    return sorted(methods, key=lambda name: rows.get(name, len(rows) + 1))
