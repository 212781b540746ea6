"""The page of a row: whose it is, what it reached, how it was made, and how to make it again."""

import json
import shlex
from pathlib import Path
from typing import Any

from decathlon.common.files import sha256
from decathlon.common.text import file_size, span, visible, visible_lines
from decathlon.results.selection import value_text
from decathlon.scoring import setups
from decathlon.scoring.columns import MISSING, columns_of
from decathlon.scoring.entries import Entry, sources_of
from decathlon.scoring.logs import mean_losses
from decathlon.scoring.render.row_details import facts_of_row, provenance_of_row
from decathlon.scoring.routes import decisions_of, is_routed
from decathlon.scoring.rows import Row
from decathlon.scoring.site import charts
from decathlon.scoring.site.checks import checks_of
from decathlon.scoring.site.contents import Site, subtitle
from decathlon.scoring.site.places import Places, link
from decathlon.suites.registry import DEFAULT

FIGURES = ("score", "ci", "printed", "mean", "diff", "diff_ci", "rank_ci", "params", "covered")
COSTS = ("seeds", "time", "flops", "memory")
"""Columns of the board that stand at the top of a page."""


def row_page(site: Site, places: Places, number: int) -> str:
    """Returns the page of a row.

    Args:
        site: The site.
        places: The files of its suite.
        number: The row's place on the board.

    Raises:
        ResultError: A log or a record of routing is damaged.
    """
    board, place = places.board, places.rows[number]
    row = board.rows[number]
    entry = board.behind(row)
    bundle = site.bundle(row)
    return site.page(
        "site_row.html",
        place,
        places,
        title=visible(row.label),
        conditions=subtitle(places),
        published=row.kind == "published",
        card=_card(site, row),
        download=bundle and _download(place, bundle.path),
        figures=_figures(places, row),
        heading=visible(board.suite.score.heading) if board.suite.score else "",
        domains=_domains(places, number),
        axis=charts.Axis(0, 100),
        curves=_curves(places, entry) if entry else [],
        routing=_routing(places, entry) if entry else None,
        facts=_facts(places, row, entry),
        settings=_settings(entry) if entry else [],
        checks=[visible(text) for text in checks_of(site, places, row)],
        commands=_commands(site, places, number),
        provenance=[(title, text) for title, text in provenance_of_row(entry) if title != "Recipe"]
        if entry
        else [],
    )


def copy_of(place: str) -> str:
    """Returns the path of the copy of a bundle beside the page of its row."""
    return place.removesuffix(".html") + ".zip"


def _card(site: Site, row: Row) -> dict[str, Any]:
    """Returns whose row it is, and where to read about it."""
    found = site.bundle(row)
    if found is None:
        return {"source": visible(row.source)}
    return {
        "authors": visible(", ".join(found.card.authors)),
        "links": [(visible(text), address) for text, address in found.card.links.items()],
        "bibtex": visible_lines(found.card.bibtex),
    }


def _download(place: str, path: Path) -> dict[str, str]:
    return {
        "href": link(place, copy_of(place)),
        "size": file_size(path.stat().st_size),
        "sha256": sha256(path),
    }


def _figures(places: Places, row: Row) -> list[tuple[str, str]]:
    """Returns the row's numbers with their headings, as the board has them."""
    board = places.board
    known = ["score", "ci", "printed"] if board.suite.score else ["diff", "diff_ci"]
    others = {"score", "ci", "printed", "diff", "diff_ci"} - set(known)
    keys = [key for key in (*FIGURES, *COSTS) if key not in others]
    found = [(visible(c.heading), c.text(row, 2)) for c in columns_of(board, keys)]
    return [(heading, text) for heading, text in found if text != MISSING]


def _domains(places: Places, number: int) -> list[dict[str, Any]]:
    board, row = places.board, places.board.rows[number]
    axis = charts.Axis(0, 100)
    lines = []
    for domain, page in places.domains.items():
        value = row.accuracy.get(domain)
        if value is None and domain not in row.unknown:
            continue
        pair = (row.accuracy_ci or {}).get(domain)
        ranked = places.ranked[domain].get(number)
        same = [r.accuracy.get(domain) or 0.0 for r in board.rows if r.subset == row.subset]
        cell = places.cells[number][domain]
        lines.append(
            {
                "name": visible(domain),
                "href": link(places.rows[number], page),
                "accuracy": visible(cell.text),
                "mark": cell.mark,
                "interval": span(pair) if pair else "",
                "strip": None if value is None else charts.strip(axis, value, pair, max(same)),
                "place": "{} of {}".format(*ranked) if ranked else "",
                "points": f"{row.points[domain]:.1f}" if domain in row.points else "",
            }
        )
    return lines


def _curves(places: Places, entry: Entry) -> list[dict[str, Any]]:
    results = places.board.results
    assert results is not None
    losses = mean_losses(results, entry)
    known = {name: losses[name] for name in places.board.suite.in_order(losses)}
    return charts.curves(known)


def _routing(places: Places, entry: Entry) -> dict[str, Any] | None:
    board = places.board
    if board.results is None or not is_routed(board.results, entry):
        return None
    return charts.routing(decisions_of(board.results, entry, board.suite), entry)


def _facts(places: Places, row: Row, entry: Entry | None) -> list[tuple[str, str]]:
    """Returns what the row was made with."""
    known = dict(facts_of_row(places.board, row))
    names = ["trained on", "seeds", "draws", "baseline", "over", "#par rests on"]
    names += ["missing", "year", "table"]
    facts = [("method", entry.setup.method if entry else row.method or "")]
    facts += [(name, known.get(name, "")) for name in names]
    if entry is not None:
        setup = entry.setup
        sources = sources_of(places.board.entries.values())
        facts.append(("network", setups.source_in_words(setup, sources)))
        facts.append(("source weights", f"SHA-256 {setup.source}" if setup.source else ""))
        if setup.code is not None:
            code = setup.code
            facts.append(("code", f"{code.distribution} {code.version}, SHA-256 {code.sha256}"))
        if setup.selection is not None:
            facts.append(("settings", f"{setup.selection}: {setup.selection.rule}"))
    return [(name, visible(text)) for name, text in facts if text]


def _settings(entry: Entry) -> list[tuple[str, str]]:
    """Returns the settings of the method, and those that were chosen for a domain."""
    facts = entry.setup.facts.items()
    found = [(name, _rounded(value)) for (kind, name), value in facts if kind == "recipe"]
    for domain, chosen in entry.setup.chosen.items():
        found += [(f"{name} ({domain})", _rounded(value)) for name, value in chosen.items()]
    return [(visible(name), visible(text)) for name, text in found]


def _rounded(value: Any) -> str:
    """Returns a setting as text, fractions with six digits."""
    return value_text(
        json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.6g}"))
    )


def _commands(site: Site, places: Places, number: int) -> str:
    """Returns the commands that make the row again; empty if none are known."""
    row = places.board.rows[number]
    entry = places.board.behind(row)
    if entry is None:
        if row.method is None or row.subset:
            return ""
        suite = places.board.suite
        named = "" if suite == DEFAULT else f" --suite {suite.name}"
        return (
            f"decathlon run --method {shlex.quote(row.method)} --source source.safetensors"
            f" --data data\ndecathlon score results{named}"
        )
    bundle = site.bundle(row)
    lines, folder = [], f"results/{entry.name}"
    if bundle is not None:
        archive = copy_of(places.rows[number]).rpartition("/")[2]
        stem = archive.removesuffix(".zip")
        lines.append(f"unzip {archive} -d {stem}")
        folder = f"{stem}/results/{bundle.name}"
    source = " --source source.safetensors" if entry.setup.source else ""
    lines.append(f"decathlon reproduce {shlex.quote(visible(folder))} --data data{source}")
    return "\n".join(lines)
