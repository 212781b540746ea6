"""Where the pages of a site are: names of files that stay, and links from page to page."""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from decathlon.common.files import digest_of
from decathlon.common.text import to_ascii
from decathlon.scoring.board import Board
from decathlon.scoring.columns import Cell, cells, columns_of, shown_domains
from decathlon.scoring.rows import Row

LONGEST = 60
"""Characters of a name in the name of a file."""
DIGITS = 8
"""Hex digits that tell rows of one name apart."""
START = "index.html"
BOARD = "board.json"
FEED = "feed.xml"


def slug(name: str, otherwise: str) -> str:
    """Returns a name as letters, digits and dashes of ASCII, or ``otherwise`` if none are left."""
    text = re.sub(r"[^a-z0-9]+", "-", to_ascii(name).lower()).strip("-")
    return text[:LONGEST].strip("-") or otherwise


def link(origin: str, target: str) -> str:
    """Returns the link from one file of the site to another, both as paths from its root."""
    return posixpath.relpath(target, posixpath.dirname(origin) or ".")


def identity(row: Row) -> list[object]:
    """Returns what stays the same as long as a row means the same, whatever stands beside it.

    The label does not: it says in what a row differs from the others of its name.
    """
    if row.setup is None:
        return [row.kind, row.table, row.label, row.subset]
    facts = [[*key, value] for key, value in row.setup.facts.items()]
    return [row.kind, row.method, sorted(facts, key=lambda fact: fact[:2])]


@dataclass(frozen=True)
class Places:
    """The files of one suite, as paths from the root of the site, and the places of its rows.

    Attributes:
        board: The suite's board.
        index: The page of the board.
    """

    board: Board
    index: str

    @property
    def folder(self) -> str:
        """The folder of all other pages; it does not depend on what other suites there are."""
        return slug(self.board.suite.name, "suite")

    @property
    def json(self) -> str:
        """The board as JSON."""
        return f"{self.folder}/{BOARD}"

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The page of each row, in the board's order."""
        names = []
        for row in self.board.rows:
            name = row.label if row.setup is None else row.method or ""
            names.append(f"{slug(name, 'row')}-{digest_of(identity(row))[:DIGITS]}")
        return tuple(f"{self.folder}/rows/{name}.html" for name in _distinct(names))

    @cached_property
    def domains(self) -> dict[str, str]:
        """The page of each domain that the board shows."""
        names, shown = [], shown_domains(self.board)
        for domain in shown:
            name = slug(domain, "domain")
            # Domains of one's own may have any name.
            names.append(name if name == domain else f"{name}-{digest_of(domain)[:DIGITS]}")
        pages = [f"{self.folder}/domains/{name}.html" for name in _distinct(names)]
        return dict(zip(shown, pages, strict=True))

    @cached_property
    def ranked(self) -> dict[str, dict[int, tuple[int, int]]]:
        """By domain and row, the row's place, and how many rows are ranked with it.

        Rows of one subset of the training images are ranked; equal accuracies share a place.
        """
        found: dict[str, dict[int, tuple[int, int]]] = {}
        for domain in self.board.domains:
            known = {
                number: (row.subset, accuracy)
                for number, row in enumerate(self.board.rows)
                if (accuracy := row.accuracy.get(domain)) is not None
            }
            found[domain] = {}
            for number, (subset, accuracy) in known.items():
                same = [other for group, other in known.values() if group == subset]
                found[domain][number] = 1 + sum(other > accuracy for other in same), len(same)
        return found

    @cached_property
    def cells(self) -> list[dict[str, Cell]]:
        """The accuracies of each row by domain, as the board shows them."""
        columns = columns_of(self.board, self.board.domains)
        lines = cells(self.board, columns)
        return [dict(zip(self.board.domains, line, strict=True)) for line in lines]


def _distinct(names: Iterable[str]) -> list[str]:
    """Returns names, those that occurred before with a number."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}-{number}"
        found.append(free)
    return found
