"""The board as a picture, and the pictures of the README."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from decathlon.common.text import visible
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import board_of
from decathlon.scoring.render.dispatch import text_of
from decathlon.scoring.render.svg import to_svg

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    """The lines of a picture, with a space between the pieces of a line."""
    lines: dict[str, str] = {}
    for piece in ElementTree.fromstring(picture).iter(f"{SVG}text"):
        text = (piece.text or "").replace("\xa0", " ")
        lines[piece.get("y", "")] = f"{lines.get(piece.get('y', ''), '')} {text}"
    return [re.sub(r"\s+", " ", line).strip() for line in lines.values()]


@pytest.mark.parametrize(("name", "form"), [("light", "svg"), ("dark", "svg-dark")])
def test_pictures_of_the_readme_are_what_the_program_draws(
    name: str, form: str, tmp_path: Path
) -> None:
    board = arrange(board_of(tmp_path), kind="published")
    kept = (ROOT / "docs" / "images" / f"board-{name}.svg").read_bytes()
    assert text_of(board, form).encode() == kept, "run 'make picture', and look at the result"


def test_a_picture_says_what_the_table_says(tmp_path: Path) -> None:
    board = board_of(tmp_path)
    shown = texts(to_svg(board))
    assert shown[0] == "Visual Decathlon, test split, official E_max"
    spottune = "SpotTune 11x 60.3 63.9 80.5 96.5 57.1 99.5 85.2 88.8 96.7 52.3 3612 3612"
    assert spottune in shown
    assert len([line for line in shown if re.search(r"\d\d\.\d", line)]) == len(board.rows)
    assert any(line.startswith("S is computed, Score is as printed") for line in shown)


def test_chosen_columns_are_shown(tmp_path: Path) -> None:
    shown = texts(to_svg(board_of(tmp_path), ["score", "dtd"]))
    assert shown[2:4] == ["S DTD", "─" * 39]
    assert "SpotTune 3612.2 57.13" in shown


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_needs_nothing_but_itself(tmp_path: Path, dark: bool) -> None:
    picture = to_svg(board_of(tmp_path), dark=dark)
    assert re.findall(r"\w+://[^\"']*", picture) == ["http://www.w3.org/2000/svg"]
    for word in ("@font-face", "@import", "<script", "<image", "<foreignObject", "href", " on"):
        assert word not in picture.replace("&#160;", "")
    known = set(re.findall(r'id="([^"]+)"', picture))
    assert set(re.findall(r"url\(#([^)]+)\)", picture)) - known <= {f"board-line-{len(known)}"}


def test_pieces_keep_their_places_in_every_font(tmp_path: Path) -> None:
    """Each has a length of its own, and ends before the next one of its line begins."""
    ends: dict[str, float] = {}
    for piece in ElementTree.fromstring(to_svg(board_of(tmp_path))).iter(f"{SVG}text"):
        if not (piece.text or "").strip():
            continue
        x, line = float(piece.get("x", "")), piece.get("y", "")
        assert x >= ends.get(line, 0.0) - 0.01
        ends[line] = x + float(piece.get("textLength", ""))
    width = float(ElementTree.fromstring(to_svg(board_of(tmp_path))).get("viewBox", "").split()[2])
    assert max(ends.values()) <= width


def test_names_are_text_and_no_markup(tmp_path: Path) -> None:
    from dataclasses import replace

    board = board_of(tmp_path)
    evil = "<script>{x}&\x1b[1m"
    rows = [replace(row, label=evil) for row in board.rows[:1]]
    suite = replace(board.suite, title=evil)
    shown = texts(to_svg(replace(board, rows=rows, suite=suite)))
    assert shown[0].startswith(visible(evil))
    assert any(line.startswith(visible(evil)) for line in shown[1:])
