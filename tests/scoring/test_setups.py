"""Rows of one name that was run in several ways: never one row, and each can be named."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.errors import ResultError, UsageError
from decathlon.common.files import write_text
from decathlon.results.records import Code, Parameters, write_record
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.compare import compare
from decathlon.scoring.figures.plot import plot
from decathlon.scoring.render.dispatch import text_of
from decathlon.scoring.submit import submit
from tests.scoring.making import UNIT, bits_with, make_record

AddRuns = Callable[..., None]
A, B = "a" * 64, "b" * 64
WIDE = {"name": "resnet26", "width": 1.0, "blocks": [4, 4, 4], "adapters": "none"}
NARROW = WIDE | {"width": 0.5}
FULL = "fine-tuning [source aaaaaa, epochs 120]"
PART = "fine-tuning [source bbbbbb, epochs 1]"


def labels_of(board: Board) -> list[str]:
    return [row.label for row in board.rows if row.kind == "run"]


@pytest.fixture
def mixed(results: Path, add_runs: AddRuns) -> Path:
    """Three domains from one source; ucf101 from another, narrower one with one epoch."""
    own: dict[str, Any] = {"official": False, "source": A, "network": WIDE}
    recipe = {"epochs": 120, "lr": 0.1}
    add_runs("fine-tuning", {"imagenet12": (30, 50)}, **own, trained=False, recipe={})
    add_runs("fine-tuning", {"dtd": (30, 50), "svhn": (40, 50)}, **own, recipe=recipe)
    other = own | {"source": B, "network": NARROW, "recipe": recipe | {"epochs": 1}}
    add_runs("fine-tuning", {"ucf101": (20, 50)}, **other)
    add_runs("mine", {"dtd": (35, 50), "svhn": (41, 50)}, **own, recipe=recipe)
    return results


def test_a_name_with_two_setups_is_two_rows(mixed: Path) -> None:
    board = board_of(mixed, baseline=FULL)
    assert labels_of(board) == [FULL, "mine", PART]
    rows = {row.label: row for row in board.rows}
    covered = {label: [d for d, a in row.accuracy.items() if a] for label, row in rows.items()}
    assert covered[FULL] == ["imagenet12", "dtd", "svhn"]
    assert covered[PART] == ["ucf101"]
    assert set(board.e_max) == {"imagenet12", "dtd", "svhn"}
    assert rows[FULL].method == rows[PART].method == "fine-tuning"
    assert "source aaaaaa, epochs 120; source bbbbbb, epochs 1" in " ".join(board.notes)


def test_rows_are_grouped_by_source_and_the_notes_name_it(mixed: Path, add_runs: AddRuns) -> None:
    add_runs("best", {"ucf101": (50, 50)}, official=False, source=B, network=NARROW)
    board = board_of(mixed, baseline=PART)
    groups = {row.label: row.group for row in board.rows}
    assert groups == {"best": 0, PART: 0, "mine": 1, FULL: 1}
    assert labels_of(board)[:2] == ["best", PART]
    (note,) = [note for note in board.notes if "same source network" in note]
    assert f"source bbbbbb (resnet26, width 0.5): best, {PART}" in note
    assert "source aaaaaa (resnet26, width 1): " in note
    (note,) = [note for note in board.notes if "another source than these rows" in note]
    assert "mine" in note
    assert "best" not in note


def test_an_ambiguous_name_is_refused_with_the_labels(mixed: Path, tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: board_of(mixed, baseline="fine-tuning"),
        lambda: compare("fine-tuning", "mine", mixed, baseline="mine"),
        lambda: compare("mine", "fine-tuning", mixed, baseline="mine"),
        lambda: compare("mine", "mine", mixed, baseline="fine-tuning"),
        lambda: submit(mixed, "fine-tuning", tmp_path / "x.zip"),
        lambda: plot("tradeoff", mixed, tmp_path / "x.svg", baseline="fine-tuning"),
        lambda: plot("curves", mixed, tmp_path / "x.svg", names=["fine-tuning"]),
        lambda: plot("domains", mixed, tmp_path / "x.svg"),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="run with 2 setups") as caught:
            call()
        assert f"  {FULL}\n  {PART}" in str(caught.value)
        assert caught.value.exit_code == 2


def test_a_label_names_its_row_everywhere(
    mixed: Path, tmp_path: Path, add_predictions: Callable[..., None]
) -> None:
    found = compare("mine", FULL, mixed, baseline=FULL)
    assert (found.b, found.baseline, set(found.accuracy)) == (FULL, FULL, {"dtd", "svhn"})
    board = board_of(mixed, baseline="mine")
    assert [row.label for row in arrange(board, match=[PART]).rows] == [PART]
    assert [row.label for row in arrange(board, match=["fine-tuning"]).rows] == [FULL, PART]
    log = mixed / "fine-tuning" / "dtd" / "test" / "seed0" / "log.jsonl"
    write_text(log, '{"epoch": 1, "loss": 2.0}\n')
    for kind in ("curves", "domains", "tradeoff"):
        plot(kind, mixed, tmp_path / f"{kind}.svg", baseline="mine", names=[FULL])
        assert FULL in (tmp_path / f"{kind}.svg").read_text()
    for domain, first in (("imagenet12", 0), ("dtd", 100), ("svhn", 200)):
        add_predictions("fine-tuning", domain, [(first + i, 1) for i in range(50)])
    written = submit(mixed, FULL, tmp_path / "full.zip")
    assert list(written.num_predictions) == ["imagenet12", "dtd", "svhn"]


def test_the_command_ends_with_exit_code_2(mixed: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "decathlon", "score", mixed, "--baseline", "fine-tuning"],
        capture_output=True,
        text=True,
        env=os.environ | {"DECATHLON_DEBUG": "0"},
    )
    assert done.returncode == 2
    assert FULL in done.stderr


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": B}, ["x [source aaaaaa]", "x [source bbbbbb]"]),
        ({"source": None}, ["x [source aaaaaa]", "x [no source]"]),
        ({"source": "aaaaaab" + 57 * "0"}, ["x [source aaaaaaa]", "x [source aaaaaab]"]),
        ({"recipe": {"epochs": 2}}, ["x [epochs 1]", "x [epochs 2]"]),
        (
            {"recipe": {"epochs": 1, "decay": {"dtd": 0.1}}},
            ["x [no decay.dtd]", "x [decay.dtd 0.1]"],
        ),
        ({"recipe": {"epochs": 1, "note": "y" * 99}}, None),
        ({"recipe": {}}, ["x [epochs 1]", "x [no epochs]"]),
        ({"recipe": {"epochs": "1"}}, None),
        ({"method": "other"}, ["x [method x]", "x [method other]"]),
        ({"source_domain": "train"}, ["x [source domain keep]", "x [source domain train]"]),
        (
            {"code": Code(distribution="m", version="1", sha256="c" * 64)},
            ["x [code dddddd]", "x [code cccccc]"],
        ),
        ({"recipe": {"protocol": "released", "epochs": 9, "lr": 1, "decay": 2}}, None),
    ],
)
def test_labels_say_what_differs(
    results: Path, add_runs: AddRuns, fields: dict[str, Any], expected: list[str] | None
) -> None:
    code = Code(distribution="m", version="1", sha256="d" * 64)
    own = {"source": A, "network": WIDE, "official": False, "code": code}
    add_runs("x", {"dtd": (30, 50), "gtsrb": (30, 50)}, **own)
    add_runs("x", {"svhn": (30, 50)}, **own | fields)
    add_runs("base", {"dtd": (30, 50)}, **own)
    found = sorted(set(labels_of(board_of(results, baseline="base"))) - {"base"})
    assert len(found) == 2
    assert found == sorted(expected or found)
    assert all(len(label) < 60 for label in found)


def test_a_long_difference_is_cut_in_the_label_and_whole_in_the_message(
    results: Path, add_runs: AddRuns
) -> None:
    paper = {"protocol": "paper", "epochs": 120, "lr": 0.1, "gamma": 0.1, "batch_size": 128}
    released = {"protocol": "released", "epochs": 110, "lr": 0.2, "gamma": 0.3, "batch_size": 64}
    add_runs("x", {"dtd": (30, 50), "svhn": (30, 50)}, official=False, recipe=paper)
    add_runs("x", {"gtsrb": (30, 50)}, official=False, recipe=released)
    with pytest.raises(UsageError) as caught:
        board_of(results, baseline="x")
    assert (
        "  x [protocol paper, 4 more settings]: protocol paper, epochs 120, lr 0.1, gamma 0.1,"
        " batch_size 128\n  x [protocol released, 4 more settings]: protocol released"
    ) in str(caught.value)


def test_labels_are_unique_even_beside_a_name_that_looks_like_one(
    results: Path, add_runs: AddRuns
) -> None:
    add_runs("x [epochs 1]", {"dtd": (10, 50)}, official=False)
    add_runs("x", {"dtd": (20, 50)}, official=False)
    add_runs("x", {"svhn": (20, 50)}, official=False, recipe={"epochs": 2})
    found = labels_of(board_of(results, baseline="x [epochs 1]"))
    assert len(set(found)) == 3
    assert "x [epochs 2]" in found


def test_records_of_format_1_join_the_records_that_name_their_code(
    results: Path, add_runs: AddRuns
) -> None:
    code = {"distribution": "mine", "version": "1"}
    one, two = (Code(**code, sha256=digit * 64) for digit in "12")
    add_runs("x", {"dtd": (30, 50)}, official=False)
    add_runs("x", {"svhn": (30, 50)}, official=False, code=one, network=NARROW)
    board = board_of(results, baseline="x")
    assert labels_of(board) == ["x"]
    assert any("1 of its records do not name the code" in note for note in board.notes)
    add_runs("x", {"gtsrb": (30, 50)}, official=False, code=two, network=NARROW)
    add_runs("base", {"dtd": (30, 50)}, official=False)
    expected = ["base", "x [code 111111]", "x [code 222222]", "x [code not recorded]"]
    assert sorted(labels_of(board_of(results, baseline="base"))) == expected


def test_a_kept_source_goes_with_every_row_of_its_source(results: Path, add_runs: AddRuns) -> None:
    own = {"official": False, "source": A}
    add_runs("x", {"imagenet12": (30, 50)}, **own, trained=False, recipe={})
    add_runs("x", {"dtd": (30, 50)}, **own)
    add_runs("x", {"svhn": (30, 50)}, **own, recipe={"epochs": 2})
    add_runs("x", {"gtsrb": (30, 50)}, **own | {"source": B})
    add_runs("base", {"dtd": (30, 50)}, **own)
    rows = {row.label: row for row in board_of(results, baseline="base").rows}
    assert {label: row.accuracy["imagenet12"] for label, row in rows.items()} == {
        "base": None,
        "x [source aaaaaa, epochs 1]": 60,
        "x [source aaaaaa, epochs 2]": 60,
        "x [source bbbbbb, epochs 1]": None,
    }


def test_a_kept_source_of_another_row_stands_alone(results: Path, add_runs: AddRuns) -> None:
    add_runs("x", {"imagenet12": (30, 50)}, official=False, source=B, trained=False, recipe={})
    add_runs("x", {"dtd": (30, 50)}, official=False, source=A)
    add_runs("base", {"dtd": (30, 50)}, official=False, source=A)
    assert sorted(labels_of(board_of(results, baseline="base"))) == [
        "base",
        "x [source aaaaaa]",
        "x [source bbbbbb, nothing trained]",
    ]


def test_a_method_without_a_source_takes_one_kept_source_of_its_size(
    results: Path, add_runs: AddRuns
) -> None:
    add_runs("scratch", {"dtd": (30, 50)}, official=False, seed=0)
    add_runs("scratch", {"imagenet12": (30, 50)}, official=False, source=A, trained=False, seed=0)
    board = board_of(results, baseline="scratch")
    assert labels_of(board) == ["scratch"]
    assert board.rows[0].covered == 2
    # Another source's, under another seed, is not mixed in.
    add_runs("scratch", {"imagenet12": (40, 50)}, official=False, source=B, trained=False, seed=1)
    add_runs("base", {"dtd": (30, 50)}, official=False)
    rows = {row.label: row for row in board_of(results, baseline="base").rows}
    assert rows["scratch [source aaaaaa]"].accuracy["imagenet12"] == 60
    assert rows["scratch [source bbbbbb]"].accuracy["imagenet12"] == 80
    # Nor is that of a network of another size.
    double = Parameters(source=UNIT, shared=UNIT, domain=UNIT, head=1, unit=2 * UNIT)
    add_runs("wide", {"dtd": (30, 50)}, official=False, parameters=double)
    add_runs("wide", {"imagenet12": (40, 50)}, official=False, source=B, trained=False)
    found = [label for label in labels_of(board_of(results, baseline="base")) if "wide" in label]
    assert sorted(found) == ["wide [no source]", "wide [source bbbbbb, nothing trained]"]


def test_widths_of_a_method_without_a_source_are_told_apart(
    results: Path, add_runs: AddRuns
) -> None:
    double = Parameters(source=UNIT, shared=UNIT, domain=UNIT, head=1, unit=2 * UNIT)
    add_runs("scratch", {"dtd": (30, 50)}, official=False)
    add_runs("scratch", {"svhn": (30, 50)}, official=False, parameters=double)
    add_runs("base", {"dtd": (30, 50)}, official=False)
    board = board_of(results, baseline="base")
    assert sorted(labels_of(board))[1:] == [
        "scratch [1,000 parameters]",
        "scratch [2,000 parameters]",
    ]
    assert any("same source network" in note for note in board.notes)
    add_runs("scratch", {"dtd": (30, 50)}, official=False, network=NARROW)
    add_runs("scratch", {"svhn": (30, 50)}, official=False, parameters=double, network=WIDE)
    assert sorted(labels_of(board_of(results, baseline="base")))[1:] == [
        "scratch [width 0.5]",
        "scratch [width 1.0]",
    ]


def test_one_source_and_a_method_without_are_one_group(results: Path, add_runs: AddRuns) -> None:
    add_runs("scratch", {"dtd": (30, 50)}, official=False)
    add_runs("fine-tuning", {"dtd": (40, 50)}, official=False, source=A)
    board = board_of(results, baseline="fine-tuning")
    assert {row.group for row in board.rows} == {0}
    assert not any("source" in note for note in board.notes)


def test_a_seed_that_is_left_out_changes_no_column(results: Path, add_runs: AddRuns) -> None:
    add_runs("x", {"dtd": (30, 50), "svhn": (20, 50)}, official=False)
    add_runs("base", {"dtd": (30, 50), "svhn": (20, 50)}, official=False)
    before = next(row for row in board_of(results, baseline="base").rows if row.label == "x")
    big = Parameters(source=9 * UNIT, shared=9 * UNIT, domain=9 * UNIT, head=1, unit=UNIT)
    fields = {"parameters": big, "timing": {"train_seconds": 1e6}, "seed": 1, "official": False}
    add_runs("x", {"dtd": (50, 50)}, **fields)
    add_runs("x", {"birds": None, "gtsrb": None}, **fields)
    board = board_of(results, baseline="base")
    after = next(row for row in board.rows if row.label == "x")
    assert board.domains == tuple(before.accuracy)
    for column in ("params_ratio", "params_domains", "unknown", "missing", "training_seconds"):
        assert getattr(after, column) == getattr(before, column)
    assert (after.score, after.ci, after.seeds) == (before.score, before.ci, (0,))
    assert any("x: seed 1 lacks domains that others have (svhn)" in note for note in board.notes)


def test_a_seed_without_labels_is_left_out_and_the_note_says_why(
    results: Path, add_runs: AddRuns
) -> None:
    add_runs("x", {"dtd": (30, 50)}, official=False, seed=0)
    add_runs("x", {"dtd": None}, official=False, seed=1)
    notes = board_of(results, baseline="x").notes
    assert "x: seed 1 does not know the labels of dtd and is left out of the means." in notes


def test_what_can_change_a_score_is_noted(results: Path, add_runs: AddRuns) -> None:
    data = {"train": "1" * 64, "val": "2" * 64, "test": "0" * 64}
    one = {"precision": "32-true", "world_size": 1, "torch": "2.1"}
    own = {"official": False, "data": data, "environment": one}
    add_runs("x", {"dtd": (30, 50)}, **own, seed=0)
    other = own | {"data": data | {"train": "3" * 64}, "threads": 4}
    other["environment"] = {"precision": "bf16-mixed", "world_size": 2, "torch": "2.2"}
    add_runs("x", {"dtd": (30, 50)}, **other, seed=1)
    write_record(results, make_record("y", "dtd", bits_with(30, 50), **own | {"official": True}))
    text = "\n".join(board_of(results, baseline="x").notes)
    assert "train 111111 + val 222222 (x, y); train 333333 + val 222222 (x)" in text
    assert "precision: 32-true (x, y); bf16-mixed (x)" in text
    assert "number of processes: 1 (x, y); 2 (x)" in text
    assert "dtd: records disagree on whether its data is official: no (x); yes (y)" in text
    assert "2.2" not in text
    assert "threads" not in text
    notes = "\n".join(compare("x", "y", results, baseline="x").notes)
    assert "precision: " in notes
    assert "train 333333" in notes


def test_comparisons_name_other_sources(mixed: Path, add_runs: AddRuns) -> None:
    mine = compare("mine", FULL, mixed, baseline="mine")
    assert not any("source" in note for note in mine.notes)
    add_runs("other", {"dtd": (40, 50)}, official=False, source=B, network=NARROW)
    other = compare("mine", "other", mixed, baseline="mine").notes
    assert (
        "They start from different networks, mine with source aaaaaa (resnet26, width 1) and other"
        " with source bbbbbb (resnet26, width 0.5)."
    ) in other


def test_the_tradeoff_shows_the_names_asked_for(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "tradeoff.svg"
    plot("tradeoff", mixed, out, baseline="mine", names=["mine"])
    assert "mine" in out.read_text()
    assert "fine-tuning" not in out.read_text()
    with pytest.raises(UsageError, match="no test results of 'mien', did you mean 'mine'"):
        plot("tradeoff", mixed, out, baseline="mine", names=["mien"])


def test_json_and_csv_name_source_and_recipe(mixed: Path) -> None:
    board = board_of(mixed, baseline="mine")
    rows = {row["label"]: row for row in json.loads(text_of(board, "json"))["rows"]}
    assert rows[FULL]["source"] == A
    assert rows[PART]["source"] == B
    assert rows[PART]["network"] == NARROW
    assert rows[PART]["recipe"] == {"epochs": 1, "lr": 0.1}
    lines = {line["label"]: line for line in csv.DictReader(io.StringIO(text_of(board, "csv")))}
    assert lines[PART]["source"] == B
    assert json.loads(lines[PART]["recipe"]) == {"epochs": 1, "lr": 0.1}


def test_the_page_lists_every_origin(results: Path, add_runs: AddRuns) -> None:
    own = {"official": False, "source": A, "network": WIDE}
    for seed, digest in ((0, "1"), (1, "2")):
        data = {"train": digest * 64, "test": "0" * 64}
        add_runs("x", {"dtd": (30, 50)}, **own, seed=seed, data=data, threads=1 + seed)
    add_runs("y", {"svhn": (30, 50)}, official=False, source=B, network=NARROW)
    page = text_of(board_of(results, baseline="x"), "html")
    for text in ("1" * 64, "2" * 64, A, B, "&#34;several&#34;"):
        assert text in page


def test_shards_of_other_images_do_not_go_on_one_board(
    results: Path, add_runs: AddRuns, add_predictions: Callable[..., None]
) -> None:
    for name, digest, first in (("a", "1", 100), ("b", "2", 100), ("c", "3", 900)):
        add_runs(name, {"dtd": (40, 50)}, official=False, data={"test": digest * 64})
        if name != "b":
            add_predictions(name, "dtd", [(first + i, 1) for i in range(50)])
    with pytest.raises(ResultError, match="evaluated on different images of dtd"):
        board_of(results, baseline="a")
    for path in (results / "c").rglob("*.json"):
        path.unlink()
    notes = board_of(results, baseline="a").notes
    assert any("b/dtd/test/seed0/predictions.json is missing" in note for note in notes)


def test_an_empty_folder_says_so_and_what_to_type(results: Path, add_runs: AddRuns) -> None:
    for split in ("test", "val"):
        (note,) = [n for n in board_of(results, split=split).notes if "No runs" in n]
        assert f"{results} has no runs yet" in note
        assert "decathlon run --method fine-tuning" in note
        assert f"--split {split} --results {results}" in note
    with pytest.raises(UsageError, match="has no runs yet"):
        board_of(results, baseline="x")
    with pytest.raises(UsageError, match="has no runs yet"):
        compare("x", "y", results)
    with pytest.raises(ResultError, match="has no runs yet"):
        plot("curves", results, results / "x.svg")
    with pytest.raises(UsageError, match="no test results in"):
        submit(results, "x", results / "x.zip")
    add_runs("x", {"dtd": (30, 50)}, split="val")
    with pytest.raises(UsageError, match="'x' has results of val"):
        compare("x", "y", results)


def test_a_folder_beside_the_results_is_recognised(results: Path, add_runs: AddRuns) -> None:
    add_runs("x", {"dtd": (30, 50)})
    (note,) = [n for n in board_of(results / "x").notes if "No runs" in n]
    assert f"give the folder above it, {results}" in note
    (note,) = [n for n in board_of(results.parent).notes if "No runs" in n]
    assert f"but {results} has; give that folder" in note


def test_a_pipe_in_place_of_a_record_is_not_waited_for(results: Path) -> None:
    path = write_record(results, make_record("x", "dtd", None))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ResultError, match="is not a regular file"):
        board_of(results)
    path.unlink()
    write_record(results, make_record("x", "dtd", None, predictions="0" * 64))
    os.mkfifo(path.parent / "predictions.json")
    with pytest.raises(ResultError, match=r"predictions\.json: missing"):
        board_of(results)
