"""Runs: what is written, that it is repeatable, and that nothing foreign is mixed in."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from decathlon import load_model
from decathlon.common.errors import UsageError
from decathlon.data.reading.store import open_store
from decathlon.results.records import find_records, read_record
from decathlon.running.config import RunConfig
from decathlon.running.events import Epoch, Event, Planned
from decathlon.running.execution import execute
from decathlon.running.faults import Failure
from decathlon.running.resolve import resolve
from decathlon.running.run import Run, Trial
from decathlon.running.survey import survey
from decathlon.training.device import Compute
from tests.scoring.making import unpacked

METHODS = ["scratch", "feature-extractor", "fine-tuning", "spottune"]


class Listener:
    """Remembers what a run says."""

    def __init__(self) -> None:
        self.todo: list[Trial] = []
        self.done: list[Trial] = []
        self.epochs: list[Mapping[str, Any]] = []
        self.failures: list[Failure] = []

    def __call__(self, event: Event) -> None:
        match event:
            case Planned(states):
                self.todo = [state.trial for state in states if state.state != "done"]
                self.done = [state.trial for state in states if state.state == "done"]
            case Epoch(_, facts):
                self.epochs.append(facts)
            case Failure():
                self.failures.append(event)


def wanted(tiny: Path, source: Path | None, results: Path, method: str, **changes: Any) -> Run:
    options: dict[str, Any] = {
        "sources": () if source is None else (str(source),),
        "domains": ("dtd",),
        "settings": ("epochs=1", "batch_size=16"),
        "compute": Compute("cpu", "32"),
    }
    (run,) = resolve(RunConfig((method,), tiny, results, **{**options, **changes}))
    return run


def run(*arguments: Any, **changes: Any) -> Listener:
    listener = Listener()
    failures = execute(survey([wanted(*arguments, **changes)]), listener)
    assert [failure.reason for failure in failures] == []
    return listener


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_everything_that_is_promised(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: str
) -> None:
    run(tiny, tiny_source, tmp_path, method)
    (path,) = find_records(tmp_path)
    record = read_record(path)
    predictions = json.loads((path.parent / "predictions.json").read_text())
    images = open_store(tiny).images("dtd", ["test"])
    assert [p["image_id"] for p in predictions] == images.image_ids.tolist()
    assert record.total == len(images)
    first = open_store(tiny).domains["dtd"].first_category
    right = [
        p["category_id"] - first == label
        for p, label in zip(predictions, images.labels.tolist(), strict=True)
    ]
    assert record.correctness is not None
    assert unpacked(record.correctness, len(images)) == right
    assert record.correct == sum(right)
    assert record.trained_on == "train+val"
    logits = load_model(path.parent / "weights.safetensors")(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, record.num_classes)
    epochs = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in epochs] == [1]
    assert (path.parent / "routing.json").exists() == (method == "spottune")


def test_loaded_weights_predict_what_was_recorded(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    from decathlon.training.feed import Normaliser

    run(tiny, tiny_source, tmp_path, "spottune", domains=["omniglot"])
    (path,) = find_records(tmp_path)
    store = open_store(tiny)
    info, images = store.domains["omniglot"], store.images("omniglot", ["test"])
    pixels = torch.stack([torch.from_numpy(images.pixels(i).copy()) for i in range(len(images))])
    with torch.inference_mode():
        predicted = load_model(path.parent / "weights.safetensors")(
            Normaliser(info.mean, info.std, pixels.device)(pixels)
        ).argmax(1)
    saved = json.loads((path.parent / "predictions.json").read_text())
    assert [p["category_id"] - info.first_category for p in saved] == predicted.tolist()


@pytest.mark.parametrize("method", ["fine-tuning", "spottune"])
def test_the_same_seed_predicts_the_same(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: str
) -> None:
    kept = []
    for name in ("a", "b"):
        run(tiny, tiny_source, tmp_path / name, method, settings=["epochs=2", "batch_size=16"])
        (path,) = find_records(tmp_path / name)
        record = read_record(path).model_dump(exclude={"environment", "timing", "cost"})
        files = [
            (path.parent / f).read_bytes() for f in ("predictions.json", "weights.safetensors")
        ]
        kept.append((record, files))
    assert kept[0] == kept[1]


def test_another_seed_trains_another_network(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    run(tiny, tiny_source, tmp_path, "fine-tuning", seeds=[0, 1])
    weights = [p.parent / "weights.safetensors" for p in find_records(tmp_path)]
    assert len(weights) == 2
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_what_is_finished_is_not_done_again(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    run(tiny, tiny_source, tmp_path, "feature-extractor")
    again = run(tiny, tiny_source, tmp_path, "feature-extractor", domains=["dtd", "svhn"])
    assert [t.domains for t in again.done] == [("dtd",)]
    assert [t.domains for t in again.todo] == [("svhn",)]


def test_another_recipe_is_said_not_mixed(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    run(tiny, tiny_source, tmp_path, "feature-extractor")
    changed = ["epochs=2", "batch_size=16"]
    with pytest.raises(UsageError, match=r"epochs was 1, now 2.*--force"):
        run(tiny, tiny_source, tmp_path, "feature-extractor", settings=changed)
    run(tiny, tiny_source, tmp_path, "feature-extractor", settings=changed, force=True)
    (path,) = find_records(tmp_path)
    assert read_record(path).recipe["epochs"] == 2


def test_another_network_is_said_where_nothing_of_the_source_is_used(
    tiny: Path, tmp_path: Path
) -> None:
    settings = ("epochs=1", "batch_size=16", "width=0.25")
    run(tiny, None, tmp_path, "scratch", settings=settings)
    assert run(tiny, None, tmp_path, "scratch", settings=settings).todo == []
    with pytest.raises(UsageError, match=r"another network: width was 0.25, now 0.125.*--force"):
        run(tiny, None, tmp_path, "scratch", settings=(*settings[:2], "width=0.125"))


def test_source_domain_is_kept_or_trained(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    domains = ["imagenet12"]
    run(tiny, tiny_source, tmp_path, "fine-tuning", domains=domains)
    run(tiny, tiny_source, tmp_path, "scratch", domains=domains)
    kept, trained = (read_record(p) for p in find_records(tmp_path))
    assert (kept.trained, kept.trained_on, trained.trained) == (False, "", True)
    assert kept.parameters.domain == 0


def test_a_source_of_other_classes_is_refused_for_its_own_domain(
    tiny: Path, tmp_path: Path
) -> None:
    from decathlon.models.networks import Architecture
    from decathlon.models.weights import write_source

    other = tmp_path / "other.safetensors"
    architecture = Architecture(width=0.25)
    write_source(other, architecture.build(3), architecture, {})
    asked = wanted(tiny, other, tmp_path / "r", "fine-tuning", domains=["imagenet12", "dtd"])
    failures = execute(survey([asked]), Listener())
    assert [(f.trial.domains, f.code) for f in failures] == [(("dtd",), 3), (("imagenet12",), 3)]
    assert "3 classes" in failures[0].reason
    run(tiny, other, tmp_path / "r", "feature-extractor", domains=["dtd"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"domains": ["dtdd"]}, "did you mean 'dtd'"),
        ({"settings": ["epoch=1"]}, "did you mean 'epochs'"),
        ({"settings": ["weight_decay.dtt=1"]}, "did you mean 'dtd'"),
        ({"name": "published"}, "--name"),
        ({"source": None}, "--source"),
    ],
)
def test_wrong_wishes_are_said_before_anything_is_done(
    tiny: Path, tiny_source: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    others = {key: value for key, value in changes.items() if key != "source"}
    source = changes.get("source", tiny_source)
    with pytest.raises(UsageError, match=said):
        run(tiny, source, tmp_path / "r", "fine-tuning", **others)
    assert not list((tmp_path / "r").glob("**/record.json"))


def test_one_failed_trial_does_not_stop_the_others(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    (data / "dtd" / "train.h5").unlink()
    listener = Listener()
    asked = wanted(data, tiny_source, tmp_path / "r", "feature-extractor", domains=["dtd", "svhn"])
    failures = execute(survey([asked]), listener)
    assert failures == listener.failures
    assert [(f.trial.domains, f.code) for f in failures] == [(("dtd",), 3)]
    assert "train.h5: missing; run 'decathlon prepare'" in failures[0].reason
    assert [read_record(p).domain for p in find_records(tmp_path / "r")] == ["svhn"]


def test_two_runs_share_the_work(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "decathlon", "run", "--method", "feature-extractor"]
    command += ["--source", str(tiny_source), "--data", str(tiny), "--results", str(tmp_path)]
    command += ["--set", "epochs=1", "--set", "batch_size=16"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    domains = [read_record(path).domain for path in find_records(tmp_path)]
    assert len(domains) == 10
    for domain in domains:
        assert said.count(f"feature-extractor, {domain}, test, seed 0: started") == 1
