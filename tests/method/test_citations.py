"""What is cited for methods, domains, suites and networks, and that it is BibTeX."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from decathlon import __version__
from decathlon.common.bibtex import entries
from decathlon.common.errors import UsageError
from decathlon.method.base import Method
from decathlon.method.citations import DECATHLON, citations
from decathlon.method.registry import find, probes, registered
from decathlon.models.networks import registered as networks
from decathlon.suites import papers
from decathlon.suites.registry import find as find_suite
from tests.commands.test_cli import decathlon, refused

SUITES = [find_suite(name) for name in ("visual-decathlon", "fine-grained")]
DOMAINS = [domain for suite in SUITES for domain in suite.domains.values()]
OURS = [n for n, point in (registered() | probes()).items() if point.dist.name == "decathlon"]
PAPERS = {name: text for name, text in vars(papers).items() if name.isupper()}
NEEDED = {
    "inproceedings": {"author", "title", "booktitle", "year"},
    "article": {"author", "title", "journal", "year"},
    "techreport": {"author", "title", "institution", "year"},
    "misc": {"author", "title", "year"},
    "software": {"author", "title", "version", "year"},
}


@pytest.mark.parametrize("text", [*PAPERS.values(), DECATHLON], ids=[*PAPERS, "decathlon"])
def test_entries_are_bibtex(text: str) -> None:
    """By a parser of others: its fields are those that ours reads."""
    parser = pytest.importorskip("bibtexparser", reason="needs the extra `dev`")
    library = parser.parse_string(text)
    assert library.failed_blocks == []
    (theirs,), (ours,) = library.entries, entries(text)
    assert (theirs.entry_type, theirs.key) == (ours.kind, ours.key)
    values = {field.key: " ".join(str(field.value).split()) for field in theirs.fields}
    assert values == ours.fields
    assert values.keys() >= NEEDED[ours.kind]
    assert ours.kind != "misc" or values.keys() & {"eprint", "doi"}


def test_every_paper_has_its_own_key_and_is_cited() -> None:
    keys = [entry.key for text in PAPERS.values() for entry in entries(text)]
    assert len(keys) == len(set(keys)) == len(PAPERS)
    names = [*OURS, *(d.name for d in DOMAINS), *(s.name for s in SUITES), *networks()]
    assert {citation.entry.key for citation in citations(names)[0]} == set(keys)


def test_everything_built_in_says_what_to_cite() -> None:
    names = [*OURS, *(d.name for d in DOMAINS), *(s.name for s in SUITES), *networks()]
    for name in names:
        found, empty = citations([name])
        assert found, name
        assert not empty
        assert all(citation.names == (name,) for citation in found)


@pytest.mark.parametrize("name", OURS)
def test_a_method_cites_the_paper_it_names(name: str) -> None:
    """One of the entries has its first author and year, or one year later, when it was printed."""
    kind = find(name)
    author = (
        "Guo" if kind.paper.startswith("SpotTune") else re.split(r" and | et al", kind.paper)[0]
    )
    found = entries(kind.bibtex)
    first = {entry.fields["author"].partition(",")[0] for entry in found}
    assert author in first
    year = re.search(r"\b(20\d\d)\b(?!\.)", kind.paper)
    wanted = int(year[1]) if year else kind.year
    assert any(int(entry.fields["year"]) - wanted in (0, 1) for entry in found)


def test_each_entry_is_listed_once_and_in_order() -> None:
    found, _ = citations(["spottune", "fine-grained", "dtd", "vgg-flowers", "flowers", "dtd"])
    keys = [citation.entry.key for citation in found]
    assert keys == ["cimpoi2014describing", "guo2019spottune", "nilsback2008automated"]
    assert [c.names for c in found[1:]] == [
        ("spottune", "fine-grained"),
        ("vgg-flowers", "flowers"),
    ]


def test_without_names_it_is_the_suite_and_the_program() -> None:
    found, _ = citations([])
    assert [c.entry.key for c in found] == ["decathlon", "rebuffi2017learning"]
    assert found[0].entry.fields["version"] == __version__


def test_networks_of_a_prefix() -> None:
    assert [c.entry.key for c in citations(["resnet101"])[0]] == ["he2016deep"]
    assert [c.entry.key for c in citations(["timm"])[0]] == ["wightman2019timm"]


def test_formats(tmp_path: Path) -> None:
    out = tmp_path / "refs.bib"
    assert decathlon("cite", "dtd", "svhn", "--out", str(out)).stdout == ""
    assert [e.key for e in entries(out.read_text())] == [
        "cimpoi2014describing",
        "netzer2011reading",
    ]
    (row,) = json.loads(decathlon("cite", "dtd", "--format", "json").stdout)
    assert row.keys() == {"key", "type", "names", "fields"}
    assert row["fields"]["title"] == "Describing Textures in the Wild"
    text = decathlon("cite", "sketches", "--format", "text").stdout
    assert text == (
        "Mathias Eitz, James Hays and Marc Alexa. How Do Humans Sketch Objects?"
        " ACM Transactions on Graphics, 2012.\n"
    )


def test_what_is_not_there_is_refused() -> None:
    assert "did you mean 'spottune'" in refused(2, "cite", "spotune")
    assert "known: bibtex, text, json" in refused(2, "cite", "dtd", "--format", "bib")


def test_what_needs_no_torch_imports_none() -> None:
    program = (
        "import sys; from decathlon.method.citations import citations;"
        "citations([]); citations(['dtd', 'fine-grained']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


class Nameless(Method):
    """Says nothing to cite."""


class Careless(Method):
    """Says something that is no entry."""

    bibtex = "Doe, 2020"


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers both under names of their own."""
    facts = tmp_path / "site" / "strange-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    lines = [f"{k.lower()} = {Nameless.__module__}:{k}\n" for k in ("Nameless", "Careless")]
    (facts / "entry_points.txt").write_text("[decathlon.methods]\n" + "".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setitem(sys.modules, Nameless.__module__, sys.modules[__name__])
    registered.cache_clear()
    yield
    registered.cache_clear()


@pytest.mark.usefixtures("stranger")
def test_methods_of_others_may_say_nothing_or_nonsense() -> None:
    found, empty = citations(["nameless", "dtd"])
    assert empty == ["nameless"]
    assert [citation.entry.key for citation in found] == ["cimpoi2014describing"]
    with pytest.raises(UsageError, match=r"'careless': its 'bibtex' is not BibTeX: expected"):
        citations(["careless"])
