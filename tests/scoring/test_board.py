"""Boards of records: baselines, seeds, missing domains, notes and refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.errors import ResultError, UsageError
from decathlon.results.records import Parameters
from decathlon.scoring.arrange import arrange
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.columns import columns_of
from decathlon.scoring.rows import Row
from decathlon.suites.visual_decathlon import DOMAINS, decathlon_score
from tests.scoring.making import everywhere

AddRuns = Callable[..., None]


def run_of(board: Board, name: str) -> Row:
    return next(row for row in board.rows if row.kind == "run" and row.label == name)


def test_official_runs_stand_beside_the_papers_rows(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", everywhere(90, 100))
    board = board_of(results)
    assert [row.kind for row in board.rows] == ["published"] * 15 + ["run"]
    row = run_of(board, "mine")
    assert row.score == pytest.approx(decathlon_score(dict.fromkeys(DOMAINS, 0.1)), abs=2)
    assert row.accuracy == dict.fromkeys(DOMAINS, pytest.approx(90, abs=0.02))
    assert (row.score_printed, row.consistent, row.missing, row.seeds) == (None, None, (), (0,))
    assert row.ci is not None
    assert row.ci[0] < row.score < row.ci[1]


def test_missing_domains_count_0_and_are_listed(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50), "svhn": (25, 25)})
    row = run_of(board_of(results), "mine")
    assert row.score == pytest.approx(decathlon_score({"dtd": 0.2, "svhn": 0.0}))
    assert set(row.missing) == set(DOMAINS) - {"dtd", "svhn"}
    assert row.accuracy["gtsrb"] is None


def test_s_of_several_seeds_is_the_mean_of_their_s(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (30, 50)}, seed=0)
    add_runs("mine", {"dtd": (40, 50)}, seed=3)
    row = run_of(board_of(results), "mine")
    each = [decathlon_score({"dtd": error}) for error in (0.4, 0.2)]
    assert row.score == pytest.approx(sum(each) / 2)
    assert row.score != pytest.approx(decathlon_score({"dtd": 0.3}))
    assert row.accuracy["dtd"] == pytest.approx(70)
    assert row.seeds == (0, 3)


def test_a_seed_under_way_is_left_out_and_said(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (30, 50), "svhn": (20, 25)}, seed=0)
    add_runs("mine", {"dtd": (40, 50)}, seed=1)
    board = board_of(results)
    assert run_of(board, "mine").seeds == (0,)
    assert any("mine: seed 1 lacks domains that others have (svhn)" in note for note in board.notes)


def test_an_untrained_record_stands_for_all_seeds(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"imagenet12": (30, 50)}, seed=0, trained=False)
    add_runs("mine", {"dtd": (30, 50)}, seed=0)
    add_runs("mine", {"dtd": (35, 50)}, seed=1)
    assert run_of(board_of(results), "mine").seeds == (0, 1)


def test_baseline_takes_twice_the_mean_error_over_seeds(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (30, 50), "svhn": (20, 25)}, official=False, seed=0)
    add_runs("base", {"dtd": (20, 50), "svhn": (20, 25)}, official=False, seed=1)
    add_runs("mine", {"dtd": (40, 50), "svhn": (25, 25)}, official=False)
    board = board_of(results, baseline="base")
    assert board.e_max == {"dtd": pytest.approx(1.0), "svhn": pytest.approx(0.4)}
    assert {row.kind for row in board.rows} == {"run"}
    assert run_of(board, "mine").score == pytest.approx(1000 * 0.8**2 + 1000)
    assert board.rows[0].label == "mine"


def test_a_baseline_without_error_leaves_the_domain_out(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (50, 50), "svhn": (20, 25)}, official=False)
    add_runs("mine", {"dtd": (40, 50), "svhn": (25, 25)}, official=False)
    board = board_of(results, baseline="base")
    assert set(board.e_max) == {"svhn"}
    row = run_of(board, "mine")
    assert row.score == pytest.approx(1000)
    assert row.accuracy["dtd"] == pytest.approx(80)
    assert any("base makes no error on dtd" in note for note in board.notes)


def test_an_eleventh_domain_has_a_column_with_a_baseline(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (40, 50), "birds": (20, 25)}, official=False)
    board = board_of(results, baseline="base")
    assert board.domains == (*DOMAINS, "birds")
    assert run_of(board, "base").score == pytest.approx(500)


def test_other_data_is_refused_without_a_baseline(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)}, official=False)
    with pytest.raises(ResultError, match=r"mine/dtd/test/seed0.*--baseline NAME") as caught:
        board_of(results)
    assert caught.value.exit_code == 4


def test_an_unknown_baseline_names_the_nearest(results: Path, add_runs: AddRuns) -> None:
    add_runs("fine-tuning", {"dtd": (40, 50)}, official=False)
    with pytest.raises(UsageError, match=r"'fine_tuning', did you mean 'fine-tuning'"):
        board_of(results, baseline="fine_tuning")


def test_val_has_a_note_and_no_published_rows(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)}, split="val")
    board = board_of(results, split="val")
    assert [row.label for row in board.rows] == ["mine"]
    assert "not representative" in board.notes[0]
    assert "gtsrb and ucf101" in board.notes[0]


def test_splits_are_never_mixed(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)}, split="val")
    add_runs("mine", {"svhn": (40, 50)}, split="test")
    assert run_of(board_of(results), "mine").covered == 1
    assert run_of(board_of(results, split="val"), "mine").accuracy["svhn"] is None


def test_an_empty_split_points_at_the_other(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)}, split="val", official=False)
    board = board_of(results)
    assert {row.kind for row in board.rows} == {"published"}
    assert any("1 of val; add --split val" in note for note in board.notes)


def test_unknown_labels_are_shown_as_unknown(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": None, "svhn": (40, 50)})
    board = board_of(results)
    row = run_of(board, "mine")
    assert row.unknown == ("dtd",)
    assert "dtd" in row.missing
    assert any("labels of dtd are unknown" in n and "--labels" in n for n in board.notes)


def test_nothing_but_unknown_labels_has_no_score(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": None})
    row = run_of(board_of(results), "mine")
    assert (row.score, row.ci, row.covered) == (None, None, 0)
    with pytest.raises(ResultError, match="labels of the test split are unknown"):
        board_of(results, baseline="mine")


def test_params_ratio_rests_on_the_target_domains(results: Path, add_runs: AddRuns) -> None:
    two = {"imagenet12": (40, 50), "dtd": (40, 50), "svhn": (40, 50)}
    add_runs("kept", two)
    own = Parameters(source=32_000, shared=0, domain=32_000, head=5, unit=32_000)
    add_runs("whole", two, source_domain="train", parameters=own)
    board = board_of(results)
    assert run_of(board, "kept").params_ratio == pytest.approx(1 + 9 * 0.5)
    assert run_of(board, "kept").params_domains == 2
    assert run_of(board, "whole").params_ratio == pytest.approx(10)


def test_training_time_is_the_mean_over_seeds(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)}, timing={"train_seconds": 10.0}, seed=0)
    add_runs("mine", {"svhn": (40, 50)}, timing={"train_seconds": 5.0}, seed=0)
    add_runs("mine", {"dtd": (40, 50)}, timing={"train_seconds": 1.0}, seed=1)
    add_runs("mine", {"svhn": (40, 50)}, timing={"train_seconds": 2.0}, seed=1)
    assert run_of(board_of(results), "mine").training_seconds == pytest.approx(9.0)


def test_joint_training_counts_once(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (4, 5), "svhn": (4, 5)}, timing={"train_seconds": 10.5})
    assert run_of(board_of(results), "mine").training_seconds == pytest.approx(10.5)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("correct", 51, "exceeds total"),
        ("total", -1, "total"),
        ("correct", 7, "does not hold 7 ones"),
        ("total", None, "all known or all null"),
        ("domain", "svhn", "belongs in"),
        ("seed", "0", "seed"),
        ("correctness", "zz", "correctness"),
        ("unheard", 1, "unheard"),
    ],
)
def test_a_broken_record_is_refused_by_file_and_field(
    results: Path, add_runs: AddRuns, field: str, value: Any, said: str
) -> None:
    add_runs("mine", {"dtd": (40, 50)}, official=False)
    path = results / "mine" / "dtd" / "test" / "seed0" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ResultError, match=rf"(?s)seed0/record\.json.*{said}") as caught:
        board_of(results)
    assert caught.value.exit_code == 4


def test_a_record_that_is_not_json_is_refused(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", {"dtd": (40, 50)})
    path = results / "mine" / "dtd" / "test" / "seed0" / "record.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ResultError, match=r"record\.json: not JSON"):
        board_of(results)


def test_results_of_different_data_do_not_mix(results: Path, add_runs: AddRuns) -> None:
    add_runs("a", {"dtd": (40, 50)}, official=False)
    add_runs("b", {"dtd": (40, 50)}, official=False)
    add_runs("c", {"dtd": (40, 60)}, official=False)
    with pytest.raises(ResultError, match=r"c/dtd/test/seed0: total: .* 60 images .* on 50"):
        board_of(results, baseline="a")
    add_runs("c", {"dtd": (40, 50)}, official=False, num_classes=9)
    with pytest.raises(ResultError, match=r"c/dtd/.*: num_classes: .* 9 classes .* on 47"):
        board_of(results, baseline="a")


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such results folder"):
        board_of(tmp_path / "nowhere")


def test_unknown_split() -> None:
    with pytest.raises(UsageError, match="unknown split 'tset', did you mean 'test'"):
        board_of(None, split="tset")


def test_ranks_share_ties_and_put_missing_last(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (30, 50), "svhn": (20, 25)}, official=False)
    add_runs("a", {"dtd": (40, 50), "svhn": (20, 25)}, official=False)
    add_runs("b", {"dtd": (45, 50)}, official=False)
    board = board_of(results, baseline="base")
    ranks = {row.label: row.mean_rank for row in board.rows}
    assert ranks == {"base": (3 + 1.5) / 2, "a": (2 + 1.5) / 2, "b": (1 + 3) / 2}


def test_sorting_by_score_accuracy_and_back() -> None:
    board = board_of(None, all_rows=True)
    by_score = [row.score for row in arrange(board, sort="score").rows]
    known = [s for s in by_score if s is not None]
    assert known == sorted(known, reverse=True)
    assert by_score[len(known) :] == [None] * 3
    assert arrange(board, sort="imagenet12").rows[0].label == "Res. adapt. (large)"
    assert arrange(board, sort="params").rows[0].params_ratio == 1
    assert arrange(board, sort="-score").rows[0].score == min(known)
    assert arrange(board, sort="-table").rows[-1].label == "Scratch"


def test_filters() -> None:
    board = board_of(None)
    rows = arrange(board, match=["spottune*", "lwf"]).rows
    assert [row.label for row in rows] == ["LwF", "SpotTune (Global-k)", "SpotTune"]
    assert rows[0].mean_rank is not None
    assert rows[0].mean_rank <= 3
    assert arrange(board, kind="run").rows == ()
    with pytest.raises(UsageError, match="no row matches 'spotune'"):
        arrange(board, match=["spotune"])
    with pytest.raises(UsageError, match="cannot sort by 'scor', did you mean 'score'"):
        arrange(board, sort="scor")
    with pytest.raises(UsageError, match="unknown kind 'runs'"):
        arrange(board, kind="runs")


def test_notes_are_about_the_rows_shown(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", everywhere(90, 100) | {"dtd": None})
    board = board_of(results)
    assert sum("no rounding" in note for note in board.notes) == 4
    assert board.notes[-1] == "10 more published rows are shown by --all."
    assert arrange(board, match=["LwF"]).notes == ()
    unknown = "mine: the test labels of dtd are unknown"
    for one, about_runs in ((board, True), (arrange(board, kind="published"), False)):
        assert any(note.startswith(unknown) for note in one.notes) == about_runs
    own = arrange(board, kind="run").notes
    assert any(note.startswith(unknown) for note in own)
    assert not any("no rounding" in note or "--all" in note for note in own)
    some = arrange(board, match=["*Res*"])
    everything = arrange(board_of(results, all_rows=True), match=["*Res*"])
    hidden = len(everything.rows) - len(some.rows)
    assert list(some.notes) == [f"{hidden} more published rows are shown by --all."]
    with pytest.raises(
        UsageError, match=r"'MTAN\*'; hidden published rows that match: 1, see --all"
    ):
        arrange(board, match=["MTAN*"])


def test_a_board_of_own_domains_has_no_empty_columns(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"pets": (30, 50), "dtd": (30, 50)}, official=False)
    add_runs("mine", {"pets": (40, 50)}, official=False)
    board = board_of(results, baseline="base")
    assert [c.key for c in columns_of(board, ["domains"])] == ["dtd", "pets"]
    assert list(board.rows[0].accuracy) == [*DOMAINS, "pets"]
    official = arrange(board_of(None), match=["LwF"])
    assert len(columns_of(official, ["domains"])) == 10
