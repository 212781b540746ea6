"""Sweeps: the points, the rule, the winner, and what boards and figures show of them."""

import json
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.results.points import base_of, point_name, settings_in
from decathlon.results.records import find_records, read_record
from decathlon.results.selection import Selection
from decathlon.running.space import Space, space_of
from decathlon.running.sweeping import Choice, Tried
from decathlon.scoring.board import board_of
from decathlon.scoring.render.formats import to_json, to_markdown
from decathlon.suites.fine_grained import SUITE as FINE_GRAINED
from tests.scoring.making import fine_grained

GRID = ("--grid", "lr=0.1,0.01,1e30", "--domain", "dtd", "--domain", "vgg-flowers")
POINTS = [f"fine-tuning+lr={lr}" for lr in ("0.1", "0.01")]


def words(tiny: Path, source: Path, results: Path, *more: str) -> list[str]:
    return [
        *("sweep", "--method", "fine-tuning", "--data", str(tiny), "--source", str(source)),
        *("--results", str(results), "--set", "epochs=1", "--set", "batch_size=16"),
        *("--precision", "32", "--threads", "1", "--device", "cpu", *more),
    ]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "100", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def swept(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a sweep that was killed after its first point, and started again."""
    results = tmp_path_factory.mktemp("swept")
    command = [sys.executable, "-m", "decathlon", *words(tiny, tiny_source, results, *GRID)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(find_records(results)):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (first,) = find_records(results)
    before = first.stat().st_mtime_ns
    done = invoke(*words(tiny, tiny_source, results, *GRID))
    assert done.exit_code == 0, done.output
    assert first.stat().st_mtime_ns == before
    (results / "said.txt").write_text(done.output, encoding="utf-8")
    return results


def accuracies(results: Path, domain: str) -> list[float]:
    paths = [results / name / domain / "val" / "seed0" / "record.json" for name in POINTS]
    return [read_record(path).accuracy or 0 for path in paths]


def test_the_best_point_is_trained_for_test_and_says_how_it_was_chosen(swept: Path) -> None:
    both = [accuracies(swept, domain) for domain in ("dtd", "vgg-flowers")]
    means = [sum(found) / 2 for found in zip(*both, strict=True)]
    chosen = (0.1, 0.01)[means.index(max(means))]
    for domain in ("dtd", "vgg-flowers"):
        record = read_record(swept / "fine-tuning+best" / domain / "test" / "seed0" / "record.json")
        assert record.recipe["lr"] == chosen
        assert record.trained_on == "train+val"
        assert record.selection == Selection(
            space={"lr": [0.1, 0.01, 1e30]},
            sampler="grid",
            trials=3,
            rule="highest mean accuracy over dtd, vgg-flowers; of equal ones the earlier point",
            chosen={"lr": chosen},
        )
    for name in POINTS:
        path = swept / name / "dtd" / "val" / "seed0" / "record.json"
        assert "selection" not in json.loads(path.read_text())


def test_points_that_diverge_are_lost_and_said(swept: Path) -> None:
    said = (swept / "said.txt").read_text(encoding="utf-8")
    assert "2 of 6 trials failed" in said
    (lost,) = [line for line in said.splitlines() if line.startswith("1e+30")]
    assert lost.split()[1:] == ["failed"] * 3
    (best,) = [line for line in said.splitlines() if line.rstrip().endswith("yes")]
    assert best.split()[0] in ("0.1", "0.01")


def test_a_sweep_of_lost_points_alone_fails(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    done = invoke(*words(tiny, tiny_source, tmp_path, "--grid", "lr=1e29,1e30", "--domain", "dtd"))
    assert done.exit_code == 1, done.output
    assert not list(find_records(tmp_path))


def test_another_space_reuses_points_and_keeps_the_winner(
    swept: Path, tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    shutil.copytree(swept, results)
    before = {path: path.stat().st_mtime_ns for path in find_records(results)}
    grid = ("--grid", "lr=0.1,0.01", "--domain", "dtd", "--domain", "vgg-flowers", "--per-domain")
    done = invoke(*words(tiny, tiny_source, results, *grid))
    assert isinstance(done.exception, UsageError)
    assert "was chosen in another way" in str(done.exception)
    assert {path: path.stat().st_mtime_ns for path in find_records(results)} == before
    done = invoke(*words(tiny, tiny_source, results, *grid, "--force"))
    assert done.exit_code == 0, done.output
    for path in find_records(results):
        assert (path.stat().st_mtime_ns == before[path]) == ("+best" not in str(path))
    for domain in ("dtd", "vgg-flowers"):
        found = accuracies(results, domain)
        record = read_record(
            results / "fine-tuning+best" / domain / "test" / "seed0" / "record.json"
        )
        assert record.recipe["lr"] == (0.1, 0.01)[found.index(max(found))]


def test_a_point_of_another_recipe_wants_another_name(
    swept: Path, tiny: Path, tiny_source: Path
) -> None:
    for more in ((), ("--force",)):
        done = invoke(*words(tiny, tiny_source, swept, *GRID, "--set", "epochs=2", *more))
        assert isinstance(done.exception, UsageError)
        assert "recipe: epochs was 1, now 2; --name gives this sweep" in str(done.exception)


def test_boards_show_points_and_figures_draw_them(swept: Path) -> None:
    done = invoke("score", str(swept), "--split", "val", "--baseline", POINTS[0])
    assert all(name in done.output for name in POINTS)
    done = invoke("score", str(swept), "--baseline", "fine-tuning+best")
    assert "fine-tuning+best [tuned, 3 trials]" in " ".join(done.output.split())
    out = swept / "sweep.svg"
    done = invoke("plot", "sweep", str(swept), "--out", str(out))
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    assert all(f">{word}<" in text for word in ("lr", "0.1", "0.01", "accuracy on val (%)", "mean"))


def test_settings_chosen_by_domain_are_one_row(tmp_path: Path) -> None:
    how = {"space": {"lr": [0.1, 0.2]}, "sampler": "grid", "trials": 2, "rule": "highest accuracy"}
    for domain, lr in (("cubs", 0.1), ("flowers", 0.2)):
        chosen = Selection(**how, chosen={"lr": lr})
        recipe = {"epochs": 1, "lr": lr}
        fine_grained(tmp_path, "mine", {domain: 50}, recipe=recipe, selection=chosen)
    fine_grained(tmp_path, "given", {"cubs": 50}, recipe={"epochs": 1, "lr": 0.1})
    board = board_of(tmp_path, suite=FINE_GRAINED)
    labels = [row.label for row in board.rows if row.kind == "run"]
    assert sorted(labels) == ["given", "mine [tuned, 2 trials]"]
    note = "from 2 points of lr 0.1, 0.2: lr 0.1 (cubs); lr 0.2 (flowers)."
    assert any(note in found for found in board.notes)
    assert "tuned, 2 trials" in to_markdown(board)
    rows = {row["label"]: row for row in json.loads(to_json(board))["rows"]}
    selection = rows["mine [tuned, 2 trials]"]["selection"]
    assert selection["trials"] == 2
    assert selection["chosen"] == {"cubs": {"lr": 0.1}, "flowers": {"lr": 0.2}}
    assert "selection" not in rows["given"]


def test_the_earlier_of_equal_points_is_chosen() -> None:
    def tried(number: int, **accuracy: Fraction | None) -> Tried:
        return Tried({"lr": number}, accuracy)

    third, sixth = Fraction(1, 3), Fraction(1, 6)
    points = (
        tried(0, a=None, b=Fraction(1)),
        tried(1, a=sixth, b=third),
        tried(2, a=third, b=sixth),
        tried(3, a=Fraction(0), b=third),
    )
    best = Choice(("a", "b"), points).best
    assert best is points[1]
    assert Choice(("a", "b"), points[:1]).best is None


def test_draws_depend_on_the_seed_and_their_number_alone() -> None:
    def points(seed: int, trials: int, *draws: str) -> list[dict[str, object]]:
        return space_of((), draws, trials, False, ()).points(seed)

    rates = points(0, 50, "lr=log:1e-3:1e-1")
    assert points(0, 20, "lr=log:1e-3:1e-1") == rates[:20]
    assert points(1, 20, "lr=log:1e-3:1e-1") != rates[:20]
    both = points(0, 50, "epochs=int:1:3", "bn=choice:batch,source", "lr=log:1e-3:1e-1")
    assert [point["lr"] for point in both] == [point["lr"] for point in rates]
    assert {point["epochs"] for point in both} == {1, 2, 3}
    assert {point["bn"] for point in both} == {"batch", "source"}
    assert all(1e-3 <= point["lr"] <= 1e-1 for point in rates)
    # On a logarithmic scale, half of the draws lie below the middle, 0.01.
    assert 15 < sum(point["lr"] < 1e-2 for point in rates) < 35


def test_names_show_settings_and_lead_back_to_the_sweep() -> None:
    name = point_name("fine-tuning", {"weight_decay": 1e-4, "lr": 0.01})
    assert name == "fine-tuning+lr=0.01+weight_decay=0.0001"
    long = point_name("fine-tuning", {"milestones": [0.123456789] * 50})
    assert len(long) < 40
    assert base_of(name) == base_of(long) == "fine-tuning"
    assert base_of("fine-tuning+best") is None
    assert settings_in(name) == {"lr": "0.01", "weight_decay": "0.0001"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "the space is empty"),
        ("--grid lr=", "has no values"),
        ("--grid lr=0.1,,1", "one of its values is empty"),
        ("--grid lrr=0.1", "did you mean 'lr'"),
        ("--grid lr=0.1,fast", "lr: Input should be a valid number"),
        ("--grid momentum=0.9,1.5", "momentum: Input should be less than 1"),
        ("--grid lr=0.1 --trials 3", "--trials is of drawn points"),
        ("--grid lr=0.1 --optuna", "--optuna is of drawn points"),
        ("--grid lr=0.1 --draw bn=choice:batch --trials 1", "use one of them"),
        ("--grid epochs=1,2", "--grid epochs: --set gives it one value"),
        ("--grid lr=0.1 --grid lr=1", "given 2 times"),
        ("--draw lr=log:0.1:1", "add --trials N"),
        ("--draw lr=log:1:0.1 --trials 3", "LOW is above HIGH"),
        ("--draw lr=log:0:0.1 --trials 3", "no 0; LOW has to be above 0"),
        ("--draw lr=log:a:b --trials 3", "write log:LOW:HIGH"),
        ("--draw lr=lgo:1:2 --trials 3", "did you mean 'log'"),
        ("--draw momentum=lin:0:2 --trials 3 --optuna", "Input should be less than 1"),
        ("--grid protocol=paper --per-domain", "all domains have the same protocol"),
    ],
)
def test_bad_input_is_refused_before_the_first_trial(
    tiny: Path, tiny_source: Path, tmp_path: Path, arguments: str, said: str
) -> None:
    if "--draw momentum" in arguments:
        pytest.importorskip("optuna")
    done = invoke(*words(tiny, tiny_source, tmp_path / "r", *arguments.split()))
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not (tmp_path / "r").exists()


def test_there_is_no_selection_on_test(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    done = invoke(*words(tiny, tiny_source, tmp_path, *GRID, "--split", "test"))
    assert done.exit_code == 2
    assert "No such option: --split" in " ".join(done.output.split())


def test_a_study_that_is_killed_proposes_the_same_points(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from decathlon.running.proposals import Study

    draws = ("lr=log:1e-3:1", "epochs=int:1:5", "bn=choice:batch,source")
    space: Space = space_of((), draws, 14, True, ())

    def proposed(folder: Path, every: int) -> list[dict[str, object]]:
        folder.mkdir()
        found = []
        for number in range(14):
            if number % every == 0:
                study = Study(folder, "one", space, 0)
                study.point(number)  # is asked for, and never told
                study = Study(folder, "one", space, 0)
            point, trial = study.point(number)
            found.append(point)
            good = None if number == 3 else Fraction(point["epochs"], 5)
            study.tell(trial, good)
        return found

    whole = proposed(tmp_path / "whole", 100)
    assert proposed(tmp_path / "killed", 1) == whole
    again = Study(tmp_path / "killed", "one", space, 0)
    assert [again.point(number) for number in range(14)] == [(point, None) for point in whole]
