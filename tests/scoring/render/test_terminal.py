"""Boards and reports on terminals of any width: every name and every S in full."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from decathlon.scoring.board import board_of
from decathlon.scoring.compare import compare
from decathlon.scoring.evaluate import SubmissionScore
from decathlon.scoring.render.reports import render_comparison, render_submission
from decathlon.scoring.render.terminal import fitted
from decathlon.suites.visual_decathlon import DOMAINS, SUITE
from tests.scoring.making import everywhere

AddRuns = Callable[..., None]
LONG = "a-variant-with-a-name-of-over-forty-characters"
NAMES = ("fine-tuning", "series-adapters-finetune-all", "模型-二十四-模型-二十四-模型", LONG)


@pytest.fixture
def filled(results: Path, add_runs: AddRuns) -> Path:
    for place, name in enumerate(NAMES):
        add_runs(name, everywhere(70 + 5 * place, 100))
    return results


def decathlon(width: int, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "decathlon", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env=os.environ | {"COLUMNS": str(width), "NO_COLOR": "1", "PYTHONUTF8": "1"},
    )
    assert max(map(cell_len, done.stdout.splitlines())) <= width
    assert "…" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_score_shows_every_name_and_score_in_full(width: int, filled: Path) -> None:
    said = decathlon(width, "score", str(filled))
    board = board_of(filled)
    words = said.split()
    for row in board.rows:
        assert row.score is not None
        assert f"{row.score:.1f}" in words or f"{row.score:.0f}" in words
        if width >= 60:
            assert set(row.label.split()) <= set(words) or row.label == LONG
        if row.score_printed:
            assert any(word.rstrip("!") == f"{row.score_printed:.0f}" for word in words)
    squeezed = "".join(words)
    for start in range(0, len(LONG), 10):  # folded where it is too wide
        assert LONG[start : start + 5] in squeezed
    for domain in DOMAINS.values():
        assert domain.column in words or domain.narrow in words
    assert ("Left out to fit" in said) == (width < 200)


def test_columns_go_in_the_order_that_is_stated(filled: Path) -> None:
    board = board_of(filled)
    left = [fitted(board, width).left_out for width in range(250, 39, -1)]
    assert left[0] == ()
    assert left[-1] == ("ci", "rank_ci", "mean", "rank", "covered", "time")
    for wide, narrow in itertools.pairwise(left):
        kept = [key for key in wide if key != "second digits"]
        assert set(kept) <= set(narrow)
    assert ("time",) in left
    assert ("rank", "covered", "time") in left


def test_columns_that_were_asked_for_are_never_left_out(filled: Path) -> None:
    keys = ("score", "domains", "ci", "time", "table", "kind", "method")
    said = decathlon(60, "score", str(filled), "--columns", ",".join(keys))
    assert "Left out" not in said.replace("second digits", "")
    for heading in ("95 % of S", "time", "table", "kind", "method"):
        assert heading in said
    assert said.count("SpotTune Table 3") == 15


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lists_are_whole(width: int) -> None:
    said = decathlon(width, "methods").split()
    assert {"series-adapters-finetune-all", "spottune-global-k", "3612", "1.28x"} <= set(said)
    assert "controllers," in said
    said = decathlon(width, "domains", "--data", "nowhere").split()
    assert set(DOMAINS) <= set(said)
    assert "1232167/49000/48238" in said


@pytest.mark.parametrize("width", [60, 80, 120])
def test_reports_are_whole(
    width: int, filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for other in (NAMES[1], LONG):
        found = compare("fine-tuning", other, filled)
        render_comparison(found)
        said = capsys.readouterr().out
        assert max(map(cell_len, said.splitlines())) <= width
        assert "fine-tuning" in said
        assert other in "".join(said.split())
        for difference in (*found.accuracy.values(), found.score):
            digits = 1 if difference is found.score else 2
            for value in (difference.a, difference.b):
                assert f"{value:.{digits}f}" in said
            assert f"{difference.ci[0]:+.{digits}f} to {difference.ci[1]:+.{digits}f}" in said
    counts = dict.fromkeys(DOMAINS, 9000), dict.fromkeys(DOMAINS, 48238)
    render_submission(SubmissionScore(SUITE, *counts, ()))
    said = capsys.readouterr().out
    assert max(map(cell_len, said.splitlines())) <= width
    assert said.count("48238") == said.count("18.66") == 10
    assert "points" in said
    assert any(line.split()[:1] == ["S"] for line in said.splitlines())
