"""The fine-grained suite: Table 2, means, and differences to a baseline on the same images."""

import csv
import io
import json
from pathlib import Path

import pytest

from decathlon.common.errors import UsageError
from decathlon.results.records import Parameters
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.columns import cells, columns_of, default_keys
from decathlon.scoring.compare import compare
from decathlon.scoring.notes import difference_note
from decathlon.scoring.render.dispatch import FORMATS, text_of
from decathlon.scoring.rows import Row
from tests.scoring.making import FINE_GRAINED, UNIT, fine_grained

FULL = dict(zip(FINE_GRAINED.domains, (80.0, 88.0, 92.0, 70.0, 76.0), strict=True))
"""Of mean 81.2."""


def row_of(board: Board, label: str) -> Row:
    return next(row for row in board.rows if row.label == label and row.kind == "run")


def column(board: Board, key: str) -> dict[str, tuple[str, str]]:
    """Text and mark of each row in a column."""
    found = cells(board, columns_of(board, [key]))
    return {
        row.label: (cell.text, cell.mark) for row, (cell,) in zip(board.rows, found, strict=True)
    }


def test_table_2_is_regenerated_with_its_best_rows_marked() -> None:
    board = board_of(None, suite=FINE_GRAINED)
    assert [row.label for row in board.rows[:3]] == [
        "Feature Extractor",
        "Standard Fine-tuning",
        "Stochastic Fine-tuning",
    ]
    assert len(board.rows) == 13
    headings = [c.heading for c in columns_of(board, default_keys(board))]
    assert headings == ["CUBS", "Stanford Cars", "Flowers", "WikiArt", "Sketches", "mean"]
    # As the paper says of its table: SpotTune leads but for Flowers and, to ResNet-101, WikiArt.
    assert column(board, "flowers")["SpotTune (Global-k)"] == ("96.60", "best")
    assert column(board, "flowers")["SpotTune"] == ("96.34", "second")
    assert column(board, "wikiart")["Fine-tuning ResNet-101"] == ("76.52", "best")
    assert column(board, "mean")["SpotTune"] == ("85.75", "best")
    assert r"\textbf{84.03}" in text_of(board, "latex")


def test_the_difference_of_the_mean_is_paired_and_over_common_domains(results: Path) -> None:
    fine_grained(results, "fine-tuning", FULL)
    fine_grained(results, "mine", {d: a + 1 for d, a in FULL.items()})
    fine_grained(results, "partial", {d: FULL[d] - 1 for d in ("cubs", "flowers")}, spread=3)
    board = board_of(results, suite=FINE_GRAINED)
    assert board.baseline == "fine-tuning"
    mine, partial = row_of(board, "mine"), row_of(board, "partial")
    pair = compare("mine", "fine-tuning", results).score
    assert mine.versus is not None
    assert mine.versus.mean == pair
    assert pair.difference == pytest.approx(1, abs=0.02)
    # The images that fine-tuning gets right are among mine's, as the draw of both is the same.
    assert 0.8 < pair.ci[0] < pair.ci[1] < 1.2
    assert partial.versus is not None
    assert partial.versus.domains == ("cubs", "flowers")
    assert partial.difference == pytest.approx(-1, abs=0.02)
    assert row_of(board, "fine-tuning").versus is None
    # A mean over two sets is no rival of one over five, though it is greater.
    assert column(board, "mean")["partial"] == ("85.00 (2)", "")
    assert column(board, "diff")["partial"] == ("-1.00 (2)", "")
    assert [row.label for row in board.rows if row.kind == "run"][-1] == "partial"
    assert [row.label for row in arrange(board, sort="diff").rows][:2] == ["mine", "partial"]
    assert any("accuracy points" in note for note in compare("mine", "partial", results).notes)


def test_another_baseline_and_none(results: Path) -> None:
    fine_grained(results, "first", FULL)
    fine_grained(results, "second", {d: a - 2 for d, a in FULL.items()})
    board = board_of(results, suite=FINE_GRAINED)
    assert board.baseline is None
    assert "diff" not in default_keys(board)
    board = board_of(results, baseline="first", suite=FINE_GRAINED)
    assert row_of(board, "second").difference == pytest.approx(-2, abs=0.02)
    with pytest.raises(UsageError, match="baseline 'frist', did you mean 'first'"):
        board_of(results, baseline="frist", suite=FINE_GRAINED)


def test_the_baseline_is_of_the_same_source_and_crop(results: Path) -> None:
    for seed, source in enumerate(("a" * 64, "b" * 64)):
        for name, more in (("fine-tuning", 0), ("mine", 1)):
            percent = {"cubs": 60 + 5 * seed + more}
            fine_grained(results, name, percent, source=source, seed=seed)
    board = board_of(results, suite=FINE_GRAINED)
    for digest in ("aaaaaa", "bbbbbb"):
        row = row_of(board, f"mine [source {digest}]")
        assert row.versus is not None
        assert row.versus.baseline == f"fine-tuning [source {digest}]"
        assert row.difference == pytest.approx(1, abs=0.02)
    fine_grained(results, "fine-tuning", {"cubs": 70}, source="a" * 64, seed=9, crop="box")
    board = board_of(results, suite=FINE_GRAINED)
    row = row_of(board, "mine [source aaaaaa]")
    assert row.versus is not None
    assert "crop image" in row.versus.baseline
    assert any(note.startswith("cubs: images are cut from: ") for note in board.notes)
    fine_grained(results, "fine-tuning", {"cubs": 70}, source="a" * 64, seed=8, recipe={"x": 1})
    notes = board_of(results, suite=FINE_GRAINED).notes
    assert (
        "Several runs of fine-tuning could be the baseline of mine [source aaaaaa]: name one with"
        " --baseline." in notes
    )


def test_rows_whose_only_baseline_has_another_source_or_crop_are_named(results: Path) -> None:
    fine_grained(results, "fine-tuning", FULL, source="a" * 64)
    fine_grained(results, "alike", FULL, source="a" * 64)
    fine_grained(results, "scratch", FULL)
    bits = Parameters(source=0, shared=0, domain=2 * UNIT, head=9, unit=2 * UNIT)
    fine_grained(results, "wide-scratch", FULL, parameters=bits)
    fine_grained(results, "resnet101", FULL, source="b" * 64)
    fine_grained(results, "squeezed", FULL, source="a" * 64, crop="box")
    board = board_of(results, suite=FINE_GRAINED)
    assert all(row_of(board, name).versus for name in ("resnet101", "squeezed", "scratch"))
    note = difference_note(board.rows)
    assert note is not None
    assert note.endswith(
        "The baseline has another crop than squeezed and another source network than resnet101,"
        " wide-scratch, so the difference may be due to that."
    )
    for form in ("table", "markdown", "latex", "html"):
        assert "another source network than resnet101" in text_of(board, form)


def test_every_format_has_the_difference(results: Path) -> None:
    fine_grained(results, "fine-tuning", FULL)
    fine_grained(results, "mine", {d: a + 1 for d, a in FULL.items()})
    board = board_of(results, suite=FINE_GRAINED)
    found = {form: text_of(board, form) for form in FORMATS}
    for form in ("table", "markdown", "latex", "html"):
        assert "vs. baseline" in found[form]
        assert "+1.0" in found[form]
        assert "minus that of fine-tuning, on the same test images" in found[form]
    value = json.loads(found["json"])
    assert (value["schema"], value["suite"], value["baseline"]) == (
        1,
        "fine-grained",
        "fine-tuning",
    )
    mine = next(row for row in value["rows"] if row["label"] == "mine")
    assert mine["mean"] == mine["mean_accuracy"] == pytest.approx(82.2, abs=0.02)
    assert mine["accuracy"]["cubs"] == pytest.approx(81, abs=0.02)
    assert mine["difference"]["baseline"] == "fine-tuning"
    assert mine["difference"]["domains"] == list(FINE_GRAINED.domains)
    assert mine["difference"]["difference"] == pytest.approx(1, abs=0.02)
    low, high = mine["difference"]["ci"]
    line = next(row for row in csv.DictReader(io.StringIO(found["csv"])) if row["label"] == "mine")
    assert (float(line["difference_low"]), float(line["difference_high"])) == (low, high)
    assert {row["difference"] for row in value["rows"] if row["kind"] == "published"} == {None}
