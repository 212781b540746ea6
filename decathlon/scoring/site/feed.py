"""The rows of a site as an Atom feed (RFC 4287)."""

import uuid
from xml.etree import ElementTree

from decathlon.common.text import visible
from decathlon.scoring.rows import Row, merit
from decathlon.scoring.site.contents import Site, subtitle
from decathlon.scoring.site.places import FEED, START, Places

ATOM = "http://www.w3.org/2005/Atom"
UNDATED = "1970-01-01T00:00:00Z"
"""The date of rows that have none: records do not say when they were made, and a date of now would
make two equal sites differ."""


def feed_of(site: Site) -> bytes:
    """Returns the feed: an entry per row, submitted rows first."""
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    entries = [
        _entry(site, places, row, page)
        for places in site.suites
        for row, page in sorted(
            zip(places.board.rows, places.rows, strict=True), key=lambda one: one[0].kind != "run"
        )
    ]
    dates = [entry.findtext(f"{{{ATOM}}}updated", UNDATED) for entry in entries]
    _add(feed, "id", _id(site, START))
    _add(feed, "title", visible(site.title))
    _add(feed, "updated", max(dates, default=UNDATED))
    _add(_add(feed, "author"), "name", visible(site.title))
    _add(feed, "link", rel="self", href=_address(site, FEED))
    _add(feed, "link", rel="alternate", href=_address(site, START))
    feed.extend(entries)
    ElementTree.indent(feed)
    text: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _entry(site: Site, places: Places, row: Row, page: str) -> ElementTree.Element:
    entry = ElementTree.Element(f"{{{ATOM}}}entry")
    _add(entry, "id", _id(site, page))
    _add(entry, "title", visible(row.label))
    _add(entry, "updated", UNDATED if row.year is None else f"{row.year}-01-01T00:00:00Z")
    found = site.bundle(row)
    for author in found.card.authors if found else ():
        _add(_add(entry, "author"), "name", visible(author))
    _add(entry, "link", rel="alternate", href=_address(site, page))
    _add(entry, "category", term="submitted" if row.kind == "run" else "published")
    _add(entry, "summary", f"{subtitle(places)}: {_result(places, row)}")
    return entry


def _result(places: Places, row: Row) -> str:
    suite = places.board.suite
    value = merit(row, suite)
    if value is None:
        return "no score"
    if suite.score:
        return f"{visible(suite.score.heading)} {value:.1f}"
    return f"mean accuracy {value:.2f} % over {row.covered} domains"


def _address(site: Site, path: str) -> str:
    return f"{site.url}/{path}" if site.url else path


def _id(site: Site, path: str) -> str:
    """Returns the address of a page, or a name made from title and path if no address is known."""
    if site.url:
        return _address(site, path)
    return uuid.uuid5(uuid.NAMESPACE_URL, f"decathlon:{site.title}:{path}").urn


def _add(
    parent: ElementTree.Element, name: str, text: str = "", **facts: str
) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}", facts)
    child.text = text or None
    return child
