"""The literature's rows: what they say, and the audit of their scores."""

import csv
import json
import re
import shutil
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

from decathlon.common.errors import ResultError
from decathlon.method.registry import registered
from decathlon.results.published import packaged, published_rows, read_published
from decathlon.scoring import rounding
from decathlon.scoring.board import board_of
from decathlon.suites.base import Suite
from decathlon.suites.fine_grained import SUITE as FINE_GRAINED
from decathlon.suites.visual_decathlon import BASELINE, DOMAINS, SCORE, SUITE

ROOT = Path(__file__).parents[2]

# Recomputed from the printed accuracies by hand-checked arithmetic in exact fractions.
RECOMPUTED = {
    "Scratch": 1626.7,
    "Scratch+": 1826.7,
    "Feature Extractor": 646.6,
    "Fine-tuning": 3115.7,
    "BN Adapt.": 1361.6,
    "LwF": 2517.2,
    "Series Res. adapt.": 3158.2,
    "Parallel Res. adapt.": 3412.3,
    "Res. adapt. (large)": 3131.1,
    "Res. adapt. decay": 2621.3,
    "Res. adapt. finetune all": 2644.0,
    "DAN": 2853.4,
    "PiggyBack": 2840.2,
    "SpotTune (Global-k)": 3410.6,
    "SpotTune": 3612.2,
}


def test_table_3_has_the_papers_rows_in_its_order() -> None:
    rows = [row for row in published_rows() if row.table == SUITE.table]
    assert [row.label for row in rows] == list(RECOMPUTED)
    assert [row.row for row in rows] == list(range(1, 16))


def test_each_score_of_table_3_is_recomputed() -> None:
    for row in board_of(None).rows:
        assert row.score == pytest.approx(RECOMPUTED[row.label], abs=0.05)
        assert row.missing == ()


def test_audit_finds_the_four_rows_that_no_rounding_explains() -> None:
    wrong = {row.label for row in board_of(None).rows if not row.consistent}
    assert wrong == {"Feature Extractor", "Fine-tuning", "BN Adapt.", "SpotTune (Global-k)"}


def test_fine_tuning_is_consistent_with_the_aircraft_accuracy_of_mtan() -> None:
    row = next(row for row in published_rows() if row.label == "Fine-tuning")
    mended = row.accuracy | {"aircraft": 60.34}
    assert rounding.consistent(3096, rounding.score_range(mended, SCORE.e_max))


def test_score_range_holds_the_extremes_of_all_roundings() -> None:
    accuracy = {"dtd": 57.13, "svhn": 96.72}
    low, high = rounding.score_range(accuracy, SCORE.e_max)
    half = Fraction(1, 20_000)
    corners = []
    for ends in product((-1, 1), repeat=4):
        score = Fraction(0)
        for (name, percent), e, m in zip(accuracy.items(), ends[:2], ends[2:], strict=True):
            limit = 2 * (1 - Fraction(str(BASELINE[name])) / 100) + 2 * m * half
            error = 1 - Fraction(str(percent)) / 100 + e * half
            score += 1000 * (1 - error / limit) ** 2
        corners.append(float(score))
    assert (low, high) == (pytest.approx(min(corners)), pytest.approx(max(corners)))


def test_score_only_rows_and_missing_domains() -> None:
    rows = {row.label: row for row in board_of(None, all_rows=True).rows}
    only = rows["Depthwise soft sharing"]
    assert (only.score, only.score_printed, only.consistent) == (None, 3507, None)
    partial = rows["SpotTune (startune)"]
    assert partial.missing == ("imagenet12",)
    assert partial.score == pytest.approx(3409.3, abs=0.05)
    assert len(rows) == 25


def test_every_row_cites_where_it_was_read_and_no_file() -> None:
    for row in published_rows():
        assert len(row.source) > 30
        assert not re.search(r"/(work|tmp|home)/|\.txt", row.source)


def test_rows_equal_the_papers_text() -> None:
    papers = list((ROOT.parent / "shared" / "paper").glob("*.txt"))
    if not papers:
        pytest.skip("the paper's text is not at ../shared/paper")
    lines = papers[0].read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("#par\tImNet"))
    printed = [line.split("\t") for line in lines[start + 1 : start + 16]]
    rows = [row for row in published_rows() if row.table == SUITE.table]
    for row, (label, par, *numbers, score) in zip(rows, printed, strict=True):
        assert row.label == re.sub(r" \[\d+\]$", "", label)
        assert row.params_ratio == float(par.rstrip("x"))
        assert [row.accuracy[name] for name in DOMAINS] == [float(n) for n in numbers]
        assert row.score_printed == float(score)


def test_table_2_equals_the_papers_text() -> None:
    papers = list((ROOT.parent / "shared" / "paper").glob("*.txt"))
    if not papers:
        pytest.skip("the paper's text is not at ../shared/paper")
    lines = papers[0].read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Model\tCUBS"))
    rows = [row for row in published_rows(suite=FINE_GRAINED) if row.table == FINE_GRAINED.table]
    printed = [line.split("\t") for line in lines[start + 1 : start + 1 + len(rows)]]
    for row, (label, *numbers) in zip(rows, printed, strict=True):
        plain = {"L^2 -SP": "L2-SP"}.get(label, label)
        assert row.label.casefold() == plain.casefold()
        accuracy = [row.accuracy[name] for name in FINE_GRAINED.domains]
        assert accuracy == [float(n.rstrip("% ")) for n in numbers]


def test_all_rows_equal_the_collected_numbers() -> None:
    table = ROOT.parent / "shared" / "published_results.csv"
    if not table.exists():
        pytest.skip("the printed numbers are not at ../shared/published_results.csv")
    with table.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    columns = ["imnet", "airc", "c100", "dped", "dtd", "gtsr", "flwr", "oglt", "svhn", "ucf"]

    def number(text: str) -> float | None:
        return float(text) if text else None

    collected = [
        (number(line["params_x"]), number(line["score"]), *(number(line[c]) for c in columns))
        for line in lines
    ]
    ours = [
        (row.params_ratio, row.score_printed, *(row.accuracy.get(name) for name in DOMAINS))
        for row in published_rows()
    ]
    assert sorted(ours, key=repr) == sorted(collected, key=repr)
    baseline = next(row for row in published_rows() if row.label == "Fine-tuning (defines E_max)")
    assert baseline.accuracy == BASELINE


def test_table_2_equals_the_printed_numbers() -> None:
    table = ROOT.parent / "shared" / "published_table2.csv"
    if not table.exists():
        pytest.skip("the printed numbers are not at ../shared/published_table2.csv")
    with table.open(encoding="utf-8", newline="") as file:
        printed = list(csv.DictReader(file))
    rows = [row for row in published_rows(suite=FINE_GRAINED) if row.table == FINE_GRAINED.table]
    assert [row.row for row in rows] == list(range(1, len(printed) + 1))
    for row, line in zip(rows, printed, strict=True):
        assert (row.label, row.table) == (line["label"], line["source"])
        assert row.accuracy == {name: float(line[name]) for name in FINE_GRAINED.domains}
        assert (row.params_ratio, row.score_printed, row.subset) == (None, None, "")


def test_rows_of_the_fine_grained_sets_that_other_tables_print() -> None:
    rows = published_rows(suite=FINE_GRAINED)
    assert len({(row.table, row.row) for row in rows}) == len(rows)
    assert len({(row.label, row.subset) for row in rows}) == len(rows)
    # The README's errors, and the individual networks whose WikiArt the SpotTune paper repeats.
    masks = next(row for row in rows if row.table == "Piggyback README")
    errors = {name: round(100 - (a or 0), 2) for name, a in masks.accuracy.items()}
    assert list(errors.values()) == [18.23, 10.19, 4.77, 28.57, 19.75]
    wikiart = {row.accuracy["wikiart"] for row in rows if row.method == "fine-tuning"}
    assert wikiart == {75.6, None}
    parts = {(row.label, row.subset): row.accuracy["wikiart"] for row in rows if row.subset}
    assert parts["SpotTune", "25pct"] == 61.24  # Section 4.2.1
    assert parts["Fine-tuning ResNet-101", "10pct"] == 47.05
    for row in rows:
        assert len(row.source) > 30
        assert not re.search(r"/(work|tmp|home)/|\.txt", row.source)


@pytest.mark.parametrize("suite", [SUITE, FINE_GRAINED], ids=lambda suite: suite.name)
def test_methods_of_rows_are_registered(suite: Suite) -> None:
    methods = [row.method for row in published_rows(suite=suite) if row.method]
    assert set(methods) <= set(registered())
    # Each row of the main table is of another method: they are listed in its order.
    main = [row.method for row in published_rows(suite=suite) if row.table == suite.table]
    assert len(set(main) - {None}) == len(main) - main.count(None)


def test_a_results_folder_with_rows_of_its_own_is_read_instead(results: Path) -> None:
    (results / "published").mkdir()
    shutil.copy(packaged() / "dan.json", results / "published" / "mine.json")
    assert [row.label for row in board_of(results).rows] == ["DAN"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"accuracy": {"dtdd": 50.0}}, "accuracy.*unknown domain 'dtdd', did you mean 'dtd'"),
        ({"accuracy": {"dtd": 101.0}}, "accuracy.dtd"),
        ({"score_printed": "3612"}, "score_printed"),
        ({"extra": 1}, "extra"),
        ({"subset": "most"}, "subset.*names no subset"),
        ({"format": 2}, "format: is 2"),
    ],
)
def test_a_broken_row_is_refused_by_file_and_field(
    tmp_path: Path, change: dict[str, object], field: str
) -> None:
    path = tmp_path / "row.json"
    row = json.loads((packaged() / "dan.json").read_text(encoding="utf-8"))
    path.write_text(json.dumps(row | change), encoding="utf-8")
    with pytest.raises(ResultError, match=rf"(?s)row\.json.*{field}"):
        read_published(path)
