"""Trials that are run again as their records say, and what is said where they cannot be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from decathlon.cli import app
from decathlon.common.errors import DataError, UsageError
from decathlon.method.recipe import apply, parse_settings
from decathlon.method.registry import find
from decathlon.models.weights import read_weights, write_weights
from decathlon.results.controls import Routing
from decathlon.results.records import RunRecord, find_records, read_record
from decathlon.running.again import config_of
from decathlon.running.config import Checkpointing, RunConfig
from decathlon.running.events import Epoch, Event
from decathlon.running.execution import execute
from decathlon.running.reproduction import find_source, plan
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.suites.registry import find as find_suite
from decathlon.suites.subset import Subset
from decathlon.training.device import Compute

SETTINGS = ("epochs=2", "batch_size=16")
DIGEST = 64 * "0"


@pytest.fixture(scope="module")
def made(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row of fine-tuning with settings of its own, two seeds, and a trial of spottune."""
    folder = tmp_path_factory.mktemp("made") / "results"
    config = RunConfig(
        ("fine-tuning",),
        tiny,
        folder,
        (str(tiny_source),),
        ("dtd",),
        seeds=(0, 1),
        subsets=(Subset(shots=5),),
        name="short",
        settings=("steps=2", "batch_size=16", "bn=source", "weight_decay.dtd=0.002"),
        compute=Compute("cpu", "32", 1),
    )
    other = RunConfig(
        ("spottune",), tiny, folder, config.sources, ("dtd",), settings=SETTINGS,
        compute=config.compute,
    )  # fmt: skip
    for asked in (config, other):
        assert execute(survey(resolve(asked)), lambda event: None) == []
    return folder


@pytest.fixture
def doctored(made: Path, tmp_path: Path) -> Callable[..., Path]:
    """Returns what copies the results and changes the record of spottune."""

    def change(**fields: Any) -> Path:
        shutil.copytree(made, tmp_path / "results", dirs_exist_ok=True)
        path = tmp_path / "results/spottune/dtd/test/seed0/record.json"
        value = json.loads(path.read_text())
        for key, new in fields.items():
            value[key] = {**(value[key] or {}), **new} if isinstance(new, dict) else new
        path.write_text(json.dumps(value))
        return path

    return change


def reproduce(record: Path, tiny: Path, folder: Path, *options: str) -> Result:
    words = ["reproduce", str(record), "--data", str(tiny), "--results", str(folder), *options]
    return CliRunner().invoke(app, [*words, "--format", "json"])


def verdicts(done: Result) -> list[str]:
    return [one["verdict"] for one in json.loads(done.stdout)["trials"]]


def test_a_row_is_reproduced_byte_for_byte(made: Path, tiny: Path, tmp_path: Path) -> None:
    done = reproduce(made / "short", tiny, tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert verdicts(done) == ["equal", "equal"]
    for path in find_records(tmp_path / "again"):
        for name in ("predictions.json", "weights.safetensors"):
            other = made / path.relative_to(tmp_path / "again").with_name(name)
            assert path.with_name(name).read_bytes() == other.read_bytes()
    # A second call shows the finished result.
    done = reproduce(made / "short", tiny, tmp_path / "again")
    assert "0 trials to run, 2 already done" in done.stderr
    assert verdicts(done) == ["equal", "equal"]


def interrupt(event: Event) -> None:
    if isinstance(event, Epoch):
        raise KeyboardInterrupt


def test_an_interrupted_one_resumes(made: Path, tiny: Path, tmp_path: Path) -> None:
    folder = made / "spottune/dtd/test/seed0"
    record = read_record(folder / "record.json")
    config = config_of(record, tiny, tmp_path, find_source(record, made))
    always = RunConfig(**{**vars(config), "checkpointing": Checkpointing(seconds=0)})
    with pytest.raises(KeyboardInterrupt):
        execute(plan([record], [always]), interrupt)
    done = reproduce(folder, tiny, tmp_path)
    assert "resumed" in done.stderr
    assert verdicts(done) == ["equal"]


def test_weights_are_compared_and_not_what_is_said_of_them(
    doctored: Callable, tiny: Path, tmp_path: Path
) -> None:
    """Earlier code that computes the same is named in the file of its weights."""
    path = doctored()
    weights = path.with_name("weights.safetensors")
    header, tensors = read_weights(weights)
    write_weights(weights, {**header, "code": None}, tensors)
    (one,) = json.loads(reproduce(path, tiny, tmp_path / "again").stdout)["trials"]
    assert (one["same_weights"], one["verdict"]) == (True, "equal")
    tensors["head.bias"][0] += 1
    write_weights(weights, header, tensors)
    (one,) = json.loads(reproduce(path, tiny, tmp_path / "again").stdout)["trials"]
    assert (one["same_weights"], one["verdict"]) == (False, "inside")
    weights.write_bytes(weights.read_bytes()[:-1])
    (one,) = json.loads(reproduce(path, tiny, tmp_path / "again").stdout)["trials"]
    assert (one["same_weights"], one["verdict"]) == (False, "inside")


def test_another_accuracy_is_outside(doctored: Callable, tiny: Path, tmp_path: Path) -> None:
    total = read_record(doctored()).total
    ones = f"{int('1' * total + '0' * (-total % 8), 2):x}"
    done = reproduce(doctored(correct=total, correctness=ones), tiny, tmp_path / "again")
    assert verdicts(done) == ["outside"]
    assert done.exit_code == 4


def test_what_is_not_as_it_was_is_named(doctored: Callable, tiny: Path, tmp_path: Path) -> None:
    library = {"environment": {"torch": "1.0"}}
    changes = {"data": {"train": DIGEST}, "code": {"sha256": DIGEST}, **library}
    path = doctored(**changes)
    refused = reproduce(path, tiny, tmp_path / "again").exception
    assert isinstance(refused, DataError)
    for point in ("another data: train was", "other code: was", "torch: was 1.0, now"):
        assert point in str(refused)
    assert not (tmp_path / "again").exists()
    with pytest.warns(UserWarning, match="another data|other code|torch") as said:
        done = reproduce(path, tiny, tmp_path / "again", "--loosely")
    assert len(said) == 3
    assert verdicts(done) == ["equal"]
    shutil.rmtree(tmp_path / "results")
    refused = reproduce(doctored(**library), tiny, tmp_path / "again").exception
    assert isinstance(refused, UsageError)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"routing": Routing(control="mean", weights="spottune").model_dump()},
            "evaluates the network of spottune; reproduce that",
        ),
        ({"method": "spottune-all-tuned"}, "evaluates the network of spottune; reproduce that"),
        ({"environment": {"world_size": 2}}, "was trained by 2 processes"),
    ],
)
def test_what_cannot_be_run_by_itself_is_refused(
    doctored: Callable, tiny: Path, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    refused = reproduce(doctored(**fields), tiny, tmp_path / "again").exception
    assert isinstance(refused, UsageError)
    assert said in str(refused)


@pytest.mark.parametrize(
    ("method", "suite", "settings"),
    [
        ("fine-tuning", "visual-decathlon", ["steps=7", "nesterov=true", "head_lr=0.2"]),
        ("spottune", "visual-decathlon", ["protocol=released", "weight_decay.dtd=0.5", "fixed=1"]),
        ("fine-tuning", "fine-grained", ["epochs=3", "head_lr=null", "nesterov=false"]),
        ("series-adapters", "fine-grained", ["lr=0.5"]),
    ],
)
def test_settings_are_those_of_the_record(
    made: Path, method: str, suite: str, settings: list[str]
) -> None:
    def applied(given: list[str]) -> dict[str, Any]:
        return apply(
            find(method).recipes, parse_settings(given), method, find_suite(suite)
        ).as_json()

    path = made / "spottune/dtd/test/seed0/record.json"
    own = {"method": method, "suite": suite, "recipe": applied(settings)}
    record: RunRecord = read_record(path).model_copy(update=own)
    found = config_of(record, Path("data"), Path("results")).settings
    assert applied(list(found)) == record.recipe
    assert len(found) <= len(settings) + 1
