"""The page of a board, and the page that leads to several."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from decathlon.common.text import visible
from decathlon.scoring.board import Board
from decathlon.scoring.columns import EXTRA, default_keys
from decathlon.scoring.render.html import table_of
from decathlon.scoring.render.terminal import conditions
from decathlon.scoring.rows import Row, merit, merit_text, placed
from decathlon.scoring.site import charts
from decathlon.scoring.site.contents import Site, subtitle
from decathlon.scoring.site.places import START, Places, link
from decathlon.suites.base import SPLITS

FIRST = ("score", "ci", "mean", "diff", "diff_ci", "rank_ci", "params")
"""Columns that stand before the domains."""


def start_page(site: Site) -> str:
    """Returns the page that leads to the boards of several suites."""
    boards = []
    for places in site.suites:
        board = places.board
        # The boards of a site are in order, the best row first.
        known = (row for row in board.rows if merit(row, board.suite) is not None)
        best = next((row for row in known if not row.subset), None)
        boards.append(
            {
                "title": visible(board.suite.title),
                "href": link(START, places.index),
                "text": visible(_begun(board.suite.text)),
                "conditions": visible(_begun(conditions(board))),
                "counts": _counts(board.rows),
                "best": best and visible(best.label),
            }
        )
    return site.page(
        "site_start.html",
        START,
        title=visible(site.title),
        conditions="",
        boards=boards,
    )


def index_page(site: Site, places: Places) -> str:
    """Returns the page of a board."""
    board, place = places.board, places.index

    def authors(row: Row) -> str:
        found = site.bundle(row)
        return " ".join([row.method or "", *(found.card.authors if found else ())])

    title = site.title if len(site.suites) == 1 else board.suite.title
    return site.page(
        "site_index.html",
        place,
        places,
        script="scroll.js board.js",
        title=visible(title),
        conditions=visible(conditions(board)) if title == board.suite.title else subtitle(places),
        text=visible(_begun(board.suite.text)),
        counts=_counts(board.rows),
        table=table_of(
            board, lambda number: link(place, places.rows[number]), _columns(board), authors
        ),
        split=board.split,
        domains=_domains(places),
        ranks=_ranks(places),
        tradeoff=_tradeoff(places),
        merit=visible(merit_text(board.suite)),
    )


def _begun(text: str) -> str:
    """Returns a text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def _counts(rows: Sequence[Row]) -> Counter[str]:
    """Returns how many rows there are of each kind."""
    return Counter(row.kind for row in rows)


def _columns(board: Board) -> list[str]:
    """Returns the columns of a board, what it is ordered by first."""
    keys = list(dict.fromkeys([*default_keys(board), *EXTRA]))
    return sorted(keys, key=lambda key: FIRST.index(key) if key in FIRST else len(FIRST))


def _domains(places: Places) -> list[dict[str, Any]]:
    """Returns what is to be said of each domain in a line."""
    board = places.board
    lines = []
    for name, page in places.domains.items():
        known = board.suite.domains.get(name)
        size = known.sizes[SPLITS.index(board.split)] if known else 0
        rows = [
            (row.accuracy[name] or 0.0, -number)
            for number, row in enumerate(board.rows)
            if row.accuracy.get(name) is not None and not row.subset
        ]
        accuracy, number = max(rows, default=(0.0, 1))
        best = board.rows[-number] if number < 1 else None
        lines.append(
            {
                "name": visible(name),
                "href": link(places.index, page),
                "text": visible(known.text) if known else "",
                "classes": f"{known.num_classes:,}" if known else "",
                "images": f"{size:,}" if size else "",
                "best": best and visible(best.label),
                "best_href": best and link(places.index, places.rows[-number]),
                "accuracy": f"{accuracy:.2f}" if best else "",
            }
        )
    return lines


def _ranks(places: Places) -> dict[str, Any] | None:
    """Returns the intervals of the ranks of runs on all training images; None without any."""
    board = places.board
    found = [
        (visible(row.label), link(places.index, places.rows[number]), board.ranks[row.label])
        for number, row in enumerate(board.rows)
        if row.kind == "run" and not row.subset and row.label in board.ranks
    ]
    found.sort(key=lambda one: (sum(one[2]), one[2]))
    return charts.ranks(found) if found else None


def _tradeoff(places: Places) -> dict[str, Any] | None:
    """Returns the plot of merit over size; None if there are no two sizes to compare."""
    board = places.board
    pages = {id(row): page for row, page in zip(board.rows, places.rows, strict=True)}
    marks = [
        charts.Mark(
            visible(row.label),
            link(places.index, pages[id(row)]),
            size,
            value,
            row.ci if board.suite.score else None,
            row.kind == "run",
        )
        for row, size, value in placed(board.rows, board.suite)
        if not row.subset
    ]
    if len({mark.size for mark in marks}) < 2:
        return None
    return charts.tradeoff(marks, from_zero=board.suite.score is not None)
