"""The commands of leaderboards to publish: what they print, and their exit codes."""

from pathlib import Path

import pytest

from tests.commands.test_cli import decathlon, refused
from tests.scoring.site.making import add_row


@pytest.fixture
def results(tmp_path: Path) -> str:
    add_row(tmp_path / "results", "mine", 0.5, ("dtd",))
    return str(tmp_path / "results")


def test_site(results: str, tmp_path: Path) -> None:
    out = tmp_path / "public"
    done = decathlon("site", results, "--out", str(out), "--all", "--title", "Ours")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'index.html'}: 26 rows\n"  # 25 are published
    assert "<h1>Ours</h1>" in (out / "index.html").read_text()


def test_new_leaderboard(tmp_path: Path) -> None:
    board = str(tmp_path / "board")
    done = decathlon("new-leaderboard", board)
    assert done.returncode == 0, done.stderr
    assert f"{board}/.github/workflows/pages.yml" in done.stdout.splitlines()
    assert "is not empty" in refused(2, "new-leaderboard", board)


def test_refusals_have_their_exit_codes(results: str, tmp_path: Path) -> None:
    out = str(tmp_path / "public")
    assert "which this command did not write" in refused(2, "site", results, "--out", results)
    assert "--split 'train'" in refused(2, "site", results, "--out", out, "--split", "train")
    assert "--url" in refused(2, "site", results, "--out", out, "--url", "here")
    assert "no test results of baseline" in refused(
        2, "site", results, "--out", out, "--baseline", "absent"
    )
    assert "absent.zip" in refused(3, "site", results, "--out", out, "--labels", "absent.zip")
    assert "no such results folder" in refused(4, "site", f"{results}-", "--out", out)
    assert not Path(out).exists()
