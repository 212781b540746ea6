"""What a check of a bundle found."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from decathlon.common.text import plural
from decathlon.results.card import Card
from decathlon.suites.base import Suite

SCHEMA = 1
State = Literal["holds", "differs", "unchecked"]
Verdict = Literal["verified", "complete", "unverified"]

MEANINGS: dict[Verdict, str] = {
    "verified": "the labels were there, and everything follows from the predictions",
    "complete": "all that can be checked without the labels holds",
    "unverified": "what is listed below differs",
}
LABELS = "labels"
"""The point that tells verified from complete."""


@dataclass(frozen=True)
class Point:
    """One thing that was checked.

    Attributes:
        name: What it is called.
        state: Whether it holds, or why nobody knows.
        text: What was found, how much differs, or why it could not be checked.
        differences: Everything that differs, a line each.
    """

    name: str
    state: State
    text: str
    differences: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, text: str, differences: Iterable[str]) -> "Point":
        """Returns a point that holds, with what was found, unless something differs."""
        found = tuple(dict.fromkeys(differences))
        if found:
            return cls(name, "differs", plural(len(found), "difference"), found)
        return cls(name, "holds", text)


@dataclass(frozen=True)
class BundleCheck:
    """What a check of a bundle found.

    Attributes:
        path: The bundle.
        card: Its card.
        suite: Its suite.
        score: The suite's score, from the predictions if the labels were there; None where the
            data is not official, the suite has none, or no label is known.
        mean: The mean accuracy in percent over the domains, likewise.
        num_domains: Number of domains that these rest on.
        params_ratio: #par, or None without a target domain.
        points: All that was checked.
    """

    path: Path
    card: Card
    suite: Suite
    score: float | None
    mean: float | None
    num_domains: int
    params_ratio: float | None
    points: tuple[Point, ...]

    @property
    def verdict(self) -> Verdict:
        """What the points come to."""
        if any(point.state == "differs" for point in self.points):
            return "unverified"
        labelled = any(p.name == LABELS and p.state == "holds" for p in self.points)
        return "verified" if labelled else "complete"
