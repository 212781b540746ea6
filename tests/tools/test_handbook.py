"""The handbook is built from docs/ without a warning, and needs no other host."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer

from decathlon.cli import app
from tests.scoring.render.browser import CHROMIUM, browser

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tools" / "handbook" / "mkdocs.yml"
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""Elements that make a browser load something, and the attribute that says what."""


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package, reason="needs the extra 'docs'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(
        [*command, "--config-file", config, "--site-dir", out],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("handbook")
    done = build(CONFIG, out)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


class Page(HTMLParser):
    """What a page loads, its headings' anchors, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {found["id"] or ""} if "id" in found else set()
        if tag == "a":
            self.links.append(found.get("href") or "")
        elif target := found.get(LOADING.get(tag, "")):
            self.loaded.append(target)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_file_of_docs_is_a_page(site: Path) -> None:
    docs = ROOT / "docs"
    pages = [path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")]
    assert [page for page in pages if not (site / page).is_file()] == []


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    loaded = [(path, target) for path, page in pages.items() for target in page.loaded]
    assert len(loaded) > len(pages)
    assert [(path, t) for path, t in loaded if re.match(r"\w+:|//", t)] == []
    for path, target in loaded:
        if path.name != "404.html":  # which a server shows at any address
            assert (path.parent / target.partition("?")[0]).is_file(), (path, target)
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text()) == []


def test_links_between_pages_lead_somewhere(site: Path) -> None:
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            place = (path.parent / target).resolve() if target else path
            assert place.exists(), (path, link)
            if anchor and place in pages:
                assert anchor in pages[place].anchors, (path, link)


def test_search_knows_every_page(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"404.html"}
    assert {place["location"].partition("#")[0] for place in found["docs"]} == pages
    assert (site / "search" / "search_index.js").is_file()  # for pages opened from a folder


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_search_works_from_the_folder(site: Path, tmp_path: Path) -> None:
    results = "[...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
    type_in = """
        const box = document.querySelector('[data-md-component=search-query]');
        box.focus();
        box.value = 'gradual unfreezing';
        box.dispatchEvent(new Event('keyup'));
    """
    with browser(tmp_path) as page:
        page.open(site / "faq.html")
        page.run(type_in)
        for _ in range(100):
            if found := page.run(results):
                break
            page.run("new Promise(resolve => setTimeout(resolve, 100))")
        assert any("/your-method.html" in link for link in found)
        assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []


def test_all_commands_and_options_are_listed(site: Path) -> None:
    page = Page(site / "reference" / "commands.html")
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="decathlon")
    parts = re.split(r"^decathlon ([\w-]+)¶?$", page.text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(sections) >= set(root.list_commands(context))
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        for option in command.params:
            named = re.findall(r"\w+", option.metavar or option.name)
            for word in option.opts if option.param_type_name == "option" else named:
                there = rf"(?<![\w-]){re.escape(word)}(?![\w-])"
                assert re.search(there, sections[name], re.IGNORECASE), f"{name} {word}"


def test_promised_python_names_are_listed(site: Path) -> None:
    surface = json.loads((ROOT / "tests" / "surface.json").read_text(encoding="utf-8"))
    pages = {path.stem: Page(path) for path in (site / "reference").glob("*.html")}
    assert len(surface["python"]) > 40
    for name in surface["python"]:
        assert name in pages[name.rpartition(".")[0]].anchors, name


@pytest.mark.parametrize(
    "text", ["[data](nowhere.md)", "[data](data.md#nowhere)", "[home](/index.html)"]
)
def test_a_wrong_link_is_an_error(tmp_path: Path, text: str) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# Home\n\n{text}\n")
    (docs / "data.md").write_text("# Data\n")
    validation = re.search(r"^validation:\n(?:  .*\n)+", CONFIG.read_text(), re.MULTILINE)
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"site_name: x\n{validation[0]}nav: [index.md, data.md]\n")
    done = build(config, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("WARNING") == 1
