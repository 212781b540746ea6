"""The page of a domain: what it is, and who is best at it."""

from typing import Any

from decathlon.common.text import span, visible
from decathlon.scoring.site import charts
from decathlon.scoring.site.contents import Site, subtitle
from decathlon.scoring.site.places import Places, link
from decathlon.suites.base import SPLITS, View
from decathlon.suites.subset import size_in_words


def domain_page(site: Site, places: Places, domain: str) -> str:
    """Returns the page of a domain."""
    place = places.domains[domain]
    return site.page(
        "site_domain.html",
        place,
        places,
        title=visible(domain),
        conditions=subtitle(places),
        facts=[(term, visible(text)) for term, text in _facts(places, domain) if text],
        groups=_ranking(places, domain),
    )


def _facts(places: Places, domain: str) -> list[tuple[str, str]]:
    board = places.board
    known = board.suite.domains.get(domain)
    facts = [("images", known.text), ("classes", f"{known.num_classes:,}")] if known else []
    for split, size in zip(SPLITS, known.sizes if known else (), strict=False):
        facts.append((f"official {split} images", f"{size:,}" if size else ""))
    totals = {r.total for e in board.entries.values() for r in e.used if r.domain == domain}
    counts = [f"{total:,}" for total in totals if total is not None]
    facts.append((f"{board.split} images here", " and ".join(sorted(counts))))
    views = board.suite.views_of(domain)
    facts.append(("in training", _view(views.train)))
    facts.append(("in evaluation", _view(views.test)))
    if board.suite.score and domain in board.e_max:
        of = f"twice that of {board.baseline}" if board.baseline else "official"
        text = f"{100 * board.e_max[domain]:.2f} % ({of}); a higher error scores nothing"
        facts.append(("largest error", text))
    elif board.suite.score:
        facts.append(("score", "none on this domain"))
    return facts


def _view(view: View) -> str:
    """Returns in words how an image is cut."""
    if view.crop is None:
        return "the whole image"
    side = f"{view.crop} x {view.crop} pixels"
    if view.box:
        return f"its bounding box, {side}"
    where = "random resized" if view.scale else "random" if view.random else "centre"
    return f"{where} crop of {side}" + (", half of them flipped" if view.flip else "")


def _ranking(places: Places, domain: str) -> list[dict[str, Any]]:
    """Returns the rows of each group, the best first."""
    board, ranked = places.board, places.ranked[domain]
    pairs = {i: (board.rows[i].accuracy_ci or {}).get(domain) for i in ranked}
    values = {i: board.rows[i].accuracy[domain] or 0.0 for i in ranked}
    if not values:
        return []
    groups = []
    for subset in dict.fromkeys(board.rows[i].subset for i in ranked):
        own = [i for i in ranked if board.rows[i].subset == subset]
        ends = [end for i in own for end in (values[i], *(pairs[i] or ()))]
        axis = charts.Axis(min(ends), max(ends))
        lines = []
        for i in sorted(own, key=lambda i: (ranked[i][0], i)):
            row, pair = board.rows[i], pairs[i]
            lines.append(
                {
                    "place": ranked[i][0],
                    "label": visible(row.label),
                    "href": link(places.domains[domain], places.rows[i]),
                    "kind": "submitted" if row.kind == "run" else str(row.year),
                    "accuracy": f"{values[i]:.2f}",
                    "interval": span(pair) if pair else "",
                    "strip": charts.strip(axis, values[i], pair),
                    "run": row.kind == "run",
                }
            )
        heading = size_in_words(subset) if subset else ""
        groups.append({"heading": heading, "rows": lines, "axis": axis})
    return groups
