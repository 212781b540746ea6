"""A suite of another package, without a score, goes through scoring as the built-in one does."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from decathlon.common.errors import UsageError
from decathlon.results.published import packaged
from decathlon.results.records import write_record
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import board_of
from decathlon.scoring.columns import columns_of
from decathlon.scoring.compare import compare
from decathlon.scoring.figures.plot import plot
from decathlon.scoring.submit import submit
from decathlon.suites import registry
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.making import bits_with, everywhere, make_record

PACKAGE = """
from decathlon.suites.base import Domain, Suite, View, Views

VIEWS = Views.of(View(32))
DOMAINS = {
    name: Domain(name, column, "", 10, (80, 20, 50), (0.5,) * 3, (0.5,) * 3, VIEWS)
    for name, column in (("cats", "Cats"), ("dogs", "Dogs"))
}
PETS = Suite("pets", "Two Pets", "", DOMAINS, 32, VIEWS, table="Table 9")
"""
ROW = {
    "label": "Petting",
    "method": None,
    "year": 2020,
    "params_ratio": 2.0,
    "accuracy": {"cats": 50.0, "dogs": 60.0},
    "score_printed": None,
    "table": "Table 9",
    "row": 1,
    "source": "A paper that was never written.",
}


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages that has the suite's, found by its entry point."""
    folder = tmp_path / "site"
    info = folder / "pets-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[decathlon.suites]\npets = pets:PETS\n")
    (folder / "pets.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(folder)
    registry.registered.cache_clear()
    yield folder
    registry.registered.cache_clear()
    sys.modules.pop("pets", None)


@pytest.fixture
def pets(results: Path) -> Path:
    """Records of two methods; ``mine`` has the greater mean accuracy, but not everywhere."""
    for name, right in (("fine-tuning", (30, 40)), ("mine", (45, 35))):
        for domain, correct in zip(("cats", "dogs"), right, strict=True):
            bits = bits_with(correct, 50)
            write_record(results, make_record(name, domain, bits, suite="pets", num_classes=10))
    return results


def decathlon(site: Path, *arguments: str | Path, code: int = 0) -> str:
    env = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "120"}
    command = [sys.executable, "-m", "decathlon", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def test_table_json_and_page_have_accuracies_and_no_scores(site: Path, pets: Path) -> None:
    lines = decathlon(site, "score", pets).splitlines()
    assert lines[0] == "Two Pets, test split"
    (heading,) = (line for line in lines if "#par" in line)
    assert heading.split()[:4] == ["#par", "Cats", "Dogs", "mean"]
    rows = [line.split() for line in lines if line.startswith(("mine", "fine-tuning"))]
    assert [row[0] for row in rows] == ["mine", "fine-tuning"]
    assert rows[0][3:6] == ["90.00", "70.00", "80.00"]

    value = json.loads(decathlon(site, "score", pets, "--format", "json"))
    assert (value["suite"], value["split"]) == ("pets", "test")
    assert [row["label"] for row in value["rows"]] == ["mine", "fine-tuning"]
    assert [row["mean_accuracy"] for row in value["rows"]] == pytest.approx([80, 70])
    assert {row[key] for row in value["rows"] for key in ("score", "score_printed")} == {None}

    page = decathlon(site, "score", pets, "--format", "html", "--baseline", "fine-tuning")
    assert "<title>Two Pets, test split</title>" in page
    assert "Mean accuracy against the number of parameters" in page
    assert "relative to fine-tuning" in page
    for text in (*lines, page):
        assert "E_max" not in text
        assert "official" not in text.replace("official data", "")
        assert "Decathlon" not in text


def test_columns_of_scores_are_absent(pets: Path) -> None:
    board = board_of(pets)
    for key in ("score", "printed", "ci", "range", "slopes"):
        with pytest.raises(UsageError, match=f"unknown column '{key}'"):
            columns_of(board, [key])
    with pytest.raises(UsageError, match="cannot sort by 'score'"):
        arrange(board, sort="score")
    assert [row.label for row in arrange(board, sort="-mean").rows] == ["fine-tuning", "mine"]


def test_number_of_parameters_counts_the_suites_domains(pets: Path) -> None:
    # Each of two domains has half a network of its own, beside the source.
    assert {row.params_ratio for row in board_of(pets).rows} == {2.0}


def test_comparisons_are_of_the_mean(pets: Path, site: Path) -> None:
    found = compare("mine", "fine-tuning", pets)
    assert list(found.accuracy) == ["cats", "dogs"]
    assert found.score.difference == pytest.approx(10)
    assert found.score.ci[0] < 10 < found.score.ci[1]
    text = decathlon(site, "compare", "mine", "fine-tuning", pets)
    assert any(line.split()[:2] == ["mean", "80.00"] for line in text.splitlines())
    value = json.loads(decathlon(site, "compare", "mine", "fine-tuning", pets, "--format", "json"))
    assert (value["score"], value["mean_accuracy"]["a"]) == (None, 80.0)


def test_figures_and_no_submission(pets: Path, site: Path, tmp_path: Path) -> None:
    plot("tradeoff", pets, tmp_path / "x.svg")
    assert "Mean accuracy, test split" in (tmp_path / "x.svg").read_text()
    plot("domains", pets, tmp_path / "y.svg")
    assert ">Cats<" in (tmp_path / "y.svg").read_text()
    with pytest.raises(UsageError, match="Two Pets has no official format of submissions"):
        submit(pets, "mine", tmp_path / "x.zip")
    (tmp_path / "results.json").write_text("[]")
    command = ("evaluate", tmp_path / "results.json", "--labels", tmp_path, "--suite", "pets")
    assert "Two Pets has no official format" in decathlon(site, *command, code=2)


def test_own_published_rows_stand_beside_official_data_only(pets: Path) -> None:
    folder = pets / "published" / "pets"
    folder.mkdir(parents=True)
    (folder / "row.json").write_text(json.dumps(ROW))
    assert [row.label for row in board_of(pets).rows] == ["Petting", "mine", "fine-tuning"]
    (row, *_) = board_of(pets, baseline="mine").rows
    assert (row.label, row.mean_accuracy, row.score, row.consistent) == ("Petting", 55, None, None)
    bits = bits_with(3, 7)
    write_record(pets, make_record("own", "cats", bits, suite="pets", official=False, seed=1))
    shutil.rmtree(pets / "mine")
    shutil.rmtree(pets / "fine-tuning")
    board = board_of(pets)
    assert [row.label for row in board.rows] == ["own"]
    assert any("published rows do not compare with it" in note for note in board.notes)
    (folder / "row.json").write_text(json.dumps(ROW | {"accuracy": {"dtd": 50.0}}))
    with pytest.raises(Exception, match="unknown domain 'dtd'"):
        board_of(pets)


def test_a_table_for_each_suite_of_a_folder(site: Path, pets: Path, tmp_path: Path) -> None:
    for domain, (right, total) in everywhere(90, 100).items():
        size = SUITE.domains[domain].sizes[2]
        write_record(pets, make_record("both", domain, bits_with(right * size // total, size)))
    text = decathlon(site, "score", pets)
    titles = ["Visual Decathlon, test split, official E_max", "Two Pets, test split"]
    assert [line for line in text.splitlines() if line in titles] == titles
    found = json.loads(decathlon(site, "score", pets, "--format", "json"))
    assert [board["suite"] for board in found] == ["visual-decathlon", "pets"]
    assert [len(board["rows"]) for board in found] == [16, 2]
    one = json.loads(decathlon(site, "score", pets, "--format", "json", "--suite", "pets"))
    assert one == found[1]
    rows = decathlon(site, "score", pets, "--format", "csv", "--suite", "pets").splitlines()
    assert {"cats", "mean_accuracy"} <= set(rows[0].split(","))
    assert not {"score", "score_printed", "consistent", "ci_low", "dtd"} & set(rows[0].split(","))
    assert "add --suite visual-decathlon or pets" in decathlon(
        site, "score", pets, "--format", "html", code=2
    )
    with pytest.raises(UsageError, match="records of visual-decathlon and pets; choose one"):
        compare("mine", "fine-tuning", pets)
    decathlon(site, "compare", "mine", "fine-tuning", pets, "--suite", "pets")
    everything = json.loads(
        decathlon(site, "score", tmp_path / "results", "--suite", "all", "--format", "json")
    )
    assert {"visual-decathlon", "pets"} <= {board["suite"] for board in everything}


def test_a_suite_that_is_not_installed_is_named(site: Path, pets: Path) -> None:
    shutil.rmtree(site / "pets-1.0.dist-info")
    assert "unknown suite 'pets'" in decathlon(site, "score", pets, code=2)
    assert "unknown suite 'nets'" in decathlon(site, "score", pets, "--suite", "nets", code=2)
    assert "SpotTune" in decathlon(site, "score", pets, "--suite", "visual-decathlon")


def test_rows_in_the_folder_of_their_suite_or_above_it(results: Path) -> None:
    """Earlier versions had the only suite's rows directly in ``published``."""
    own = results / "published"
    own.mkdir()
    assert board_of(results).rows == ()
    shutil.copy(packaged() / "dan.json", own)
    assert [row.label for row in board_of(results).rows] == ["DAN"]
    (own / "pets").mkdir()
    (own / "pets" / "row.json").write_text(json.dumps(ROW))
    assert [row.label for row in board_of(results).rows] == ["DAN"]
    (own / SUITE.name).mkdir()
    shutil.copy(packaged() / "lwf.json", own / SUITE.name)
    assert [row.label for row in board_of(results).rows] == ["LwF"]
    assert [r.label for r in board_of(results, suite=registry.find("pets")).rows] == ["Petting"]


def test_labels_to_check_against_are_those_of_the_suite(
    site: Path, pets: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for first, name in enumerate(("cats", "dogs")):
        ids = range(1000 * first, 1000 * first + 50)
        value = {
            "images": [{"id": i} for i in ids],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1000 * first + i % 10} for i in ids
            ],
            "categories": [{"id": 1000 * first + k} for k in range(10)],
        }
        (labels / f"{name}_test.json").write_text(json.dumps(value))
        for method in ("fine-tuning", "mine"):
            folder = pets / method / name / "test" / "seed0"
            # As many images are right as the record says, but not the same ones.
            right = json.loads((folder / "record.json").read_text())["correct"]
            rows = [{"image_id": i, "category_id": 1000 * first + i % 10} for i in ids]
            for row in rows[right:]:
                row["category_id"] = 1000 * first + (row["category_id"] + 1) % 10
            (folder / "predictions.json").write_text(json.dumps(rows))
    said = decathlon(site, "score", pets, "--labels", labels, code=4)
    assert "correctness" in said
    said = decathlon(site, "compare", "mine", "fine-tuning", pets, "--labels", labels, code=4)
    assert "correctness" in said
