"""What a site shows: the boards, and what came with the bundles of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from decathlon import __version__
from decathlon.common.text import visible
from decathlon.results.bundles import Bundle
from decathlon.scoring.render.page import page
from decathlon.scoring.render.terminal import conditions
from decathlon.scoring.rows import Row
from decathlon.scoring.site.places import FEED, START, Places, link

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers

STYLES = "board.css site.css"


@dataclass(frozen=True)
class Site:
    """A site.

    Attributes:
        title: Its name.
        url: Where it is to be read, without a slash at the end; empty if that is not known.
        suites: The files of each suite.
        bundles: Bundles by the name that their records have on the boards.
        answers: The labels that records were checked against, by suite.
    """

    title: str
    url: str
    suites: tuple[Places, ...]
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    answers: "Mapping[str, Answers]" = field(default_factory=dict)

    def bundle(self, row: Row) -> Bundle | None:
        """Returns the bundle that a row came in, if it came in one."""
        return self.bundles.get(row.method or "") if row.kind == "run" else None

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
