"""What a site shows: the boards, and what came with the bundles of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decathlon import __version__
from decathlon.common.text import visible
from decathlon.results.card import Card
from decathlon.scoring.render.page import page
from decathlon.scoring.render.terminal import conditions
from decathlon.scoring.rows import Row
from decathlon.scoring.site.places import FEED, START, Places, link

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers

STYLES = "board.css site.css"


@dataclass(frozen=True)
class Submission:
    """A bundle.

    Attributes:
        card: Its card.
        path: The archive.
        name: The name that its records have in it.
    """

    card: Card
    path: Path
    name: str


@dataclass(frozen=True)
class Site:
    """A site.

    Attributes:
        title: Its name.
        url: Where it is to be read, without a slash at the end; empty if that is not known.
        suites: The files of each suite.
        submissions: Bundles by the name that their records have on the boards.
        answers: The labels that records were checked against, by suite.
    """

    title: str
    url: str
    suites: tuple[Places, ...]
    submissions: Mapping[str, Submission] = field(default_factory=dict)
    answers: "Mapping[str, Answers]" = field(default_factory=dict)

    def submission(self, row: Row) -> Submission | None:
        """Returns the bundle that a row came in, if it came in one."""
        return self.submissions.get(row.method or "") if row.kind == "run" else None

    def page(
        self,
        template: str,
        place: str,
        places: Places | None = None,
        trail: Sequence[tuple[str, str]] = (),
        script: str = "scroll.js",
        **values: Any,
    ) -> str:
        """Returns a page of the site.

        Args:
            template: Its template.
            place: Its path from the root.
            places: The files of its suite; None for a page above the suites.
            trail: Text and path of the pages that lead to it, below that of its board.
            script: Names of its scripts.
            values: What the template shows.
        """
        above = [(self.title, START)]
        if places is not None and len(self.suites) > 1:
            above.append((places.board.suite.title, places.index))
        crumbs = [(text, target) for text, target in (*above, *trail) if target != place]
        return page(
            template,
            STYLES,
            script,
            trail=[(visible(text), link(place, target)) for text, target in crumbs],
            feed=link(place, FEED),
            json=places and link(place, places.json),
            version=__version__,
            **values,
        )


def subtitle(places: Places) -> str:
    """Returns the suite of a page and what its numbers rest on."""
    return visible(f"{places.board.suite.title}, {conditions(places.board)}")
