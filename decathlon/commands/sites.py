"""Commands that make leaderboards to publish: site, new-leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from decathlon.commands.options import Baseline, Split, check_split
from decathlon.commands.scores import CheckLabels
from decathlon.common.text import plural, visible


def site(
    results: Annotated[
        list[Path],
        typer.Argument(help="Results folders, bundles, or folders of bundles.", readable=False),
    ],
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
    request = SiteRequest(title, url, split, baseline, labels, everything)
    done = write_site(results, out, request)
    rows = sum(len(places.rows) for places in done.suites)
    print(f"{visible(str(out / 'index.html'))}: {plural(rows, 'row')}")
