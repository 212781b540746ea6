"""The literature's rows.

One row is one JSON file in ``published/<suite>``. The rows come with the package
(``decathlon/published`` where it is installed, ``results/published`` in a checkout). A results
folder that has such a folder is read with that folder's rows *instead*: the board shows what
stands there, so a copy of the rows can be extended or thinned out. Rows directly in
``published``, as earlier versions had them, are the default suite's.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from decathlon.common.errors import nearest
from decathlon.common.strict import StrictModel
from decathlon.results.records import SubsetName, read_json, validated
from decathlon.suites.base import Suite
from decathlon.suites.registry import DEFAULT

FOLDER = "published"

Percent = Annotated[float, Field(ge=0, le=100)]


class PublishedRow(StrictModel):
    """One row of a published table, percentages as printed.

    Attributes:
        format: Version of this schema.
        label: The method as the table calls it.
        method: Registered name of the same method here, or None.
        year: Year of publication.
        params_ratio: Printed #par, or None.
        accuracy: Printed accuracy by domain of the suite, or None where it was not given.
        score_printed: Printed score, or None.
        table: The table the row is printed in.
        row: Place among the rows of that table, from 1.
        source: Where it was read.
        note: What is known to be odd about it.
        subset: Size of the subset of the training images that was trained on, such as ``25pct``;
            empty for all images.
    """

    format: Literal[1] = 1
    label: Annotated[str, Field(min_length=1)]
    method: str | None
    year: int
    params_ratio: Annotated[float, Field(gt=0)] | None
    accuracy: dict[str, Percent | None]
    score_printed: Annotated[float, Field(ge=0, le=10000)] | None
    table: str
    row: Annotated[int, Field(ge=1)]
    source: str
    note: str = ""
    subset: SubsetName = ""

    @field_validator("accuracy")
    @classmethod
    def _domains_of_the_suite(
        cls, accuracy: dict[str, float | None], info: ValidationInfo
    ) -> dict[str, float | None]:
        domains = info.context.domains if info.context else accuracy
        for name in accuracy:
            if name not in domains:
                raise ValueError(f"unknown domain '{name}'{nearest(name, domains)}")
        return accuracy


def read_published(path: Path, suite: Suite = DEFAULT) -> PublishedRow:
    """Reads one published row of a suite.

    Raises:
        ResultError: The file is not a valid row; names every field at fault.
    """
    return validated(PublishedRow, read_json(path), path, suite)


def packaged(suite: Suite = DEFAULT) -> Path:
    """Returns the folder of the rows of a suite that come with the package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / FOLDER
    rows = installed if installed.is_dir() else package.parent / "results" / FOLDER
    return rows / suite.name


def own_folders(results: Path) -> dict[str, Path]:
    """Returns the folders of rows that a results folder has of its own, by suite."""
    own = results / FOLDER
    if not own.is_dir():
        return {}
    found = {path.name: path for path in sorted(own.iterdir()) if path.is_dir()}
    # An empty folder too: a board without rows of the literature.
    if any(own.glob("*.json")) or not any(own.iterdir()):
        found.setdefault(DEFAULT.name, own)
    return found


def folder_of(results: Path | None, suite: Suite) -> Path:
    """Returns the folder of rows that a board of ``results`` shows."""
    own = {} if results is None else own_folders(results)
    return own.get(suite.name) or packaged(suite)


def published_rows(results: Path | None = None, suite: Suite = DEFAULT) -> list[PublishedRow]:
    """Reads a suite's rows: those of its main table first, then by table and row.

    Args:
        results: A results folder whose own ``published`` folder, if it has one, is
            read in place of the packaged rows.
        suite: The suite.

    Raises:
        ResultError: A row's file is not valid; names the file and field.
    """
    rows = [
        read_published(path, suite) for path in sorted(folder_of(results, suite).glob("*.json"))
    ]
    return sorted(rows, key=lambda row: (row.table != suite.table, row.table, row.row, row.label))


def in_table_order(methods: Iterable[str], suite: Suite = DEFAULT) -> list[str]:
    """Sorts methods as a suite's main table has them; those it does not have come last."""
    rows = {row.method: row.row for row in published_rows(suite=suite) if row.table == suite.table}
    return sorted(methods, key=lambda name: rows.get(name, len(rows) + 1))
