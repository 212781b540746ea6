"""Trials that were run again beside their records, as a table and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from decathlon.common.grid import Column, Grid
from decathlon.common.text import span, visible
from decathlon.scoring.agreement import MEANINGS, Agreement
from decathlon.scoring.render.reports import emit_report


def render_agreements(
    found: Sequence[Agreement], form: str = "table", out: Path | None = None
) -> None:
    """Prints what agrees, or writes it to a file.

    Args:
        found: The trials.
        form: ``table`` or ``json``.
        out: File to write, whole or not at all; standard output where None.

    Raises:
        UsageError: There is no such format.
    """
    headings = ("recorded", "95 %", "again", "same predictions", "weights")
    columns = [Column("trial"), *(Column(heading, right=True) for heading in headings)]
    grid = Grid([*columns, Column("verdict")])
    for one in found:
        grid.add_row(*map(visible, _cells(one)))
    verdicts = [one.verdict for one in found]
    changed = dict.fromkeys(text for one in found for text in one.changed)
    notes = [f"{v}: {meaning}." for v, meaning in MEANINGS.items() if v in verdicts]
    if changed:
        notes.append(f"Circumstances differ: {'; '.join(changed)}.")
    emit_report(form, out, {"trials": list(map(_value, found)), "notes": notes}, [grid], notes)


def _cells(one: Agreement) -> list[str]:
    low_high = "" if one.ci is None else span(one.ci)
    agreeing = "unknown" if one.agreeing is None else "{} of {}".format(*one.agreeing)
    weights = {None: "", True: "equal", False: "differ"}[one.same_weights]
    return [
        str(one.recorded.folder),
        _percent(one.recorded.accuracy),
        low_high,
        _percent(one.again.accuracy),
        "all" if one.same_predictions else agreeing,
        weights,
        one.verdict,
    ]


def _percent(accuracy: float | None) -> str:
    return "unknown" if accuracy is None else f"{accuracy:.2f}"


def _value(one: Agreement) -> dict[str, Any]:
    keys = "name method domain split subset seed"
    return {key: getattr(one.recorded, key) for key in keys.split()} | {
        "accuracy": one.recorded.accuracy,
        "ci": one.ci,
        "again": one.again.accuracy,
        "same_predictions": one.same_predictions,
        "agreeing": one.agreeing,
        "same_weights": one.same_weights,
        "changed": one.changed,
        "verdict": one.verdict,
    }
