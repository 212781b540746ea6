"""The board as one self-contained page: no network, no library, nothing but itself.

Jinja2 escapes all that comes from records; the page's own policy allows one style, one
script (by their digests) and images that are part of it, and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

from decathlon.common.text import visible, visible_lines
from decathlon.results.records import RunRecord
from decathlon.scoring.board import Board
from decathlon.scoring.columns import (
    EXTRA,
    cells,
    columns_of,
    default_keys,
    headings_of,
    notes_of,
    shown_domains,
    training_time,
)
from decathlon.scoring.entries import Entry
from decathlon.scoring.notes import audit_note
from decathlon.scoring.render.terminal import conditions, legend
from decathlon.scoring.rows import Row
from decathlon.suites.subset import size_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_html(board: Board, columns: Sequence[str] | None = None) -> str:
    """Returns the board as a page of HTML.

    Raises:
        UsageError: There is no such column.
        ResultError: A routing record to draw is damaged.
    """
    keys = list(columns or dict.fromkeys([*default_keys(board), *EXTRA]))
    chosen = columns_of(board, keys)
    lines = cells(board, chosen)
    rows = []
    for number, (row, line) in enumerate(zip(board.rows, lines, strict=True)):
        values = ["" if (v := column.value(row)) is None else v for column in chosen]
        entry = board.behind(row)
        rows.append(
            {
                "id": f"row-{number}",
                "label": visible(row.label),
                "kind": row.kind,
                "brief": _brief(board, row),
                "cells": [
                    {"text": visible(c.text), "mark": c.mark, "value": value}
                    for c, value in zip(line, values, strict=True)
                ],
                "facts": [(term, visible(value)) for term, value in _facts(board, row) if value],
                "domains": _by_domain(board, row),
                "figures": _own_figures(board, entry) if entry else [],
                "blocks": _provenance(entry) if entry else [],
            }
        )
    return page(
        "board.html",
        "board.css",
        "board.js",
        title=visible(board.suite.title),
        heading=visible(board.suite.score.heading) if board.suite.score else "",
        conditions=visible(conditions(board)),
        mixed=len({row.kind for row in board.rows}) > 1,
        headings=headings_of(board),
        columns=[{"key": c.key, "heading": visible(c.heading)} for c in chosen],
        rows=rows,
        legend=legend(board.suite, keys),
        notes=[visible(note) for note in notes_of(board, keys)],
        figures=_board_figures(board),
    )


def page(template: str, style: str, script: str = "", **values: Any) -> str:
    """Returns a page of HTML.

    Args:
        template: Its template; all values are escaped.
        style: Names of its style sheets, separated by spaces.
        script: Name of its script; none if empty.
        values: What the template shows.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_own)
    )
    look, code = "".join(map(_own, style.split())), _own(script) if script else ""
    return environment.get_template(template).render(
        style=Markup(look),
        script=Markup(code),
        style_hash=_digest(look),
        script_hash=_digest(code),
        **values,
    )


def _own(name: str) -> str:
    path = resources.files("decathlon.scoring.render").joinpath("templates", name)
    return path.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _brief(board: Board, row: Row) -> str:
    """Returns the score or the mean accuracy, for narrow screens."""
    if board.suite.score:
        heading = visible(board.suite.score.heading)
        return "" if row.score is None else f"{heading} {row.score:.0f}"
    (mean,) = columns_of(board, ["mean"])
    return "" if row.mean_accuracy is None else f"{mean.heading} {mean.text(row, 2)}"


def _facts(board: Board, row: Row) -> list[tuple[str, str]]:
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


def _by_domain(board: Board, row: Row) -> list[list[str]]:
    lines = []
    for name in shown_domains(board):
        accuracy = row.accuracy.get(name)
        pair = (row.accuracy_ci or {}).get(name)
        line = [
            visible(name),
            "-" if accuracy is None else f"{accuracy:.2f}",
            f"{pair[0]:.2f} to {pair[1]:.2f}" if pair else "-",
        ]
        if board.suite.score:
            for values in (row.points, row.slopes):
                line.append(f"{values[name]:.1f}" if name in values else "-")
        lines.append(line)
    return lines


def _provenance(entry: Entry) -> list[tuple[str, str]]:
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


def image(figure: "Figure", text: str) -> dict[str, str]:
    """Returns a figure as part of a page, with a text that describes it."""
    # Imported here: no other format pays for matplotlib.
    from decathlon.scoring.figures.style import svg

    encoded = base64.b64encode(svg(figure)).decode()
    return {"source": f"data:image/svg+xml;base64,{encoded}", "text": text}


def _board_figures(board: Board) -> list[dict[str, str]]:
    """Draws the rows of the board that are shown."""
    shown = {one.label: one for row in board.rows if (one := board.behind(row))}
    if not shown:
        return []
    from decathlon.scoring.figures import boards

    figures = []
    if boards.placed(board):
        text = f"{boards.merit_text(board.suite)} against the number of parameters"
        figures.append(image(boards.tradeoff(board), text))
    if board.baseline:
        base = board.entries[board.baseline]
        shown = {
            label: one for label, one in shown.items() if one.setup.subset == base.setup.subset
        }
        others = [one for one in shown.values() if one.label != base.label]
        if any(set(base.domains) & set(one.domains) for one in others):
            text = f"Accuracy by domain relative to {visible(base.label)}, with 95 % intervals"
            drawn = boards.domains({base.label: base, **shown}, base.label, board.suite)
            figures.append(image(drawn, text))
    return figures


def _own_figures(board: Board, entry: Entry) -> list[dict[str, str]]:
    from decathlon.scoring.figures import policies

    if board.results is None or not policies.is_routed(board.results, entry):
        return []
    share = "Share of images that took the fine-tuned path, by block and domain"
    used = "Number of fine-tuned blocks used by an image, by domain"
    return [
        image(policies.policy(board.results, entry, board.suite), share),
        image(policies.usage(board.results, entry, board.suite), used),
    ]
