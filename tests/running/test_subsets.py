"""Low-data regimes: which images are trained on, and where the results are kept."""

import io
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.data.reading.store import open_store
from decathlon.results.records import find_records, read_record
from decathlon.running.config import RunConfig, subsets_of
from decathlon.running.display import PlainLines
from decathlon.running.dry_run import num_trained, preview
from decathlon.running.execution import execute
from decathlon.running.resolve import resolve
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.running.trial import feed_of
from decathlon.running.trial_folder import TrialFolder
from decathlon.suites.subset import Subset
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute

PARTS = ("", "+1shot", "+1shot.d1", "+75pct")


def asked(data: Path, results: Path, method: str = "scratch", **changes: Any) -> Run:
    options: dict[str, Any] = {
        "domains": ("dtd",),
        "settings": ("epochs=1", "batch_size=16", "width=0.1"),
        "subsets": (Subset(shots=1),),
        "compute": Compute("cpu", "32"),
    }
    (run,) = resolve(RunConfig((method,), data, results, **{**options, **changes}))
    return run


def finished(*arguments: Any, **changes: Any) -> None:
    assert execute(survey([asked(*arguments, **changes)]), PlainLines()) == []


def test_a_trial_trains_on_the_subset_and_evaluates_on_all(tiny: Path, tmp_path: Path) -> None:
    run = asked(tiny, tmp_path)
    (trial,) = run.trials()
    store, fabric = open_store(tiny), run.config.compute.fabric()
    both = store.images("dtd", ("train", "val"))
    wanted = both.image_ids[Subset(shots=1).of(both.labels, both.image_ids)].tolist()
    feed = feed_of(run, trial, "dtd", fabric, training=True, size=4)
    batches = islice(feed.training(0, float), feed.steps_per_epoch)
    assert sorted(i for batch in batches for i in batch.ids.tolist()) == sorted(wanted)
    assert len(wanted) < len(both)
    assert feed.task.num_images == len(wanted) == num_trained(run, trial)
    held_out = feed_of(run, trial, "dtd", fabric, training=False)
    assert len(held_out.images) == store.domains["dtd"].splits["test"].num_images
    _, counts = np.unique(feed.images.labels, return_counts=True)
    assert counts.tolist() == [1] * feed.task.num_classes


def test_its_results_have_a_folder_and_an_identity_of_their_own(tiny: Path, tmp_path: Path) -> None:
    draws = (Subset(shots=1), Subset(shots=1, draw=1))
    finished(tiny, tmp_path, subsets=())
    finished(tiny, tmp_path, subsets=draws)
    finished(tiny, tmp_path, subsets=(Subset(fraction=0.75),))
    paths = [
        tmp_path / "scratch" / "dtd" / f"test{part}" / "seed0" / "record.json" for part in PARTS
    ]
    assert list(find_records(tmp_path)) == paths
    records = [read_record(path) for path in paths]
    assert [record.subset for record in records] == ["", "1shot", "1shot.d1", "75pct"]
    splits = open_store(tiny).domains["dtd"].splits
    every = splits["train"].num_images + splits["val"].num_images
    classes = records[0].num_classes
    assert [record.num_trained for record in records] == [every, classes, classes, every]
    first, second = ((path.parent / "weights.safetensors").read_bytes() for path in paths[1:3])
    assert first != second
    again = survey([asked(tiny, tmp_path, subsets=draws)])
    assert [(item.state, item.trial.subset) for item in again] == [("done", d) for d in draws]


def test_a_record_of_another_subset_in_the_folder_is_said(tiny: Path, tmp_path: Path) -> None:
    finished(tiny, tmp_path)
    (path,) = find_records(tmp_path)
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"subset": "3shot"}))
    with pytest.raises(UsageError, match='another subset: was "3shot", now "1shot"'):
        finished(tiny, tmp_path)


def test_records_and_checkpoints_without_the_new_facts_still_count(
    tiny: Path, tmp_path: Path
) -> None:
    run = asked(tiny, tmp_path, subsets=(), domains=("dtd", "svhn"))
    done, begun = (TrialFolder(run, trial) for trial in run.trials())
    identity = {"svhn": begun.expected("svhn")}
    for fact in ("subset", "crop", "routing", "selection"):
        del identity["svhn"][fact]
    Checkpoints(begun.checkpoints, identity).save(3, {}, {"epoch": 1})
    finished(tiny, tmp_path, subsets=())
    path = done.record("dtd")
    value = json.loads(path.read_text())
    del value["subset"], value["crop"], value["num_trained"], value["routing"]
    path.write_text(json.dumps(value))
    assert [item.state for item in survey([run])] == ["done", "begun"]


def test_the_source_domain_is_evaluated_once_for_all_subsets(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run = asked(
        tiny,
        tmp_path,
        "feature-extractor",
        sources=(str(tiny_source),),
        domains=("dtd", "imagenet12"),
        settings=("epochs=1", "batch_size=16"),
        subsets=(Subset(shots=1), Subset(shots=1, draw=1)),
    )
    assert [(t.domains, t.setting) for t in run.trials()] == [
        (("dtd",), "test+1shot"),
        (("dtd",), "test+1shot.d1"),
        (("imagenet12",), "test"),
    ]
    expected = TrialFolder(run, run.trials()[-1]).expected("imagenet12")
    assert expected["subset"] == ""


def test_a_joint_training_takes_the_subset_of_each_domain(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    run = asked(
        tiny,
        tmp_path,
        "series-adapters-finetune-all",
        sources=(str(tiny_source),),
        domains=("dtd", "svhn"),
        settings=("epochs=1", "batch_size=16"),
    )
    (trial,) = run.trials()
    tasks = [run.task(trial, domain) for domain in trial.domains]
    assert [task.num_images for task in tasks] == [task.num_classes for task in tasks]


def test_a_dry_run_shows_the_subsets(tiny: Path, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    preview(survey([asked(tiny, tmp_path, subsets=(Subset(fraction=0.1, draw=3),))]), console)
    assert isinstance(console.file, io.StringIO)
    shown = " ".join(console.file.getvalue().split())
    assert "name domain images seed state time" in shown
    assert "scratch dtd 10pct.d3 0 to do" in shown


@pytest.mark.parametrize(
    ("shots", "fraction", "draws", "found"),
    [
        (None, None, (), ()),
        (5, None, (), (Subset(shots=5),)),
        (None, 0.25, (2, 0, 2), (Subset(fraction=0.25, draw=2), Subset(fraction=0.25))),
    ],
)
def test_options_give_subsets(
    shots: int | None, fraction: float | None, draws: tuple[int, ...], found: tuple[Subset, ...]
) -> None:
    assert subsets_of(shots, fraction, draws) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shots", "0"], "--shots 0: give at least 1 image per class"),
        (["--fraction", "0"], "--fraction 0: give a share above 0, at most 1"),
        (["--shots", "2", "--fraction", "0.5"], "give either --shots K or --fraction F"),
        (["--draw", "1"], "add --shots K or --fraction F"),
        (["--shots", "2", "--draw", "-1"], "--draw -1: give 0 or more"),
        (["--crop", "boxes"], "--crop 'boxes': use image or box"),
    ],
)
def test_options_that_do_not_fit_are_said(tiny: Path, options: list[str], said: str) -> None:
    words = ["run", "--method", "scratch", "--data", str(tiny), "--results", "r", *options]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)


def test_a_configuration_with_subsets_survives_its_way_as_text(tmp_path: Path) -> None:
    subsets = (Subset(shots=2, draw=1), Subset(fraction=0.5))
    config = RunConfig(("scratch",), tmp_path, tmp_path, subsets=subsets, crop="box")
    found = RunConfig.from_json(json.loads(json.dumps(config.as_json())))
    assert (found.subsets, found.crop) == (subsets, "box")
