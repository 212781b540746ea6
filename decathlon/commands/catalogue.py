"""The command that lists what suites are installed."""

from typing import TYPE_CHECKING

from decathlon.common.errors import UsageError
from decathlon.common.text import visible, visible_lines
from decathlon.suites.registry import find, registered

if TYPE_CHECKING:
    from decathlon.common.grid import Grid


def suites() -> None:
    """List the installed benchmark suites, including those from other packages."""
    from rich.console import Console

    Console().print(suites_table())


def suites_table() -> "Grid":
    """Lists all registered suites; the caption says why one cannot be imported."""
    from decathlon.common.grid import Column, Grid

    numbers = [Column(heading, right=True) for heading in ("domains", "images", "side")]
    table = Grid([Column("suite"), *numbers, *map(Column, ("network", "score", "package"))])
    notes = ["images of all splits; side: short side of stored images, in pixels"]
    for name, point in registered().items():
        facts = ["-"] * 5
        try:
            suite = find(name)
        except UsageError as error:
            notes.append(str(error))
        else:
            images = sum(sum(domain.sizes) for domain in suite.domains.values())
            score = suite.score.heading if suite.score else "mean accuracy"
            counts = map(str, (len(suite.domains), images, suite.side))
            facts = [*counts, suite.network or "-", score]
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "-"
        table.add_row(*map(visible, [name, *facts, package]))
    table.caption = "\n".join(map(visible_lines, notes))
    return table
