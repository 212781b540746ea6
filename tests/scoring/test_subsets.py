"""Subsets of the training images: groups of the board, draws as repetitions, figures."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from decathlon.common.errors import ResultError, UsageError
from decathlon.common.files import write_json
from decathlon.results.records import find_records, read_record
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import board_of
from decathlon.scoring.columns import headings_of, label_in_group
from decathlon.scoring.compare import compare
from decathlon.scoring.entries import read_entries
from decathlon.scoring.figures import amounts, policies
from decathlon.scoring.figures.plot import plot
from decathlon.scoring.render.dispatch import text_of
from tests.scoring.making import FINE_GRAINED, fine_grained
from tests.scoring.render.browser import CHROMIUM, browser

SIZES = ("", "25pct", "10shot")


@pytest.fixture
def parts(results: Path) -> Path:
    """Two names on two domains, on all images and on two subsets, one of three draws."""
    for name, more in (("fine-tuning", 0.0), ("mine", 2.0)):
        fine_grained(results, name, {"cubs": 80 + more, "wikiart": 70 + more})
        fine_grained(results, name, {"cubs": 60 + more, "wikiart": 50 + more}, subset="25pct")
        for draw in range(3):
            subset = f"10shot.d{draw}" if draw else "10shot"
            percent = {"cubs": 40 + more + draw, "wikiart": 30 + more}
            fine_grained(results, name, percent, spread=draw, subset=subset)
    return results


def test_subsets_are_groups_and_draws_are_averaged(parts: Path) -> None:
    board = board_of(parts, suite=FINE_GRAINED)
    runs = [row.label for row in board.rows if row.kind == "run"]
    assert runs == [
        "mine", "fine-tuning", "mine [25pct]", "fine-tuning [25pct]", "mine [10shot]",
        "fine-tuning [10shot]",
    ]  # fmt: skip
    rows = {row.label: row for row in board.rows if row.kind == "run"}
    few = rows["mine [10shot]"]
    assert few.accuracy["cubs"] == pytest.approx(43, abs=0.02)  # the mean of 42, 43 and 44
    assert (few.seeds, few.draws, few.num_repetitions) == ((0,), (0, 1, 2), 3)
    assert few.versus is not None
    assert few.versus.baseline == "fine-tuning [10shot]"
    for size in SIZES:
        label = f"mine [{size}]" if size else "mine"
        assert rows[label].difference == pytest.approx(2, abs=0.02)
        # Only rows of the same subset have ranks and marks among each other.
        assert rows[label].mean_rank is not None
        assert rows[label].subset == size
    text = "10 images per class: means over 1 seed x 3 draws of the images (0, 1, 2)."
    assert text in board.notes
    # Sorting keeps the groups.
    turned = arrange(board, sort="-label", kind="run")
    assert [row.subset for row in turned.rows] == [size for size in SIZES for _ in range(2)]


def test_published_subsets_stand_in_their_group_when_it_is_there(parts: Path) -> None:
    board = board_of(parts, suite=FINE_GRAINED)
    group = [(row.label, row.kind) for row in board.rows if row.subset == "25pct"]
    assert group[:2] == [("SpotTune", "published"), ("Fine-tuning ResNet-101", "published")]
    assert not any(row.subset == "10pct" for row in board.rows)
    everything = board_of(parts, suite=FINE_GRAINED, all_rows=True)
    assert [row.subset for row in everything.rows if row.accuracy["wikiart"] == 49.59] == ["10pct"]
    assert headings_of(board) == {
        0: "all training images",
        15: "25 % of the training images",
        19: "10 images per class",
    }
    assert headings_of(board_of(None, suite=FINE_GRAINED)) == {}


def test_on_a_terminal_labels_leave_out_the_subset_of_their_heading(parts: Path) -> None:
    for epochs in (1, 2):
        more = {"subset": "25pct", "recipe": {"epochs": epochs}, "seed": epochs}
        fine_grained(parts, "twice", {"cubs": 70.0 + epochs}, **more)
    board = board_of(parts, suite=FINE_GRAINED)
    assert [label_in_group(row) for row in board.rows if row.kind == "run"] == [
        "mine", "fine-tuning",
        "mine", "fine-tuning", "twice [epochs 2]", "twice [epochs 1]",
        "mine", "fine-tuning",
    ]  # fmt: skip
    table, _, notes = text_of(board, "table").partition("Bold is best")
    assert "[25pct" not in table
    assert "[25pct" in notes
    assert "mine \\[25pct\\]" in text_of(board, "markdown")


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "html"])
def test_every_group_has_a_heading(parts: Path, form: str) -> None:
    text = text_of(board_of(parts, suite=FINE_GRAINED), form).partition(r"\begin{tabular}")
    text = text[2] or text[0]  # in LaTeX the notes come first
    places = [text.index(words) for words in ("all training images", "mine", "10 images per class")]
    assert places == sorted(places)


def test_missing_draws_are_named(parts: Path) -> None:
    fine_grained(parts, "other", {"cubs": 40}, subset="10shot.d2")
    notes = board_of(parts, suite=FINE_GRAINED).notes
    (note,) = (note for note in notes if note.startswith("10 images per class"))
    assert "1 seed x 1 draw of the images (2) in other [10shot]" in note
    for path in find_records(parts):
        if (record := read_record(path)).subset == "10shot.d1" and record.domain == "cubs":
            path.unlink()
    notes = board_of(parts, suite=FINE_GRAINED).notes
    assert "mine [10shot]: seed 0 of draw 1 lacks domains that others have (cubs)" in "".join(notes)


def test_comparisons_of_different_subsets_say_so(parts: Path) -> None:
    same = compare("mine", "fine-tuning", parts)
    assert not any("different numbers of images" in note for note in same.notes)
    found = compare("mine [25pct]", "fine-tuning", parts)
    assert (
        "They were trained on different numbers of images: mine [25pct] on 25 % of the training"
        " images, fine-tuning on all training images." in found.notes
    )
    with pytest.raises(UsageError, match=r"mine \[25pct\]"):
        compare("mine [2pct]", "fine-tuning", parts)


def texts(path: Path) -> list[str]:
    return [e.text or "" for e in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_accuracy_is_drawn_over_the_number_of_images(parts: Path, tmp_path: Path) -> None:
    entries = list(read_entries(parts, "test", FINE_GRAINED).values())
    (base, mine) = sorted(amounts.lines_of(entries, FINE_GRAINED), key=lambda line: line.label)
    assert (base.label, mine.label) == ("fine-tuning", "mine")
    # 5994 images of 200 classes, of which a quarter and ten a class.
    assert [point.images for point in mine.points["cubs"]] == [1498, 2000, 5994]
    assert [round(p.accuracy) for p in mine.points["cubs"]] == [62, 43, 82]
    assert [len(point.each) for point in mine.points["cubs"]] == [1, 3, 1]
    fine_grained(parts, "mine", {"cubs": 20.0}, subset="1shot", num_trained=199)
    plot("data", parts, tmp_path / "x.svg")
    said = texts(tmp_path / "x.svg")
    assert {"CUBS", "WikiArt", "mine", "training images", "SpotTune, published"} <= set(said)
    entries = list(read_entries(parts, "test", FINE_GRAINED).values())
    lines = amounts.lines_of(entries, FINE_GRAINED)
    (points,) = (line.points["cubs"] for line in lines if line.label == "mine")
    assert [point.images for point in points] == [199, 1498, 2000, 5994]


def test_setups_are_lines_of_their_own(parts: Path) -> None:
    for subset in ("", "25pct"):
        more = {"subset": subset, "recipe": {"epochs": 2}, "seed": 1}
        fine_grained(parts, "mine", {"cubs": 70.0}, **more)
    entries = list(read_entries(parts, "test", FINE_GRAINED).values())
    lines = {line.label: line for line in amounts.lines_of(entries, FINE_GRAINED)}
    assert set(lines) == {"fine-tuning", "mine [epochs 1]", "mine [epochs 2]"}
    assert len(lines["mine [epochs 2]"].points["cubs"]) == 2


def test_nothing_to_draw_is_one_message(results: Path, tmp_path: Path) -> None:
    fine_grained(results, "mine", {"cubs": 70.0})
    with pytest.raises(ResultError, match="run some with --shots K or --fraction F"):
        plot("data", results, tmp_path / "x.svg")


def test_stages_of_the_network_are_parted(results: Path, tmp_path: Path) -> None:
    network = {"name": "resnet50", "blocks": [3, 4, 6, 3]}
    fine_grained(results, "spottune", {"cubs": 80.0, "flowers": 90.0}, network=network)
    for domain in ("cubs", "flowers"):
        folder = results / "spottune" / domain / "test" / "seed0"
        total = json.loads((folder / "record.json").read_text())["total"]
        images = (["0110" * 4, "1111" * 4] * total)[:total]
        write_json(folder / "routing.json", {"blocks": 16, "images": images})
    (entry,) = read_entries(results, "test", FINE_GRAINED).values()
    assert policies.stages_of(entry, 16) == [(1, 3), (2, 4), (3, 6), (4, 3)]
    # Where the first blocks are not routed, the routed ones are the last.
    assert policies.stages_of(entry, 8) == [(3, 5), (4, 3)]
    assert policies.stages_of(entry, 17) == []
    plot("policy", results, tmp_path / "x.svg")
    said = texts(tmp_path / "x.svg")
    assert {"stage 1", "stage 4", "CUBS", "Flowers", "50", "100", "16"} <= set(said)
    plot("usage", results, tmp_path / "y.svg")
    assert {"CUBS", "Flowers", "images"} <= set(texts(tmp_path / "y.svg"))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_page_sorts_and_hides_within_groups(parts: Path, tmp_path: Path) -> None:
    path = tmp_path / "board.html"
    path.write_text(text_of(board_of(parts, suite=FINE_GRAINED), "html"), encoding="utf-8")
    names = "[...document.querySelectorAll('#board tbody tr')].filter(r => r.offsetParent)"
    names += ".map(r => r.cells[0].textContent.trim().split('mean')[0])"
    with browser(tmp_path / "browser") as page:
        page.open(path)
        page.run("document.querySelector('input[value=run]').click()")
        page.run("document.querySelector('#board thead button').click()")
        assert page.run(names) == [
            "all training images", "fine-tuning", "mine",
            "25 % of the training images", "fine-tuning [25pct]", "mine [25pct]",
            "10 images per class", "fine-tuning [10shot]", "mine [10shot]",
        ]  # fmt: skip
        page.run(
            "search.value = '25pct'; search.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        assert page.run(names)[0] == "25 % of the training images"
        assert page.complaints() == []
