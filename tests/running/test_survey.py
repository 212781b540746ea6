"""What a run would do: of one method or several, with one source or several; and how long."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from decathlon.common.errors import UsageError
from decathlon.common.locks import claim
from decathlon.common.text import duration
from decathlon.data.reading.store import open_store
from decathlon.method.registry import registered
from decathlon.models.networks import Architecture
from decathlon.models.weights import write_source
from decathlon.results.published import published_rows
from decathlon.results.records import find_records, read_record
from decathlon.running.config import RunConfig
from decathlon.running.display import PlainLines
from decathlon.running.dry_run import Estimates, Pace, num_trained, preview
from decathlon.running.execution import execute
from decathlon.running.faults import Failure
from decathlon.running.resolve import methods_named, resolve
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.running.trial_folder import TrialFolder
from decathlon.suites.visual_decathlon import SUITE
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute
from tests import pages

QUICK = ("epochs=1", "batch_size=16")


def asked(tiny: Path, sources: Any, results: Path, *methods: str, **changes: Any) -> list[Run]:
    options: dict[str, Any] = {
        "sources": tuple(map(str, sources)),
        "domains": ("dtd", "svhn"),
        "settings": QUICK,
        "compute": Compute("cpu", "32"),
    }
    return resolve(RunConfig(methods, tiny, results, **{**options, **changes}))


@pytest.fixture(scope="module")
def adapted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source network with series adapters, which not every method takes."""
    path = tmp_path_factory.mktemp("adapted") / "adapted.safetensors"
    architecture = Architecture(width=0.25, adapters="series")
    classes = open_store(tiny).domains["imagenet12"].num_classes
    write_source(path, architecture.build(classes), architecture, {})
    return path


def printed(work: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    preview(work, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_preview_shows_names_in_full(
    width: int, tiny: Path, adapted: Path, tmp_path: Path
) -> None:
    work = survey(asked(tiny, [adapted], tmp_path / "r", "dan", "series-adapters-finetune-all"))
    said = printed(work, width)
    assert max(map(len, said.splitlines())) <= width
    assert said.split().count("series-adapters-finetune-all") >= 2
    assert "cannot be run: see below" in " ".join(said.split())
    assert "…" not in said


def test_all_methods_are_the_registered_ones() -> None:
    assert sorted(methods_named(["all"])) == sorted(registered())
    with pytest.raises(UsageError, match="did you mean 'spottune'"):
        methods_named(["fine-tuning", "spotune"])


def test_every_method_starts_from_one_plain_source(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    config = RunConfig(methods_named(["all"]), tiny, tmp_path / "r", (str(tiny_source),))
    runs = resolve(config, pytest.fail)
    work = survey(runs)
    assert {item.state for item in work} == {"to do"}
    assert {item.trial.name for item in work} == set(registered())
    table = [row.method for row in published_rows() if row.table == SUITE.table and row.method]
    assert [run.name for run in runs if run.name in table] == table


def test_seeds_come_before_methods(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    runs = asked(tiny, [tiny_source], tmp_path, "fine-tuning", "dan", seeds=[3, 1], domains=["dtd"])
    order = [(item.trial.seed, item.trial.name) for item in survey(runs)]
    assert order == [(3, "fine-tuning"), (3, "dan"), (1, "fine-tuning"), (1, "dan")]


def test_a_method_that_cannot_take_the_source_stops_no_other(
    tiny: Path, adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = asked(tiny, [adapted], tmp_path / "r", "dan", "feature-extractor")
    work = survey(runs)
    assert [item.state for item in work] == ["refused"] * 2 + ["to do"] * 2
    shown = " ".join(printed(work).split())
    assert "dan dtd 0 cannot be run: see below" in shown
    assert "dan, dtd svhn, test, seed 0:" in shown
    failures = execute(work, PlainLines())
    assert [(f.trial.name, f.code) for f in failures] == [("dan", 3)] * 2
    assert "has series adapters; DAN starts from one with none" in failures[0].reason
    records = [read_record(path) for path in find_records(tmp_path / "r")]
    assert [record.method for record in records] == ["feature-extractor"] * 2
    assert "2 trials to run, 0 already done\n2 trials cannot be run" in capsys.readouterr().err


def test_a_source_of_a_method_s_own(
    tiny: Path, tiny_source: Path, adapted: Path, tmp_path: Path
) -> None:
    sources = [tiny_source, f"series-adapters={adapted}"]
    runs = asked(tiny, sources, tmp_path, "dan", "series-adapters")
    assert [run.source.path for run in runs] == [tiny_source, adapted]
    assert {item.state for item in survey(runs)} == {"to do"}


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["{s}", "{s}"], r"there is --source .* already.*METHOD=FILE"),
        (["{s}", "lwf={s}"], "'lwf' is not among the methods of this run"),
        (["{s}", "dam={s}"], "did you mean 'dan'"),
        (["dan={s}"], r"1 of 2 methods.*\n.*fine-tuning: starts from a source.*\n.*could: dan"),
    ],
)
def test_sources_that_do_not_fit_are_said(
    tiny: Path, tiny_source: Path, tmp_path: Path, sources: list[str], said: str
) -> None:
    given = [source.format(s=tiny_source) for source in sources]
    with pytest.raises(UsageError, match=said):
        asked(tiny, given, tmp_path, "dan", "fine-tuning")


def test_a_setting_has_to_fit_every_method(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    said = (
        r"1 of 2 methods cannot be run as asked:\n  dan: has no setting 'k'"
        r"(.*\n)*.*These could: spottune-global-k\."
    )
    with pytest.raises(UsageError, match=said):
        asked(tiny, [tiny_source], tmp_path, "dan", "spottune-global-k", settings=["k=2"])


def test_one_name_is_not_for_several_methods(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--name 'x' cannot be the name of 2 methods"):
        asked(tiny, [tiny_source], tmp_path, "dan", "lwf", name="x")


def test_every_mismatch_is_listed_before_anything_is_done(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    methods = ("feature-extractor", "bn-adapt")
    first = asked(tiny, [tiny_source], tmp_path, *methods, domains=["dtd"])
    assert execute(survey(first), PlainLines()) == []
    work = survey(asked(tiny, [tiny_source], tmp_path, *methods, settings=["epochs=2"]))
    assert [item.state for item in work] == ["differs", "to do"] * 2
    with pytest.raises(UsageError) as raised:
        execute(work, PlainLines())
    assert str(raised.value).count("recipe: batch_size was 16, now 128; rerun it with --force") == 2
    assert len(list(find_records(tmp_path))) == 2


def test_a_dry_run_tells_every_state_and_writes_nothing(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    domains = ["dtd", "svhn", "omniglot", "ucf101", "aircraft"]
    (run,) = runs = asked(
        tiny, [tiny_source], tmp_path, "bn-adapt", domains=domains, settings=["epochs=9"]
    )
    done, begun, failed, held, _ = (TrialFolder(run, trial) for trial in run.trials())
    assert execute([item for item in survey(runs) if item.trial == done.trial], PlainLines()) == []
    Checkpoints(begun.checkpoints, begun.identity()).save(40, {}, {"epoch": 4})
    failed.first.mkdir(parents=True)
    failed.write_failure(Failure(failed.trial, 1, "the loss is nan"))
    files = sorted(tmp_path.rglob("*"))
    with claim(held.first):
        files = sorted(tmp_path.rglob("*"))
        shown = " ".join(printed(survey(runs)).split())
    assert sorted(tmp_path.rglob("*")) == files
    assert "bn-adapt dtd 0 done bn-adapt svhn 0 goes on after epoch 4 of 9" in shown
    assert "bn-adapt omniglot 0 failed before: see below" in shown
    assert "bn-adapt ucf101 0 another process is at work on it" in shown
    assert "bn-adapt aircraft 0 to do" in shown
    assert "bn-adapt, omniglot, test, seed 0: the loss is nan" in shown
    assert "bn-adapt 5 1" in shown
    counts = "1 done, 1 goes on, 1 failed before, 1 another process is at work on it, 1 to do"
    assert f"5 trials: {counts}. About" in shown


def test_an_estimate_is_of_the_steps_that_are_left(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    methods = ("fine-tuning", "series-adapters-finetune-all")
    work = survey(asked(tiny, [tiny_source], tmp_path, *methods, settings=["epochs=5"]))
    sizes = {d: i.splits for d, i in open_store(tiny).domains.items()}
    counts = [sizes[d]["train"].num_images + sizes[d]["val"].num_images for d in ("dtd", "svhn")]
    # One batch holds a domain; a joint epoch is one batch of each.
    assert max(counts) <= 128
    assert [num_trained(item.run, item.trial) for item in work] == [
        5 * counts[0],
        5 * counts[1],
        5 * sum(counts),
    ]
    estimates = Estimates()
    whole = estimates.seconds(work[0])
    half = estimates.seconds(type(work[0])(work[0].run, work[0].trial, "begun", epoch=4))
    pace = estimates.pace(work[0].run, work[0].trial)
    assert isinstance(pace, Pace)
    assert whole is not None
    assert half is not None
    assert whole - half == pytest.approx(4 * counts[0] * pace.train)


def test_an_estimate_is_near_the_truth(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    """Within a factor, as other work goes on beside the tests."""
    settings = ["epochs=12", "batch_size=16"]
    work = survey(
        asked(tiny, [tiny_source], tmp_path, "spottune", domains=["dtd"], settings=settings)
    )
    expected = Estimates().seconds(work[0])
    assert execute(work, PlainLines()) == []
    (path,) = find_records(tmp_path)
    took = sum(read_record(path).timing.values())
    assert expected is not None
    assert took / 8 < expected < took * 8


def test_data_that_are_missing_leave_no_estimate(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    shutil.copyfile(tiny / "manifest.json", tmp_path / "data" / "manifest.json")
    runs = asked(tmp_path / "data", [tiny_source], tmp_path / "r", "fine-tuning", domains=["dtd"])
    shown = " ".join(printed(survey(runs)).split())
    assert "fine-tuning, dtd, test, seed 0: no estimate:" in shown
    assert "missing; run 'decathlon prepare'" in shown
    assert "not known" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (119, "2 min"), (12_000, "3 h 20 min"), (300_000, "3 d 11 h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_command_lists_and_does_nothing(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    words = ["run", "--method", "dan", "--method", "bn-adapt", "--source", str(tiny_source)]
    words += ["--data", str(tiny), "--results", str(tmp_path / "r"), "--domain", "dtd", "--dry-run"]
    ended = pages.run(tmp_path, words)
    assert ended.returncode == 0, ended.stderr
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert "2 trials: 2 to do. About" in ended.stdout
    assert not (tmp_path / "r").exists()
