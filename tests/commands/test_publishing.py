"""Bundles through the commands: trained, packed, checked with their weights, scored, compared."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.files import sha256
from tests.commands.test_cli import decathlon, refused
from tests.scoring.bundling.conftest import doctored
from tests.scoring.bundling.test_checking import edit

METHODS = ("fine-tuning", "feature-extractor", "spottune")


@pytest.fixture(scope="module")
def trained(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods on two tiny domains and the source's own."""
    results = tmp_path_factory.mktemp("published") / "results"
    command = ["run", "--data", str(tiny), "--source", str(tiny_source), "--results", str(results)]
    command += [word for name in METHODS for word in ("--method", name)]
    command += [word for name in ("imagenet12", "dtd", "svhn") for word in ("--domain", name)]
    command += ["--set", "epochs=1", "--set", "batch_size=16", "--device", "cpu", "--threads", "1"]
    done = decathlon(*command, "--precision", "32")
    assert done.returncode == 0, done.stderr
    return results


@pytest.fixture(scope="module")
def packed(trained: Path) -> Path:
    """A bundle of SpotTune's row with its weights."""
    path = trained.parent / "packed.zip"
    done = invoke("bundle", "spottune", trained, "--out", path, "--weights", "--label", "Ours")
    assert done.startswith(f"{path}: Ours, 3 records, ")
    return path


@pytest.fixture
def bundle(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(packed, tmp_path / "ours.zip"))


def invoke(*words: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def check(path: Path, *more: str | Path, code: int = 0) -> dict[str, Any]:
    value = json.loads(invoke("check-bundle", path, *more, "--format", "json", code=code))
    return value | {"points": {point["name"]: point for point in value["points"]}}


def test_a_trained_row_is_verified(bundle: Path, tiny: Path) -> None:
    value = check(bundle, "--data", tiny)
    assert value["verdict"] == "verified"
    assert {point["state"] for point in value["points"].values()} == {"holds"}
    assert value["points"]["#par"]["text"].endswith("x by the records, recounted from 3 networks")
    labels = tiny.parent / "archives" / "labels_test.zip"
    assert check(bundle, "--labels", labels)["verdict"] == "verified"
    assert check(bundle)["verdict"] == "complete"


def test_parameters_are_counted_again(bundle: Path) -> None:
    record = "results/spottune/dtd/test/seed0/record.json"
    value = check(doctored(bundle, edit(record, parameters__domain=8)), code=4)
    (text,) = value["points"]["#par"]["differences"]
    assert text.startswith("dtd/test/seed0: parameters.domain is 8 in the record, ")
    assert value["points"]["card"]["state"] == "holds"


def test_weights_of_another_method_are_found(bundle: Path, trained: Path) -> None:
    other = (trained / "fine-tuning/dtd/test/seed0/weights.safetensors").read_bytes()
    name = "results/spottune/dtd/test/seed0/weights.safetensors"
    value = check(doctored(bundle, lambda members: members.update({name: other})), code=4)
    (text,) = value["points"]["#par"]["differences"]
    assert text.startswith('dtd/test/seed0: weights.safetensors: method is "fine-tuning" in')


def test_damaged_weights_and_sources_are_found(bundle: Path, tiny_source: Path) -> None:
    source = f"results/sources/{sha256(tiny_source)}.safetensors"
    weights = "results/spottune/svhn/test/seed0/weights.safetensors"

    def change(members: dict[str, bytes]) -> None:
        members[source] = members[source][:-1] + b"\0"
        members[weights] = members[weights][:100]

    found = check(doctored(bundle, change), code=4)["points"]["#par"]["differences"]
    assert any(text.startswith(source.removeprefix("results/")) for text in found)
    assert any(text.startswith("svhn/test/seed0: weights.safetensors: ") for text in found)


def test_a_network_that_is_missing_leaves_the_parameters_unchecked(bundle: Path) -> None:
    weights = "results/spottune/svhn/test/seed0/weights.safetensors"
    doctored(bundle, lambda members: members.update({weights: b""}))
    (text,) = check(bundle, code=4)["points"]["#par"]["differences"]
    assert text.startswith("svhn/test/seed0: weights.safetensors: ")
    doctored(bundle, lambda members: members.__delitem__(weights))
    point = check(bundle)["points"]["#par"]
    assert point["state"] == "unchecked"
    assert point["text"].endswith("x by the records, recounted from 2 of 3 networks only")


def test_a_network_that_would_be_huge_is_not_built(bundle: Path, tmp_path: Path) -> None:
    trial = "results/spottune/dtd/test/seed0"

    def change(members: dict[str, bytes]) -> None:
        file = tmp_path / "weights.safetensors"
        file.write_bytes(members[f"{trial}/weights.safetensors"])
        with safe_open(file, "numpy") as old:
            header = json.loads(old.metadata()["decathlon"])
        header["architecture"]["width"] = 60.0
        save_file(load_file(file), file, {"decathlon": json.dumps(header)})
        members[f"{trial}/weights.safetensors"] = file.read_bytes()

    (text,) = check(doctored(bundle, change), code=4)["points"]["#par"]["differences"]
    assert "architecture.width is 60.0 in the weights, 0.25 in the record" in text
    doctored(bundle, edit(f"{trial}/record.json", network__width=60.0))
    (text,) = check(bundle, code=4)["points"]["#par"]["differences"]
    assert "its files are too small for a network of" in text


def test_bundles_are_scored_beside_folders(trained: Path, bundle: Path) -> None:
    alone = invoke("score", trained, "--baseline", "fine-tuning", "--format", "json")
    both = json.loads(
        invoke("score", bundle, trained, "--baseline", "fine-tuning", "--format", "json")
    )
    rows = {row["label"]: row for row in both["rows"]}
    assert rows.keys() == {*METHODS, "Ours"}
    assert rows["Ours"]["score"] == rows["spottune"]["score"]
    others = [row | {"rank": None} for row in both["rows"] if row["label"] != "Ours"]
    assert [row | {"rank": None} for row in json.loads(alone)["rows"]] == others
    only = json.loads(invoke("score", bundle, "--baseline", "Ours", "--format", "json"))
    assert [row["label"] for row in only["rows"]] == ["Ours"]


def test_bundles_are_compared_and_plotted(trained: Path, bundle: Path, tmp_path: Path) -> None:
    base = ("--baseline", "fine-tuning", "--format", "json")
    value = json.loads(invoke("compare", "Ours", "spottune", trained, bundle, *base))
    assert value["score"]["difference"] == 0
    out = tmp_path / "figure.svg"
    invoke("plot", "usage", bundle, "--out", out)
    assert "<svg" in out.read_text()
    invoke("plot", "ranks", trained, bundle, "--baseline", "fine-tuning", "--out", out)
    assert "Ours" in out.read_text()


def test_a_page_shows_the_routing_of_a_bundle(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "board.html"
    invoke("score", bundle, "--baseline", "Ours", "--format", "html", "--out", out)
    assert "Ours" in out.read_text()


def test_what_is_missing_is_told(trained: Path, bundle: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.zip"
    assert f"{absent}: no such results folder or bundle" in refused(
        4, "score", str(trained), str(absent)
    )
    assert f"{absent}: cannot be read" in refused(4, "check-bundle", str(absent))
    path = tmp_path / "val.zip"
    assert "no val results of 'spottune'" in refused(
        2, "bundle", "spottune", str(trained), "--split", "val", "--out", str(path)
    )
    assert "this does not fit on the card of a bundle:\n  links.paper: " in refused(
        2, "bundle", "spottune", str(trained), "--paper", "x", "--out", str(path)
    )
    text = refused(2, "check-bundle", str(bundle), "--data", "a", "--labels", "b")
    assert "--data and --labels both give labels" in text
    assert not path.exists()


def test_boards_without_runs_name_what_was_given(bundle: Path, trained: Path) -> None:
    text = invoke("score", trained, bundle, "--split", "val", "--kind", "run")
    assert f"{trained} and {bundle} has" in text
    assert "decathlon-" not in text


@pytest.mark.parametrize("command", ["bundle", "check-bundle"])
def test_torch_is_not_imported_without_weights(trained: Path, tmp_path: Path, command: str) -> None:
    path = tmp_path / "a.zip"
    invoke("bundle", "spottune", trained, "--out", path)
    words = ["bundle", "spottune", str(trained), "--out", str(tmp_path / "b.zip")]
    arguments = words if command == "bundle" else ["check-bundle", str(path)]
    code = (
        "import sys; from decathlon.cli import app\n"
        f"try: app({arguments!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_text_that_windows_saved_is_text_like_any_other(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.bib").write_bytes(b"\xef\xbb\xbf@misc{a,\r\n  title = {A},\r\n}\r\n")
    path = tmp_path / "a.zip"
    invoke("bundle", "spottune", trained, "--out", path, "--bibtex", tmp_path / "a.bib")
    with zipfile.ZipFile(path) as archive:
        card = json.loads(archive.read("card.json"))
    assert card["bibtex"] == "@misc{a,\n  title = {A},\n}\n"
