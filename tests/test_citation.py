"""CITATION.cff and CHANGELOG.md agree with the program."""

import re
from pathlib import Path

import pytest

from decathlon import __version__
from decathlon.common.bibtex import entries
from decathlon.method.citations import DECATHLON
from decathlon.suites.papers import GUO_2019, REBUFFI_2017

ROOT = Path(__file__).parents[1]


def citation() -> dict:
    yaml = pytest.importorskip("yaml", reason="needs the extra `dev`")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def people(authors: list[dict]) -> list[str]:
    return [one.get("name") or f"{one['family-names']}, {one['given-names']}" for one in authors]


def plain(text: str) -> str:
    return text.replace("{", "").replace("}", "")


def test_it_has_what_the_format_requires() -> None:
    found = citation()
    assert found.keys() >= {"cff-version", "message", "title", "authors"}
    assert found["cff-version"] == "1.2.0"
    assert found["type"] == "software"
    assert found["license"] == "Apache-2.0"
    assert str(found["version"]) == __version__


def test_cite_says_the_same() -> None:
    found, (entry,) = citation(), entries(DECATHLON)
    assert entry.fields["title"] == found["title"]
    assert entry.fields["version"] == str(found["version"])
    assert plain(entry.fields["author"]).split(" and ") == people(found["authors"])


def test_references_are_those_that_cite_prints() -> None:
    references = citation()["references"]
    papers = entries(REBUFFI_2017 + GUO_2019)
    for reference, paper in zip(references, papers, strict=True):
        assert reference["title"] == plain(paper.fields["title"])
        assert people(reference["authors"]) == paper.fields["author"].split(" and ")
        assert reference["collection-title"] == paper.fields["booktitle"]
        assert str(reference["year"]) == paper.fields["year"]


def test_the_changelog_has_the_version() -> None:
    """The newest version listed is the program's, below what is to come."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == __version__
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


def test_the_changelog_names_commands_that_exist() -> None:
    import typer

    from decathlon.cli import app

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`decathlon ([a-z-]+)`", text))
    assert named
    assert named <= typer.main.get_command(app).commands.keys()
