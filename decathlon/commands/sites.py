"""Commands that make leaderboards to publish: site, new-leaderboard."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decathlon.commands.options import Baseline, Gatherable, Split, check_split
from decathlon.commands.scores import CheckLabels, answers_of
from decathlon.common.text import plural, visible

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers
    from decathlon.suites.base import Suite


def site(
    results: Gatherable,
    out: Annotated[
        Path, typer.Option(help="Folder to write; one that this command wrote is replaced.")
    ],
    title: Annotated[str, typer.Option(help="Title of the site (default: the suite's).")] = "",
    url: Annotated[
        str, typer.Option(help="Where the site is to be read, for the addresses in its feed.")
    ] = "",
    split: Split = "test",
    baseline: Baseline = None,
    labels: CheckLabels = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Show all published rows, not only the main table's."),
    ] = False,
) -> None:
    """Write a static leaderboard site: a page per row and per domain, JSON and a feed.

    The pages need no server and load nothing from elsewhere.
    """
    from decathlon.scoring.site.writing import SiteRequest, write_site

    check_split(split)

    def answers(suite: "Suite") -> "Answers | None":
        found = answers_of(None, labels, split, suite) if suite.submission else None
        # Pages name the file, not the folder on this machine.
        return found and replace(found, where=Path(found.where.name))

    checked = answers if labels else None
    request = SiteRequest(title, url, split, baseline, checked, everything)
    done = write_site(results, out, request)
    rows = sum(len(places.rows) for places in done.suites)
    print(f"{visible(str(out / 'index.html'))}: {plural(rows, 'row')}")


def new_leaderboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.", readable=False)],
) -> None:
    """Write a repository for a leaderboard of your own, with checks of submissions and a site.

    The files are for GitHub: an issue form, and workflows that check bundles and publish the site.
    """
    from decathlon.scoring.site.repository import write_repository

    for path in write_repository(folder):
        print(visible(str(path)))
