"""``decathlon site``: gathers records, makes every page, and writes them as one folder."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from decathlon.common.errors import ResultError, UsageError
from decathlon.common.folders import check_replaceable, replacing_folder
from decathlon.results.bundles import Gathered, gathered
from decathlon.results.card import is_web_address
from decathlon.results.records import find_records
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.entries import suites_of
from decathlon.scoring.render.formats import to_json
from decathlon.scoring.site.contents import Site, Submission
from decathlon.scoring.site.domain_page import domain_page
from decathlon.scoring.site.feed import feed_of
from decathlon.scoring.site.index_page import index_page, start_page
from decathlon.scoring.site.places import FEED, START, Places
from decathlon.scoring.site.row_page import bundle_of, row_page
from decathlon.suites.base import Suite

if TYPE_CHECKING:
    from decathlon.scoring.audit import Answers

TITLE = "Leaderboards"
"""Title of a site of several suites."""


class SiteRequest(NamedTuple):
    """What the site is to show.

    Attributes:
        title: Its name; that of the suite, or :data:`TITLE`, if empty.
        url: Where it is to be read; empty if that is not known.
        split: Split that is reported.
        baseline: Run that defines E_max, or that others are compared with.
        answers: Returns the labels that a suite's records are checked against, or None.
        everything: Show all published rows instead of those of the suite's main table.
    """

    title: str = ""
    url: str = ""
    split: str = "test"
    baseline: str | None = None
    answers: "Callable[[Suite], Answers | None]" = lambda suite: None
    everything: bool = False


def write_site(paths: Sequence[Path], out: Path, request: SiteRequest) -> Site:
    """Writes a site, whole or not at all.

    Args:
        paths: Results folders, bundles, and folders of bundles.
        out: The folder to write; one that this function wrote before is replaced.
        request: What to show.

    Returns:
        The site.

    Raises:
        UsageError: ``out`` holds other files, or the request does not fit the records.
        ResultError: A bundle or record is not valid, or disagrees with the labels.
        DataError: The labels cannot be read.
    """
    _check_url(request.url)
    check_replaceable(out)
    for path in paths:
        if path.resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{out}: holds {path}, which is to be shown; name another --out")
    with gathered(inputs := _inputs(paths)) as found:
        site = _site(found, inputs, request)
        with replacing_folder(out) as folder:
            for name, content in _files(site):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    shutil.copyfile(content, path)
                else:
                    path.write_bytes(content)
    return site


def _check_url(url: str) -> None:
    if url and (not is_web_address(url) or "?" in url or "#" in url):
        raise UsageError(
            f"--url '{url}': give the address of the site, such as https://example.org/board"
        )


def _inputs(paths: Sequence[Path]) -> list[Path]:
    """Returns results folders and bundles; of a folder of bundles, the bundles in it."""
    found: list[Path] = []
    for path in paths:
        bundles = sorted(path.glob("*.zip")) if path.is_dir() else []
        records = next(find_records(path), None) if path.is_dir() else None
        if bundles and records is not None:
            raise ResultError(
                f"{path}: holds both records and bundles; move the bundles to a folder of their own"
            )
        found += bundles or [path]
    return found


def _site(found: Gathered, inputs: Sequence[Path], request: SiteRequest) -> Site:
    answers: dict[str, Answers] = {}
    boards = []
    for suite in suites_of(found.results):
        own = request.answers(suite)
        answers |= {suite.name: own} if own else {}
        of = request.split, request.baseline, request.everything
        boards.append(_for_readers(board_of(found.results, *of, own, suite)))
    suites = [Places(board, START) for board in boards]
    if len(suites) > 1:
        suites = [replace(one, index=f"{one.folder}/{START}") for one in suites]
    title = request.title or (TITLE if len(suites) > 1 else boards[0].suite.title)
    return Site(title, request.url.rstrip("/"), tuple(suites), _submissions(found, inputs), answers)


def _submissions(found: Gathered, inputs: Sequence[Path]) -> dict[str, Submission]:
    """Returns the bundles by the name that their records have in what was gathered."""
    bundles = [path for path in inputs if path.is_file()]
    origins: dict[str, str] = {}
    for folder, origin in found.origins.items():
        origins.setdefault(Path(folder).parts[0], origin)
    submissions = {}
    for (name, card), path in zip(found.cards.items(), bundles, strict=True):
        inside = Path(origins[name].removeprefix(f"{path}: "))  # results/NAME/...
        submissions[name] = Submission(card, path, inside.parts[1])
    return submissions


def _for_readers(board: Board) -> Board:
    """Puts the best row first, and leaves out advice to whoever makes the site."""
    # Of means over different domains, the mean rank is fair: a domain that is missing counts last.
    best_first = arrange(board, sort="score" if board.suite.score else "rank")
    return replace(best_first, hidden=(), hint="")


def _files(site: Site) -> Iterator[tuple[str, bytes | Path]]:
    """Yields the name of each file with its content, or with the file to copy."""
    if len(site.suites) > 1:
        yield START, start_page(site).encode()
    for places in site.suites:
        yield places.index, index_page(site, places).encode()
        yield places.json, f"{to_json(places.board)}\n".encode()
        for number, (row, page) in enumerate(zip(places.board.rows, places.rows, strict=True)):
            yield page, row_page(site, places, number).encode()
            if (submission := site.submission(row)) is not None:
                yield bundle_of(page), submission.path
        for domain, page in places.domains.items():
            yield page, domain_page(site, places, domain).encode()
    yield FEED, feed_of(site)
