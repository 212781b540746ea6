"""Predictions as a table, CSV or JSON."""

import csv
import json
import os
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from decathlon.common.files import write_text
from decathlon.common.grid import Column, Grid, emit, plain
from decathlon.common.output import write_utf8
from decathlon.common.text import printable_name, spreadsheet, visible
from decathlon.running.prediction import Prediction

FORMATS = ("table", "csv", "json")
IN_TABLE = 3
"""Classes of each image that a table shows by default; the other formats hold all."""

Ranked = list[tuple[str, float]]


def show_predictions(
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    form: str = "table",
    top: int | None = None,
    out: Path | None = None,
) -> None:
    """Prints predictions, or writes them to a file.

    Args:
        predictions: The predictions.
        classes: Name by label.
        form: One of :data:`FORMATS`.
        top: Only so many classes of each image, the likeliest ones.
        out: File to write, whole or not at all; standard output where None.
    """
    most = IN_TABLE if form == "table" and top is None else top
    ranked = [_ranked(one, classes)[:most] for one in predictions]
    if form == "table":
        grid = _table(predictions, ranked)
        if out is None:
            emit(grid)
        else:
            write_text(out, plain(grid))
        return
    write_utf8((_csv if form == "csv" else _json)(predictions, ranked), out)


def _ranked(one: Prediction, classes: Sequence[str]) -> Ranked:
    """Returns class names and probabilities from the highest; equal ones in the classes' order."""
    return sorted(zip(classes, one.probabilities, strict=True), key=lambda pair: -pair[1])


def _name(one: Prediction) -> str:
    return printable_name(os.fsencode(one.file))


def _digits(one: Prediction) -> str:
    """Returns the routing as in a trial's ``routing.json``; empty without any."""
    return "".join(map(str, one.routing or ()))


def _table(predictions: Sequence[Prediction], ranked: Sequence[Ranked]) -> Grid:
    routed = any(one.routing is not None for one in predictions)
    columns = [Column("file"), Column("class", wraps=True), Column("%", right=True)]
    caption = "routing: a digit for each routed block, 1 for the fine-tuned one" if routed else ""
    grid = Grid([*columns, *[Column("routing")] * routed], caption)
    for one, pairs in zip(predictions, ranked, strict=True):
        for place, (name, share) in enumerate(pairs):
            beside = [_digits(one)] * routed if place == 0 else [""] * routed
            file = visible(_name(one)) if place == 0 else ""
            grid.add_row(file, visible(name), f"{100 * share:.1f}", *beside)
    return grid


def _csv(predictions: Sequence[Prediction], ranked: Sequence[Ranked]) -> str:
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["file", "class", "probability", "routing"])
    for one, pairs in zip(predictions, ranked, strict=True):
        for name, share in pairs:
            lines.writerow([spreadsheet(_name(one)), spreadsheet(name), share, _digits(one)])
    return text.getvalue()


def _json(predictions: Sequence[Prediction], ranked: Sequence[Ranked]) -> str:
    value = [
        {
            "file": _name(one),
            "predictions": [{"class": name, "probability": share} for name, share in pairs],
            "routing": None if one.routing is None else list(one.routing),
        }
        for one, pairs in zip(predictions, ranked, strict=True)
    ]
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
