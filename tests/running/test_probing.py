"""``decathlon probe``: fitted to cached features, recorded as every trial."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from decathlon.cli import app
from decathlon.data.reading.store import open_store
from decathlon.method.stored import load_model
from decathlon.models.weights import read_source, read_weights, write_weights
from decathlon.results.records import RunRecord, find_records, read_record
from decathlon.training.feed import Feed

CPU = torch.device("cpu")


def probe(data: Path, source: Path, results: Path, *words: str, domain: str = "dtd") -> Result:
    given = ["--data", data, "--source", source, "--results", results, "--device", "cpu"]
    given += ["--domain", domain, "--threads", "1", *words]
    return CliRunner().invoke(app, ["probe", *map(str, given)])


def records(results: Path) -> dict[str, RunRecord]:
    return {record.name: record for record in map(read_record, find_records(results))}


def said(done: Result) -> tuple[int | None, str]:
    code = getattr(done.exception, "exit_code", getattr(done.exception, "code", None))
    return code, f"{done.exception} {done.output}"


@pytest.fixture(scope="module")
def probed(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("probed")
    done = probe(tiny, tiny_source, results, "--split", "test")
    assert done.exit_code == 0, done.output
    return results


def test_records_are_those_of_the_stored_networks(
    tiny: Path, tiny_source: Path, probed: Path
) -> None:
    store, source = open_store(tiny), read_source(tiny_source)
    view = store.suite.views_of("dtd", "image").test
    feed = Feed(store, "dtd", ("test",), view, 64, 0, CPU)
    found = records(probed)
    assert set(found) == {"linear-probe", "knn"}
    for record in found.values():
        network = load_model(probed / record.folder / "weights.safetensors")
        with torch.inference_mode():
            parts = [network(batch.images).argmax(1) for _, batch in feed.evaluation(64)]
        listed = json.loads((probed / record.folder / "predictions.json").read_text())
        first = store.domains["dtd"].first_category
        assert [row["category_id"] - first for row in listed] == torch.cat(parts).tolist()
        assert record.correct == int((torch.cat(parts).numpy() == feed.images.labels).sum())
        assert (record.source, record.trained_on) == (source.sha256, "train+val")
        assert record.parameters.shared == record.parameters.source
    assert found["knn"].recipe == {"protocol": "paper", "k": 20, "temperature": 0.07}
    assert found["knn"].chosen == {}
    assert "chosen" not in json.loads((probed / found["knn"].folder / "record.json").read_text())
    board = CliRunner().invoke(app, ["score", str(probed), "--baseline", "knn"])
    assert "linear-probe" in board.output, board.output


@pytest.mark.parametrize(
    ("domain", "words", "trained", "held_out"),
    [
        ("svhn", ("--split", "test"), 30, 10),  # val
        ("svhn", ("--split", "val"), 20, 10),  # one of two of each class
        ("svhn", ("--split", "test", "--shots", "3"), 30, 10),  # one of three
        ("dtd", ("--split", "val"), 12, None),  # of one, none
    ],
)
def test_the_decay_is_chosen_by_images_that_are_trained_on(
    domain: str,
    words: tuple[str, ...],
    trained: int,
    held_out: int | None,
    tiny: Path,
    tiny_source: Path,
    tmp_path: Path,
) -> None:
    done = probe(tiny, tiny_source, tmp_path, "--linear", *words, domain=domain)
    assert done.exit_code == 0, done.output
    record = records(tmp_path)["linear-probe"]
    assert record.num_trained == trained
    assert record.chosen.get("held_out") == held_out
    assert record.chosen["decay"] in record.recipe["decays"]


def test_finished_probes_are_skipped_or_refused_and_features_used_again(
    tiny: Path, tiny_source: Path, probed: Path
) -> None:
    kept = {path: path.stat().st_mtime_ns for path in probed.glob("features/*")}
    assert len(kept) == 3
    again = probe(tiny, tiny_source, probed, "--split", "test")
    assert "0 trials to run, 2 already done" in again.output
    code, text = said(probe(tiny, tiny_source, probed, "--split", "test", "--knn", "3"))
    assert code == 2
    assert "another recipe: k was 20, now 3" in text
    before = records(probed)
    assert probe(tiny, tiny_source, probed, "--split", "test", "--force").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in probed.glob("features/*")} == kept
    apart = {"environment", "timing", "cost"}
    assert [r.model_dump(exclude=apart) for r in records(probed).values()] == [
        r.model_dump(exclude=apart) for r in before.values()
    ]


@pytest.mark.parametrize("fault", ["bits", "cut", "numbers", "origin"])
def test_a_damaged_or_foreign_file_is_computed_again(
    fault: str, tiny: Path, tiny_source: Path, probed: Path, tmp_path: Path
) -> None:
    assert probe(tiny, tiny_source, tmp_path, "--split", "test", "--knn", "20").exit_code == 0
    (path,) = tmp_path.glob("features/dtd-train-*")
    good = path.read_bytes()
    header, tensors = read_weights(path)
    if fault == "bits":
        path.write_bytes(good[:-3] + bytes([good[-3] ^ 64]) + good[-2:])
    elif fault == "cut":
        path.write_bytes(good[:-8])
    else:
        values = tensors["features"] + (fault == "numbers")
        other = {**header, "of": {}} if fault == "origin" else header
        write_weights(path, {k: v for k, v in other.items() if k != "bits"}, {"features": values})
    with pytest.warns(UserWarning, match="computed again"):
        done = probe(tiny, tiny_source, tmp_path, "--split", "test", "--knn", "20", "--force")
    assert done.exit_code == 0
    assert path.read_bytes() == good
    assert records(tmp_path)["knn"].predictions == records(probed)["knn"].predictions


def test_without_cache_nothing_is_kept(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    done = probe(tiny, tiny_source, tmp_path, "--split", "val", "--no-cache", "--knn", "1000")
    assert done.exit_code == 0
    assert not (tmp_path / "features").exists()
    assert set(records(tmp_path)) == {"knn"}  # with more neighbours than images


def test_wrong_usage_is_one_message(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    for words, text in (
        (("--knn", "0"), "Invalid value for '--knn'"),
        (("--name", "mine"), "cannot be the name of both probes"),
        (("--split", "train"), "use val or test"),
    ):
        code, shown = said(probe(tiny, tiny_source, tmp_path, *words))
        assert (code, text in shown) == (2, True), shown
    for words, text in (
        (["probe"], "starts from a source network: name it with --source"),
        (["run", "--method", "knn"], "not trained but fitted to features: use 'decathlon probe'"),
    ):
        given = [*words, "--data", str(tiny), "--results", str(tmp_path / "r")]
        code, shown = said(CliRunner().invoke(app, given))
        assert (code, text in shown) == (2, True), shown
    assert not list(tmp_path.iterdir())
