"""What is known of a row beyond its line of the board, for pages."""

import json
from collections.abc import Iterable
from typing import Any

from decathlon.common.text import span, visible, visible_lines
from decathlon.results.records import RunRecord
from decathlon.scoring.board import Board
from decathlon.scoring.columns import shown_domains, training_time
from decathlon.scoring.entries import Entry
from decathlon.scoring.notes import audit_note
from decathlon.scoring.rows import Row
from decathlon.suites.subset import size_in_words


def facts_of_row(board: Board, row: Row) -> list[tuple[str, str]]:
    """Returns facts with their names, some of them empty."""
    heading = board.suite.score.heading if board.suite.score else ""
    facts = [
        ("method", row.method or ""),
        (heading, "" if row.score is None else f"{row.score:.1f}"),
        (f"95 % interval of {heading}", f"{row.ci[0]:.0f} to {row.ci[1]:.0f}" if row.ci else ""),
        ("printed score", "" if row.score_printed is None else f"{row.score_printed:.0f}"),
        ("audit", audit_note(row) if row.consistent is False else ""),
        ("missing", ", ".join(row.missing)),
        ("seeds", ", ".join(map(str, row.seeds))),
    ]
    if row.subset:
        facts.append(("trained on", size_in_words(row.subset)))
        facts.append(("draws", ", ".join(map(str, row.draws))))
    if row.versus:
        low, high = row.versus.mean.ci
        facts.append(("baseline", row.versus.baseline))
        facts.append(("mean - baseline", f"{row.difference:+.2f} ({low:+.2f} to {high:+.2f})"))
        facts.append(("over", ", ".join(row.versus.domains)))
    if row.kind == "run":
        facts.append(("training time", training_time(row)))
        facts.append(("#par rests on", f"{row.params_domains or 0} target domains"))
    facts.append(("year", "" if row.year is None else str(row.year)))
    return [*facts, ("table", row.table), ("source", row.source), ("note", row.note)]


def lines_by_domain(board: Board, row: Row) -> list[list[str]]:
    """Returns the name, the accuracy, its interval and the points of each domain that is shown."""
    lines = []
    for name in shown_domains(board):
        accuracy = row.accuracy.get(name)
        pair = (row.accuracy_ci or {}).get(name)
        line = [
            visible(name),
            "-" if accuracy is None else f"{accuracy:.2f}",
            span(pair) if pair else "-",
        ]
        if board.suite.score:
            for values in (row.points, row.slopes):
                line.append(f"{values[name]:.1f}" if name in values else "-")
        lines.append(line)
    return lines


def provenance_of_row(entry: Entry) -> list[tuple[str, str]]:
    """Returns the recipe and the origin of all records that a row rests on, as JSON.

    Where records differ in something, every value is listed.
    """
    setup, records = entry.setup, entry.used
    by_domain: dict[str, list[RunRecord]] = {}
    for record in records:
        by_domain.setdefault(record.domain, []).append(record)
    data = {name: _values(record.data for record in own) for name, own in by_domain.items()}
    keys = dict.fromkeys(key for record in records for key in record.environment)
    origin = {
        "method": setup.method,
        "trained on": _values(record.trained_on for record in records if record.trained),
        "source weights": _values(record.source for record in records),
        "source network": _values(record.network for record in records),
        "code": _values(r.code.model_dump() if r.code else None for r in records if r.trained),
        "nothing trained": sorted({record.domain for record in records if not record.trained}),
        "data": data,
        "official data": {d: _values(r.official for r in own) for d, own in by_domain.items()},
        "predictions": {str(record.folder): record.predictions for record in records},
        "crop": _values(record.crop for record in records),
        "subset": _values(record.subset for record in records),
        "threads": _values(record.threads for record in records),
        "environment": {key: _values(r.environment.get(key) for r in records) for key in keys},
    }
    if setup.selection is not None:
        origin["selection"] = setup.selection.model_dump() | {"chosen": setup.chosen}
    blocks = {"Recipe": setup.recipe, "Provenance": origin}
    return [
        (name, visible_lines(json.dumps(value, indent=2, ensure_ascii=False)))
        for name, value in blocks.items()
    ]


def _values(found: Iterable[Any]) -> Any:
    """Returns the one value there is, or ``{"several": [...]}``."""
    distinct: list[Any] = []
    for value in found:
        if value not in distinct:
            distinct.append(value)
    return distinct[0] if len(distinct) == 1 else {"several": distinct}
