"""A site in a browser, from its files: no errors, no requests, readable, usable by keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scoring.render.browser import CHROMIUM, Page, browser

SHOWN = "[...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden)"
NAMES = f"{SHOWN}.map(r => r.cells[0].querySelector('a').innerText)"
LATER = "new Promise(r => setTimeout(r, 50))"


@pytest.fixture(scope="module")
def places(site: Path) -> dict[str, Path]:
    """One page of each kind."""
    rows = sorted((site / "visual-decathlon" / "rows").glob("*.html"))
    named = {path.read_text().split("<h1>")[1].split("</h1>")[0]: path for path in rows}
    hostile = next(path for name, path in named.items() if "&lt;img" in name)
    return {
        "board": site / "index.html",
        "routed row": named["spottune"],
        "hostile row": hostile,
        "published row": named["SpotTune"],
        "domain": site / "visual-decathlon" / "domains" / "dtd.html",
    }


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: the pages are not tried in a browser")
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(params=["board", "routed row", "hostile row", "published row", "domain"])
def page(opened: Page, places: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page afresh; afterwards, nothing may have gone wrong or left it."""
    yield from _afresh(opened, places[request.param])


@pytest.fixture
def board(opened: Page, places: dict[str, Path]) -> Iterator[Page]:
    yield from _afresh(opened, places["board"])


def _afresh(tab: Page, path: Path) -> Iterator[Page]:
    tab.heard.clear()
    tab.look(1300, 900, dark=False)
    tab.open(path)
    yield tab
    tab.run(LATER)
    assert tab.complaints() == []
    assert [u for u in tab.requests() if not u.startswith("data:")] == [path.as_uri()]
    assert not [e for e in tab.heard if e.get("method") == "Network.loadingFailed"]


def test_no_name_runs(page: Page) -> None:
    assert page.run("typeof owned") == "undefined"
    assert page.run("document.title") != "owned"
    assert page.run("document.querySelectorAll('main, header, h1').length") == 3


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_accessible(page: Page, width: int, dark: bool) -> None:
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    page.look(width, 900, dark)
    page.run((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8") + ";0")
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    found = json.loads(page.run("axe.run(document).then(r => JSON.stringify(r.violations))"))
    grave = [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"][:300])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


@pytest.mark.parametrize("width", [390, 1300])
def test_nothing_but_tables_scrolls_sideways(page: Page, width: int) -> None:
    page.look(width, 900, dark=False)
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    page.run(LATER)
    assert page.run("document.documentElement.scrollWidth") <= width
    outside = (
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert page.run(outside) == []


def test_dark_and_light(page: Page) -> None:
    inks = []
    for dark in (False, True):
        page.look(1300, 900, dark)
        inks.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert inks == ["rgb(255, 255, 255)", "rgb(22, 24, 27)"]


def test_the_best_row_stands_first(board: Page) -> None:
    scores = [float(s) for s in board.run(f"{SHOWN}.map(r => r.cells[1].dataset.value)") if s]
    assert scores == sorted(scores, reverse=True)
    assert board.run(NAMES)[0] == "SpotTune"


def test_sorts_by_keyboard(board: Page) -> None:
    heading = "[...document.querySelectorAll('#board thead button')].find(b => b.title == 'dtd')"
    board.run(f"{heading}.focus()")
    board.press("Enter", 13, "\r")
    assert board.run(f"{heading}.parentElement.ariaSort") == "descending"
    assert board.run(NAMES)[0] == "spottune"
    board.press(" ", 32, " ")
    assert board.run(f"{heading}.parentElement.ariaSort") == "ascending"


def test_filters_by_name_author_and_kind(board: Page) -> None:
    def searched(text: str) -> list[str]:
        board.run(f"search.value = {text!r}")
        board.run("search.dispatchEvent(new Event('input', {bubbles: true}))")
        return board.run(NAMES)

    assert searched("SPOT") == ["SpotTune", "SpotTune (Global-k)", "spottune"]
    assert sorted(searched("ada <b>"))[1:] == ["plain"]
    assert board.run("document.getElementById('count').textContent") == "2 rows"
    searched("")
    board.run("document.querySelector('[name=kind][value=run]').click()")
    assert len(board.run(NAMES)) == 4


def test_a_name_leads_to_its_page_by_keyboard(board: Page, places: dict[str, Path]) -> None:
    board.run(
        "[...document.querySelectorAll('#board a')].find(a => a.innerText == 'spottune').focus()"
    )
    board.press("Enter", 13, "\r")
    board.run("new Promise(r => setTimeout(r, 300))")
    assert board.run("location.href") == places["routed row"].as_uri()
    board.heard[:] = [e for e in board.heard if e.get("method") != "Network.requestWillBeSent"]
    board.open(places["board"])
