"""Runs on a suite of photographs: steps, subsets and bounding boxes; every method that can."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from decathlon_methods.spottune.routing import RoutedNetwork
from typer.testing import CliRunner

from decathlon import load_model
from decathlon.cli import app
from decathlon.common.errors import UsageError
from decathlon.data.preparing.prepare import prepare
from decathlon.data.reading.store import open_store
from decathlon.method.registry import registered
from decathlon.models.networks import Architecture
from decathlon.models.weights import write_source
from decathlon.results.published import published_rows
from decathlon.results.records import find_records, read_record
from decathlon.running.config import RunConfig
from decathlon.running.crops import notes_on_crop
from decathlon.running.display import PlainLines
from decathlon.running.execution import execute
from decathlon.running.resolve import methods_named, resolve
from decathlon.running.run import Run
from decathlon.running.survey import survey
from decathlon.running.trial import feed_of
from decathlon.scoring.board import board_of
from decathlon.suites.fine_grained import BOX, SUITE, WHOLE
from decathlon.training.device import Compute
from tests.data.fine_grained import Fine, add_cub, add_sketches

CHOICE = ("fine-tuning", "spottune-all-tuned", "spottune", "feature-extractor")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Birds, which have bounding boxes, and sketches, which have none."""
    folder = tmp_path_factory.mktemp("fine")
    archives = Fine(folder / "archives")
    add_cub(archives)
    add_sketches(archives)
    prepare(archives.write(), folder / "data", suite=SUITE, domains=["cubs", "sketches"], jobs=0)
    return folder / "data"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow network of the suite's kind, with random weights."""
    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    architecture = Architecture(SUITE.network, width=0.0625)
    torch.manual_seed(0)
    write_source(path, architecture.build(7), architecture, {})
    return path


def asked(data: Path, source: Path, results: Path, **changes: Any) -> Run:
    options: dict[str, Any] = {
        "sources": (str(source),),
        "domains": ("cubs", "sketches"),
        "settings": ("steps=2", "batch_size=4"),
        "crop": "box",
        "compute": Compute("cpu", "32"),
    }
    (run,) = resolve(RunConfig(("feature-extractor",), data, results, **{**options, **changes}))
    return run


@pytest.mark.parametrize(
    "methods", [CHOICE, pytest.param(("all",), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_methods_run_from_the_command_line(
    data: Path, source: Path, tmp_path: Path, methods: tuple[str, ...]
) -> None:
    words = [word for method in methods for word in ("--method", method)]
    words += ["--source", source, "--data", data, "--results", tmp_path, "--domain", "cubs"]
    words += ["--split", "test", "--shots", "2", "--set", "steps=2", "--set", "batch_size=4"]
    done = CliRunner().invoke(app, ["run", *map(str, words), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    records = {r.name: r for r in map(read_record, find_records(tmp_path))}
    left_out = [line for line in done.output.splitlines() if line.startswith("left out: ")]
    known = set(registered()) if methods == ("all",) else set(methods)
    assert all(name in "".join(left_out) for name in known - set(records))
    assert set(CHOICE) <= set(records)
    for name, record in records.items():
        assert (record.suite, record.subset, record.crop) == (SUITE.name, "2shot", "image")
        assert (record.num_trained, record.num_classes, record.total) == (6, 3, 12)
        assert (record.recipe["steps"], "epochs" in record.recipe) == (2, False)
        log = tmp_path / record.folder / "log.jsonl"
        if name == "spottune-all-tuned":
            assert not log.exists()
            routing = json.loads(log.with_name("routing.json").read_text())
            assert set("".join(routing["images"])) == {"1"}
            network = load_model(log.with_name("weights.safetensors"))
            assert isinstance(network, RoutedNetwork)
            assert (network.decide(torch.zeros(2, 3, 64, 64)) == 1).all()
        else:
            # Two steps of six images in batches of four are one pass.
            assert [json.loads(line)["epochs"] for line in log.read_text().splitlines()] == [1]
    assert f"decathlon score {tmp_path}" in done.output
    assert "--baseline" not in done.output


def test_all_methods_are_in_the_order_of_the_suite_s_table(
    data: Path, source: Path, tmp_path: Path
) -> None:
    config = RunConfig(methods_named(["all"]), data, tmp_path, (str(source),))
    names = [run.name for run in resolve(config, lambda note: None)]
    rows = [row.method for row in published_rows(suite=SUITE) if row.table == SUITE.table]
    last = "spottune-all-tuned"
    assert names[-1] == last
    table = [name for name in rows if name in names and name != last]
    assert [name for name in names if name in table] == table


def test_a_setting_that_one_of_all_methods_lacks_is_named(
    data: Path, source: Path, tmp_path: Path
) -> None:
    config = RunConfig(
        ("last-1", "last-k", "fine-tuning"), data, tmp_path, (str(source),), settings=("k=2",)
    )
    with pytest.raises(UsageError) as error:
        resolve(config)
    lines = str(error.value).splitlines()
    assert "  last-1: settings that do not fit: k: Input should be 1 (given: 2)" in lines
    assert any(line.startswith("  fine-tuning: has no setting 'k'") for line in lines)
    assert len(lines) == 4


def test_images_are_cut_to_boxes_where_there_are_any(
    data: Path, source: Path, tmp_path: Path
) -> None:
    run = asked(data, source, tmp_path)
    birds, sketches = run.trials()
    assert (run.task(birds, "cubs").views, run.task(sketches, "sketches").views) == (BOX, WHOLE)
    fabric = run.config.compute.fabric()
    whole = replace(run, config=replace(run.config, crop="image"))
    batches = []
    for asked_for in (run, whole):
        feed = feed_of(asked_for, birds, "cubs", fabric, training=False)
        batches.append(next(feed.evaluation(4))[1].images)
    assert batches[0].shape == batches[1].shape == (4, 3, 224, 224)
    assert not torch.equal(*batches)
    assert notes_on_crop(open_store(data), run.config.domains, "box") == [
        "sketches: no bounding boxes, so whole images are used"
    ]
    assert notes_on_crop(open_store(data), run.config.domains, "image") == []


def test_the_crop_is_part_of_a_result_s_identity(data: Path, source: Path, tmp_path: Path) -> None:
    run = asked(data, source, tmp_path)
    assert execute(survey([run]), PlainLines()) == []
    assert [read_record(path).crop for path in find_records(tmp_path)] == ["box", "image"]
    birds, sketches = survey([asked(data, source, tmp_path, crop="image")])
    assert birds.failure is not None
    assert 'another crop: was "box", now "image"' in birds.failure.reason
    assert sketches.state == "done"
    with pytest.warns(UserWarning, match=r"trained differently \(crop was \"box\", now \"image\""):
        survey([asked(data, source, tmp_path, crop="image", domains=("sketches",))])


def test_whole_images_of_a_domain_without_boxes_are_done_for_either_crop(
    data: Path, source: Path, tmp_path: Path
) -> None:
    whole = asked(data, source, tmp_path, crop="image", domains=("sketches",))
    assert execute(survey([whole]), PlainLines()) == []
    boxes = asked(data, source, tmp_path)
    assert [state.state for state in survey([boxes])] == ["to do", "done"]
    assert execute(survey([boxes]), PlainLines()) == []
    (row,) = [row for row in board_of(tmp_path, suite=SUITE).rows if row.kind == "run"]
    assert [name for name, found in row.accuracy.items() if found] == ["cubs", "sketches"]


def test_without_a_source_the_suite_s_network_is_trained(data: Path, tmp_path: Path) -> None:
    settings = ("steps=2", "width=0.1")
    config = RunConfig(("scratch",), data, tmp_path, settings=settings)
    (run,) = resolve(config)
    assert run.source.architecture == Architecture(SUITE.network, 0.1)
    with pytest.raises(UsageError, match=r"--source \(made by 'decathlon import-weights'\)"):
        resolve(replace(config, methods=("fine-tuning",), settings=()))


def test_boxes_are_asked_for_in_vain(data: Path, source: Path, tmp_path: Path) -> None:
    said = "no domain of this run has bounding boxes(.*\n)suite 'fine-grained': those of cubs, stan"
    with pytest.raises(UsageError, match=said):
        survey([asked(data, source, tmp_path, domains=("sketches",))])


def test_folders_of_cropped_images_have_no_boxes(data: Path, source: Path, tmp_path: Path) -> None:
    archives = Fine(tmp_path / "archives")
    add_cub(archives)
    archives.unpack()
    for split in ("train", "test"):
        shutil.copytree(
            tmp_path / "archives" / "CUB_200_2011" / "images", tmp_path / "cropped" / split
        )
    prepare(None, tmp_path / "data", suite=SUITE, folders={"cubs": tmp_path / "cropped"}, jobs=0)
    run = asked(tmp_path / "data", source, tmp_path / "r", domains=("cubs",))
    said = r"cubs: prepared without bounding boxes; folders of images have none: .*leave --crop box"
    with pytest.raises(UsageError, match=said):
        survey([run])
