"""Methods that evaluate another method's network, and methods that refuse a source."""

import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from decathlon import load_model
from decathlon.common.errors import UsageError
from decathlon.common.locks import claim
from decathlon.method.registry import registered
from decathlon.results.records import RunRecord, read_record
from decathlon.running.config import RunConfig
from decathlon.running.dry_run import Estimates, num_trained
from decathlon.running.events import Event, Started
from decathlon.running.execution import HeldError, attempt, execute
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import TrialState, survey
from decathlon.suites.subset import Subset
from decathlon.training.device import Compute

MODULE = '''
"""A stranger's methods."""

from decathlon.method import Method


class Least(Method):
    """Predicts the class that a network trained by fine-tuning finds least likely."""

    trained_by = "fine-tuning"

    def predict(self, network, batch):
        logits, routing = super().predict(network, batch)
        return -logits, routing


class Picky(Method):
    """Takes no source."""

    @classmethod
    def refusal(cls, source):
        return f"needs a network that is not {source.architecture.as_json()['name']}"


class LeastOfPicky(Least):
    """Evaluates a network that no source gives."""

    trained_by = "picky"


class Circle(Method):
    """Names a method that trains nothing."""

    trained_by = "least"
'''
NAMES = {"least": "Least", "picky": "Picky", "least-of-picky": "LeastOfPicky", "circle": "Circle"}


@pytest.fixture(autouse=True)
def methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The methods, registered as a stranger's are."""
    site = tmp_path / "site"
    (site / "strangers-1.dist-info").mkdir(parents=True)
    (site / "strange_methods.py").write_text(MODULE)
    facts = site / "strangers-1.dist-info"
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
    points = "".join(f"{name} = strange_methods:{kind}\n" for name, kind in NAMES.items())
    (facts / "entry_points.txt").write_text(f"[decathlon.methods]\n{points}")
    monkeypatch.syspath_prepend(str(site))
    registered.cache_clear()
    yield
    registered.cache_clear()
    sys.modules.pop("strange_methods", None)


def asked(tiny: Path, source: Path, tmp_path: Path, *methods: str, **changes: Any) -> list[Run]:
    options: dict[str, Any] = {
        "sources": (str(source),),
        "domains": ("dtd",),
        "settings": ("epochs=1", "batch_size=16"),
        "compute": Compute("cpu", "32"),
    }
    refused = changes.pop("refused", None)
    config = RunConfig(methods, tiny, tmp_path / "r", **{**options, **changes})
    return resolve(config, refused)


class Listener:
    """Remembers which trials began."""

    def __init__(self) -> None:
        self.began: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.began.append(event.trial.name)


def record(tmp_path: Path, method: str, setting: str = "test") -> RunRecord:
    return read_record(tmp_path / "r" / method / "dtd" / setting / "seed0" / "record.json")


def predictions(tmp_path: Path, method: str) -> list[int]:
    path = tmp_path / "r" / method / "dtd" / "test" / "seed0" / "predictions.json"
    return [entry["category_id"] for entry in json.loads(path.read_text())]


def test_the_trained_network_is_evaluated_and_nothing_is_trained(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    listener = Listener()
    states = survey(asked(tiny, tiny_source, tmp_path, "least", "fine-tuning"))
    assert [state.state for state in states] == ["to do", "to do"]
    assert execute(states, listener) == []
    assert listener.began == ["fine-tuning", "least"]
    theirs, own = record(tmp_path, "fine-tuning"), record(tmp_path, "least")
    assert (own.method, own.trained_on, own.trained) == ("least", theirs.trained_on, True)
    assert (own.recipe, own.data, own.source) == (theirs.recipe, theirs.data, theirs.source)
    assert own.parameters == theirs.parameters
    assert own.timing["train_seconds"] == 0.0
    assert own.code != theirs.code
    folders = [tmp_path / "r" / name / "dtd" / "test" / "seed0" for name in (own.name, theirs.name)]
    assert not (folders[0] / "log.jsonl").exists()
    networks = [load_model(folder / "weights.safetensors") for folder in folders]
    for mine, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(mine, other)
    assert predictions(tmp_path, "least") != predictions(tmp_path, "fine-tuning")
    again = survey(asked(tiny, tiny_source, tmp_path, "least"))
    assert [state.state for state in again] == ["done"]


def test_without_the_network_the_command_that_trains_it_is_named(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    subset = Subset(shots=1)
    runs = asked(tiny, tiny_source, tmp_path, "least", subsets=(subset,))
    failures = execute(survey(runs), Listener())
    (failure,) = failures
    assert failure.code == 3
    assert "fine-tuning/dtd/test+1shot/seed0: there is no finished trial" in failure.reason
    assert "run 'decathlon run --method fine-tuning' with the same options" in failure.reason
    trained = asked(tiny, tiny_source, tmp_path, "fine-tuning", subsets=(subset,))
    assert execute(survey(trained), Listener()) == []
    assert execute(survey(runs), Listener()) == []
    assert record(tmp_path, "least", "test+1shot").subset == "1shot"


def test_a_network_of_other_settings_is_not_evaluated(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    assert execute(survey(asked(tiny, tiny_source, tmp_path, "fine-tuning")), Listener()) == []
    settings = ["epochs=1", "batch_size=16", "lr=0.01"]
    (state,) = survey(asked(tiny, tiny_source, tmp_path, "least", settings=settings))
    assert (state.state, state.failure and state.failure.code) == ("refused", 3)
    assert state.failure is not None
    assert "least evaluates the network of fine-tuning, but " in state.failure.reason
    assert "lr was 0.1, now 0.01" in state.failure.reason


def test_the_trial_fails_if_the_network_was_not_trained_and_succeeds_later(
    tiny: Path, tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = survey(asked(tiny, tiny_source, tmp_path, "fine-tuning", "least"))
    with monkeypatch.context() as broken:
        broken.setattr("decathlon.running.trial._trained", _breaks)
        failures = execute(states, Listener())
    assert [(failure.trial.name, failure.code) for failure in failures] == [
        ("fine-tuning", 1),
        ("least", 3),
    ]
    states = survey(asked(tiny, tiny_source, tmp_path, "fine-tuning", "least"))
    assert [state.state for state in states] == ["failed", "failed"]
    assert execute(states, Listener()) == []


def _breaks(*arguments: Any) -> None:
    raise RuntimeError("no training today")


def _holds(folder: Path, held: Any, over: Any) -> None:
    with claim(folder) as ours:
        assert ours
        held.set()
        over.wait(60)


def test_it_waits_while_another_process_trains_the_network(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    (run,) = asked(tiny, tiny_source, tmp_path, "least")
    (trial,) = run.trials()
    trainer = TrialState(run, trial, "to do").folder.trainer
    assert trainer is not None
    context = multiprocessing.get_context("spawn")
    held, over = context.Event(), context.Event()
    process = context.Process(target=_holds, args=(trainer.first, held, over))
    process.start()
    try:
        assert held.wait(60)
        assert [state.state for state in survey([run])] == ["to do"]
        with pytest.raises(HeldError):
            attempt(run, trial, Listener(), 0.0)
    finally:
        over.set()
        process.join()
    assert [state.state for state in survey([run])] == ["refused"]


def test_a_dry_run_counts_no_training(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    states = survey(asked(tiny, tiny_source, tmp_path, "least", "fine-tuning"))
    found = {state.trial.name: num_trained(state.run, state.trial) for state in states}
    assert found["least"] == 0 < found["fine-tuning"]
    estimates = Estimates()
    paces = {s.trial.name: estimates.pace(s.run, s.trial) for s in states}
    assert paces["least"].train == 0 < paces["fine-tuning"].train
    assert paces["least"].evaluate > 0


def test_it_starts_from_the_source_of_the_other(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    runs = asked(
        tiny,
        tiny_source,
        tmp_path,
        "least",
        "fine-tuning",
        sources=(f"fine-tuning={tiny_source}",),
    )
    assert [run.source.path for run in runs] == [tiny_source, tiny_source]


def test_a_refused_source_is_an_error_if_the_method_is_named(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^method 'picky': needs a network that is not resnet"):
        asked(tiny, tiny_source, tmp_path, "picky")
    said = r"2 of 3 methods.*\n  picky, least-of-picky: needs a network that(.*\n)*.*: fine-tuning"
    with pytest.raises(UsageError, match=said):
        asked(tiny, tiny_source, tmp_path, "picky", "fine-tuning", "least-of-picky")


@pytest.mark.parametrize(
    ("method", "setting", "said"),
    [
        ("last-k", "k=99", "--set k=99: the network has 12 residual blocks"),
        ("random-policy", "always=99", "--set always=99: SpotTune routes 8 blocks"),
        ("spottune-global-k", "k=99", "--set k=99: the network has 8 blocks to choose from"),
    ],
)
def test_a_setting_that_the_network_does_not_allow_stops_before_any_trial(
    method: str, setting: str, said: str, tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    settings = ("epochs=1", "batch_size=16", setting)
    runs = asked(tiny, tiny_source, tmp_path, method, settings=settings)
    with pytest.raises(UsageError, match=f"^method '{method}': {said}"):
        survey(runs)


def test_of_all_methods_those_that_refuse_are_left_out_and_named(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    names = ("picky", "fine-tuning", "least-of-picky")
    (run,) = asked(tiny, tiny_source, tmp_path, *names, refused=notes.append)
    assert run.name == "fine-tuning"
    (note,) = notes
    assert note.startswith("left out: picky, least-of-picky: needs a network that is not resnet")
    with pytest.raises(UsageError, match=r"no method can start.*\nleft out: picky: needs"):
        asked(tiny, tiny_source, tmp_path, "picky", refused=notes.append)


def test_a_network_has_to_be_trained_by_a_method_that_trains(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match="'circle' evaluates the network of 'least', which trains none"
    ):
        asked(tiny, tiny_source, tmp_path, "circle")
