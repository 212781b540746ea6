"""Suites are found by name; a stranger's broken one stops nobody else's."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.suites.base import Suite
from decathlon.suites.registry import DEFAULT, find, registered

MODULE = """
from decathlon.suites.base import Domain, Suite, View, Views

VIEWS = Views.of(View(32))
DOMAIN = Domain("birds", "Birds", "birds", 3, (60, 20, 20), (0.5,) * 3, (0.2,) * 3, VIEWS)
SUITE = Suite("birds", "Birds", "birds", {"birds": DOMAIN}, 48, VIEWS)
NONE = {"birds": DOMAIN}
"""
POINTS = """[decathlon.suites]
birds = stranger_birds:SUITE
wrong = stranger_birds:NONE
broken = stranger_broken:SUITE
leaves = stranger_leaves:SUITE
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with four suites, one of which works."""
    facts = tmp_path / "stranger-2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 2\n")
    (facts / "entry_points.txt").write_text(POINTS)
    (tmp_path / "stranger_birds.py").write_text(MODULE)
    (tmp_path / "stranger_broken.py").write_text("raise OSError('no such \\x1b[31m disk')\n")
    (tmp_path / "stranger_leaves.py").write_text("import sys\nsys.exit(5)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registered.cache_clear()
    yield
    sys.modules.pop("stranger_birds", None)
    registered.cache_clear()


def test_the_default_suite_is_registered() -> None:
    assert registered()[DEFAULT.name].load() is DEFAULT is find(DEFAULT.name)


def test_an_unknown_suite_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'visual-decathlon'") as error:
        find("visual-decatlon")
    assert error.value.exit_code == 2


@pytest.mark.usefixtures("stranger")
def test_a_strangers_suite_is_found() -> None:
    suite = find("birds")
    assert isinstance(suite, Suite)
    assert suite.side == 48


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken", r"'broken' \(stranger_broken:SUITE\) cannot be imported: no such"),
        ("leaves", r"cannot be imported: sys.exit\(5\)"),
        ("wrong", r"'wrong' \(stranger_birds:NONE\) is not a decathlon Suite"),
    ],
)
def test_a_broken_suite_says_what_is_wrong(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        find(name)


@pytest.mark.usefixtures("stranger")
def test_a_broken_suite_is_listed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    done = CliRunner().invoke(app, ["suites"])
    assert done.exit_code == 0
    rows = {line.split()[0]: line.split()[1:] for line in done.output.splitlines() if line}
    assert rows["birds"] == ["1", "100", "48", "-", "mean", "accuracy", "stranger", "2"]
    assert rows["visual-decathlon"][:5] == ["10", "1659142", "72", "resnet26", "S"]
    assert rows["broken"] == ["-", "-", "-", "-", "-", "stranger", "2"]
    assert r"cannot be imported: no such \x1b[31m disk" in done.output
    assert "sys.exit(5)" in done.output
    assert "is not a decathlon Suite" in done.output
