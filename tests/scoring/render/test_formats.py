"""Every format of a board, at several widths, with hostile names."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from decathlon.common import text as escape
from decathlon.common.errors import UsageError
from decathlon.common.files import write_json
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.columns import SENSITIVITY
from decathlon.scoring.render.dispatch import FORMATS, render_boards, text_of
from decathlon.scoring.render.terminal import show
from decathlon.suites.visual_decathlon import DOMAINS
from tests.scoring.making import everywhere

ROOT = Path(__file__).parents[3]
AddRuns = Callable[..., None]

HOSTILE = (
    "=cmd()|[bold]x[/] <script>alert(1)</script> \x1b[31m\x9b2J\u202e $a_b^c% & \\input{x} `q`\n"
)


@pytest.fixture
def hostile(results: Path) -> Board:
    """A board whose one published row has a label made to break every format."""
    row = {
        "label": HOSTILE,
        "method": HOSTILE,
        "year": 2020,
        "params_ratio": 1.0,
        "accuracy": {"dtd": 50.0},
        "score_printed": 9000.0,
        "table": "SpotTune Table 3",
        "row": 1,
        "source": HOSTILE,
        "note": HOSTILE,
    }
    write_json(results / "published" / "bad.json", row)
    return board_of(results)


def shown(board: Board, width: int, columns: tuple[str, ...] | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system="standard")
    show(board, console, columns)
    return stream.getvalue()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_table_fits_and_is_whole(width: int, results: Path, add_runs: AddRuns) -> None:
    add_runs("my-own-method", everywhere(90, 100))
    text = plain(shown(board_of(results), width))
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    table = text.split("S is computed")[0]
    digits = 2 if width > 80 else 1
    for value in (63.91, 96.49, 52.34):
        assert f"{value:.{digits}f}" in table
    assert "3096!" in table
    assert "3612" in table
    squeezed = "".join(table.split())
    assert "my-own-method"[:10] in squeezed
    assert ("95 % of S" in text) == (width >= 120)


def test_best_is_bold_and_second_underlined_without_the_padding() -> None:
    text = shown(board_of(None), 120)
    spottune = next(line for line in text.splitlines() if line.startswith("SpotTune  "))
    assert "\x1b[1m99.52\x1b[0m" in spottune
    assert "\x1b[4m96.49\x1b[0m" in spottune
    assert "\x1b[1m3612\x1b[0m" in spottune


def test_a_board_of_runs_alone_shows_intervals_and_no_printed_scores(
    results: Path, add_runs: AddRuns
) -> None:
    add_runs("feature-extractor", everywhere(90, 100), official=False)
    board = board_of(results, baseline="feature-extractor")
    for width in (112, 120):
        text = plain(shown(board, width))
        assert "250" in text
        assert "95 % of S" in text
        assert "Score" not in text
        assert "they cover the choice of images only" in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= width
    narrow = plain(shown(board, 80))
    assert "Intervals" not in narrow
    assert "Left out to fit 80 characters: ci, mean, rank, covered, time" in narrow
    assert "feature-extractor" in narrow


def test_missing_and_unknown_cells(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": None, "svhn": (40, 50)})
    lines = text_of(board_of(results), "markdown").splitlines()
    cells = next(line for line in lines if line.startswith("| mine")).split("|")
    assert [c.strip() for c in cells[3:8]] == ["-", "-", "-", "-", "?"]
    assert cells[11].strip() == "80.00"


def test_params_ratio_is_shown_with_the_domains_it_rests_on(
    results: Path, add_runs: AddRuns
) -> None:
    add_runs("mine", {"dtd": (40, 50), "svhn": (40, 50)})
    assert "5.50x (2)" in text_of(board_of(results), "table")


def test_json_is_exactly_the_documented_one(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)})
    value = json.loads(text_of(board_of(results), "json"))
    assert set(value) == {"schema", "suite", "split", "baseline", "rows"}
    assert value["schema"] == 1
    keys = "method label kind params_ratio accuracy score score_printed consistent ci seeds missing"
    keys += " subset draws source network recipe code crop"
    assert all(set(row) == set(keys.split()) for row in value["rows"])
    mine = value["rows"][-1]
    assert (mine["kind"], mine["method"], mine["seeds"]) == ("run", "mine", [0])
    assert (mine["score_printed"], mine["consistent"]) == (None, None)
    assert mine["accuracy"]["dtd"] == 80.0
    assert mine["accuracy"]["svhn"] is None
    low, high = mine["ci"]
    assert low < mine["score"] < high
    spottune = value["rows"][14]
    assert (spottune["ci"], spottune["consistent"], spottune["score_printed"]) == (None, True, 3612)


def test_csv_holds_the_unrounded_numbers(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (333, 1880)})
    board = board_of(results)
    rows = list(csv.DictReader(io.StringIO(text_of(board, "csv"))))
    assert len(rows) == 16
    assert float(rows[-1]["dtd"]) == pytest.approx(100 * 333 / 1880, abs=1e-9)
    assert rows[-1]["svhn"] == ""
    for line, row in zip(rows, board.rows, strict=True):
        assert float(line["score"]) == row.score


def test_markdown_has_one_cell_a_column() -> None:
    lines = text_of(board_of(None), "markdown").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 17
    assert {line.count("|") for line in table} == {15}


def test_latex_is_balanced_and_rectangular() -> None:
    text = text_of(board_of(None), "latex")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 16
    assert {line.count("&") for line in body} == {13}
    assert text.count("{") == text.count("}")
    assert r"\begin{tabular}{lrrrrrrrrrrrrr}" in text
    assert [r in text for r in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    assert r"\textbf{3612.2}" in text


def test_columns_can_be_chosen() -> None:
    text = text_of(board_of(None), "markdown", ["score", "svhn", "rank"])
    assert text.splitlines()[0] == "| | S | SVHN | rank |"
    with pytest.raises(UsageError, match="unknown column 'scor', did you mean 'score'"):
        text_of(board_of(None), "markdown", ["scor"])
    with pytest.raises(UsageError, match="unknown column"):
        text_of(board_of(None), "json", ["scor"])


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown format 'markdwon', did you mean 'markdown'"):
        text_of(board_of(None), "markdwon")


def test_sensitivity_is_points_per_accuracy_point() -> None:
    board = board_of(None)
    lines = text_of(board, "markdown", SENSITIVITY).splitlines()
    spottune = next(line for line in lines if line.startswith("| SpotTune |")).split("|")
    by_domain = dict(zip(DOMAINS, (float(c) for c in spottune[3:13]), strict=True))
    order = sorted(by_domain, key=lambda name: -by_domain[name])
    assert order[:3] == ["gtsrb", "svhn", "daimlerpedcls"]
    assert by_domain["gtsrb"] == pytest.approx(365, abs=1)
    row = json.loads(text_of(board, "json", SENSITIVITY))["rows"][14]
    assert row["sensitivity"]["gtsrb"] == pytest.approx(by_domain["gtsrb"], abs=0.06)


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_lets_a_control_character_through(form: str, hostile: Board) -> None:
    text = text_of(hostile, form)
    assert not [c for c in text if ord(c) < 32 and c != "\n"]
    assert not [c for c in text if 127 <= ord(c) < 160 or c == "\u202e"]


def test_rich_markup_and_terminal_escapes_are_shown_not_obeyed(hostile: Board) -> None:
    text = shown(hostile, 400, ("params", "method", "table"))
    assert "[bold]x[/]" in text
    assert r"\x1b[31m\x9b2J\u202e" in text
    assert "\x1b[31m" not in text


def test_csv_cells_are_no_formulas(hostile: Board) -> None:
    row = next(csv.DictReader(io.StringIO(text_of(hostile, "csv"))))
    assert row["label"].startswith("'=cmd()")
    assert row["method"].startswith("'=cmd()")
    chosen = next(csv.DictReader(io.StringIO(text_of(hostile, "csv", ["method"]))))
    assert chosen["label"].startswith("'=")
    assert chosen["method"].startswith("'=")


def test_markdown_escapes_pipes_and_html(hostile: Board) -> None:
    lines = text_of(hostile, "markdown").splitlines()
    row = next(line for line in lines if line.startswith("| =cmd"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 15
    assert "<script>" not in "".join(lines)


def test_latex_escapes_commands(hostile: Board) -> None:
    text = text_of(hostile, "latex")
    body = next(line for line in text.splitlines() if line.startswith("=cmd"))
    assert r"\input" not in body
    assert r"\textbackslash{}input\{x\}" in body
    assert r"\$a\_b\textasciicircum{}c\% \&" in body
    comments = [line for line in text.splitlines() if r"\input" in line]
    assert all(line.startswith("%") for line in comments)


@pytest.mark.parametrize("name", ["plain", "Grüße", "模型", "a b", "α→β"])
def test_harmless_text_stays_as_it_is(name: str) -> None:
    assert escape.visible(name) == name
    assert escape.spreadsheet(name) == name
    assert Text(escape.visible(name)).plain == name


def test_render_writes_a_whole_file_and_notes_go_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "board.json"
    board = board_of(None)
    render_boards([board], "json", out)
    said = capsys.readouterr()
    assert said.out == ""
    assert "Feature Extractor: no rounding" in said.err
    assert len(json.loads(out.read_text())["rows"]) == 15
    assert list(out.parent.iterdir()) == [out]


def test_terminal_json_and_markdown_import_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from decathlon.scoring.board import board_of;"
        "from decathlon.scoring.render.dispatch import text_of;"
        "[text_of(board_of(None), f) for f in ('table', 'json', 'markdown', 'latex')];"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
