"""The page: what is in it, and how it behaves in a browser."""

import base64
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decathlon.common.files import write_json
from decathlon.results.records import write_record
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import board_of
from decathlon.scoring.render.dispatch import render_boards, text_of
from decathlon.suites.visual_decathlon import DOMAINS
from tests.scoring.making import bits_with, make_record
from tests.scoring.render.browser import CHROMIUM, Page, browser

HOSTILE = (
    """<img src=x onerror="document.title='owned'">'"&{{7*7}}</script><script>owned=1</script>"""
)


class Links(HTMLParser):
    """Everything that a page could fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def parsed(html: str) -> Links:
    found = Links()
    found.feed(html)
    return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a method that routes images, and of one with a hostile name."""
    results = tmp_path_factory.mktemp("page") / "results"
    for name, domain in DOMAINS.items():
        bits = bits_with(round(0.9 * domain.sizes[2]), domain.sizes[2])
        recipe = {"epochs": 7, "note": HOSTILE}
        path = write_record(results, make_record("spottune", name, bits, recipe=recipe))
        images = (["00", "01", "11"] * domain.sizes[2])[: domain.sizes[2]]
        write_json(path.parent / "routing.json", {"blocks": 2, "images": images})
    write_record(results, make_record(HOSTILE.replace("/", "|"), "dtd", bits_with(1128, 1880)))
    return results


@pytest.fixture(scope="module")
def html(filled: Path) -> str:
    return text_of(board_of(filled), "html")


def test_page_is_self_contained(html: str) -> None:
    found = parsed(html)
    assert found.links
    assert all(link.startswith(("data:", "#")) for link in found.links)
    assert found.handlers == []
    assert found.tags.count("script") == 1
    # One for the board, two for the routed method.
    assert found.tags.count("img") == 3


def test_names_are_text(html: str) -> None:
    assert "<img src=x" not in html
    assert "{{7*7}}" in html
    assert "&lt;img src=x onerror=" in html


def test_page_says_what_is_known_of_a_row(html: str) -> None:
    for text in (
        "3612.2",
        "CVPR 2019, Table 3",
        "&#34;epochs&#34;: 7",
        "MTAN Table 4 prints 45.37",
    ):
        assert text in html


def test_equal_boards_give_equal_pages(filled: Path, html: str, tmp_path: Path) -> None:
    render_boards([board_of(filled)], "html", tmp_path / "board.html")
    assert (tmp_path / "board.html").read_text(encoding="utf-8") == html


def test_figures_show_the_rows_that_are_shown(filled: Path) -> None:
    found = text_of(arrange(board_of(filled), match=["SpotTune"]), "html")
    sources = [link for link in parsed(found).links if link.startswith("data:image/svg")]
    drawn = [base64.b64decode(source.split(",")[1]).decode() for source in sources]
    assert len(drawn) == 3
    assert ">spottune<" in drawn[0]
    assert "Fine-tuning" not in drawn[0]
    assert "onerror" not in drawn[0]


@pytest.fixture(scope="module")
def opened(html: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: the page is not tried in a browser")
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "board.html"
    path.write_text(html, encoding="utf-8")
    with browser(folder) as page:
        yield page, path


@pytest.fixture
def page(opened: tuple[Page, Path]) -> Iterator[Page]:
    """The page afresh; afterwards, nothing may have gone wrong or left it."""
    tab, path = opened
    tab.heard.clear()
    tab.look(1200, 900, dark=False)
    tab.open(path)
    yield tab
    tab.run("new Promise(r => setTimeout(r, 50))")
    assert tab.complaints() == []
    assert [u for u in tab.requests() if not u.startswith("data:")] == [path.as_uri()]


SHOWN = "[...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden)"
NAMES = f"{SHOWN}.map(r => r.cells[0].innerText)"


def heading(text: str) -> str:
    return (
        f"[...document.querySelectorAll('#board thead button')].find(b => b.innerText == '{text}')"
    )


def test_sorts(page: Page) -> None:
    assert page.run(NAMES)[:2] == ["Scratch", "Scratch+"]
    page.run(f"{heading('S')}.click()")
    scores = [float(s or "-1") for s in page.run(f"{SHOWN}.map(r => r.cells[12].dataset.value)")]
    assert scores == sorted(scores, reverse=True)
    assert page.run(f"{heading('S')}.parentElement.ariaSort") == "descending"
    page.run(f"{heading('S')}.click()")
    assert page.run(NAMES)[0] not in ("SpotTune", "Scratch")
    page.run(f"{heading('SVHN')}.click()")
    values = page.run(f"{SHOWN}.map(r => r.cells[10].dataset.value)")
    assert values[-1] == ""  # missing comes last, whichever way
    page.run(f"{heading('SVHN')}.click()")
    assert page.run(f"{SHOWN}.map(r => r.cells[10].dataset.value)")[-1] == ""
    page.run(f"{heading('method')}.click()")
    names = page.run(f"{SHOWN}.map(r => r.cells[0].dataset.value)")
    assert names.index("bn adapt.") < names.index("dan") < names.index("lwf")


def test_filters(page: Page) -> None:
    page.run("document.querySelector('[name=kind][value=run]').click()")
    assert len(page.run(NAMES)) == 2
    assert page.run("document.getElementById('count').textContent") == "2 rows"
    page.run("document.querySelector('[name=kind][value=published]').click()")
    assert len(page.run(NAMES)) == 15
    page.run("document.querySelector('[name=kind][value=all]').click()")
    page.run("search.value = 'SPOT'; search.dispatchEvent(new Event('input', {bubbles: true}))")
    assert page.run(NAMES) == ["SpotTune (Global-k)", "SpotTune", "spottune"]
    hidden = "[...document.querySelectorAll('details')].filter(d => !d.hidden).length"
    assert page.run(hidden) == 3


def test_details_open_from_the_table_by_keyboard(page: Page) -> None:
    page.run("[...document.querySelectorAll('#board a')].at(-1).focus()")
    page.press("Enter", 13, "\r")
    page.run("new Promise(r => setTimeout(r, 100))")
    assert page.run("[...document.querySelectorAll('details')].filter(d => d.open).length") == 1
    assert page.run("document.activeElement.tagName") == "SUMMARY"
    page.run(f"{heading('S')}.focus()")
    page.press(" ", 32, " ")
    assert page.run(f"{heading('S')}.parentElement.ariaSort") == "descending"


def test_hostile_names_stay_names(page: Page) -> None:
    assert page.run("typeof owned") == "undefined"
    assert page.run("document.title").startswith("Visual Decathlon")
    assert any("<img src=x" in name for name in page.run(NAMES))


def test_fits_a_phone_and_both_colour_schemes(page: Page) -> None:
    inks = set()
    for dark in (False, True):
        page.look(360, 740, dark)
        assert page.run("document.documentElement.scrollWidth") <= 360
        style = "getComputedStyle(document.body)"
        inks.add((page.run(f"{style}.color"), page.run(f"{style}.backgroundColor")))
    assert len(inks) == 2
    for ink, paper in inks:
        assert contrast(ink, paper) > 7


@pytest.mark.parametrize("width", [390, 1280, 1600])
def test_only_what_scrolls_in_itself_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.look(width, 800, dark=False)
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    page.run("new Promise(r => requestAnimationFrame(() => setTimeout(r, 50)))")
    assert page.run("document.documentElement.scrollWidth") <= width
    outside = (
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert page.run(outside) == []
    cut = (
        "[...document.querySelectorAll('th, td, a, dd, summary, figcaption')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert page.run(cut) == []
    # A frame shows whether there is more on the right, and on the left once it is scrolled.
    told = (
        "[...document.querySelectorAll('.scroll')].map(s => [s.scrollWidth > s.clientWidth + 1,"
        " s.parentElement.classList.contains('after'),"
        " getComputedStyle(s.parentElement, '::after').opacity])"
    )
    page.run("new Promise(r => setTimeout(r, 300))")
    for more, marked, opacity in page.run(told):
        assert (marked, opacity) == (more, "1" if more else "0")
    board = "document.querySelector('.scroll')"
    if width < 1600:
        page.run(f"{board}.scrollLeft = 1e6")
        page.run("new Promise(r => setTimeout(r, 100))")
        assert page.run(f"{board}.parentElement.className") == "frame before"
        name = f"{board}.querySelector('tbody th').getBoundingClientRect()"
        assert page.run(f"{name}.left - {board}.getBoundingClientRect().left") < 3
        last = f"{board}.querySelector('tbody td:last-child').getBoundingClientRect()"
        assert page.run(f"{last}.left >= {name}.right")


def test_a_phone_shows_the_score_beside_each_name(page: Page) -> None:
    brief = "[...document.querySelectorAll('.brief')].map(e => e.offsetHeight > 0 && e.innerText)"
    page.look(390, 800, dark=False)
    assert "S 3612" in page.run(brief)
    page.look(1280, 800, dark=False)
    assert not any(page.run(brief))


def test_figures_are_dark_in_the_dark(page: Page) -> None:
    corner = "document.querySelector('figure img').getBoundingClientRect()"
    light = {}
    for dark in (False, True):
        page.look(1280, 800, dark)
        x, y = page.run(f"[{corner}.x + scrollX, {corner}.y + scrollY]")
        part = {"x": x, "y": y, "width": 500, "height": 300, "scale": 1}
        shot = page.call(
            "Page.captureScreenshot", format="png", clip=part, captureBeyondViewport=True
        )
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("L"))
        light[dark] = np.median(pixels), pixels.max(), pixels.min()
    assert light[False][0] > 250
    assert light[False][2] < 60
    assert light[True][0] < 40
    assert light[True][1] > 200


def contrast(ink: str, paper: str) -> float:
    """The contrast ratio of the accessibility guidelines (WCAG 2)."""

    def light(colour: str) -> float:
        shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(ink), light(paper)))
    return (high + 0.05) / (low + 0.05)


def test_every_control_has_a_name(page: Page) -> None:
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "link", "radio", "searchbox", "region")
    nameless = [
        json.dumps(node)[:200]
        for node in tree
        if node.get("role", {}).get("value") in roles and not node.get("name", {}).get("value")
    ]
    assert nameless == []
