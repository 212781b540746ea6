"""Trained networks on image files: the trial's own predictions, any image, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from decathlon import load_model
from decathlon.cli import app
from decathlon.common.errors import DataError
from decathlon.data.reading.store import open_store
from decathlon.method.stored import open_trained
from decathlon.models.weights import read_weights, write_weights
from decathlon.running.config import RunConfig
from decathlon.running.execution import execute
from decathlon.running.prediction import applied
from decathlon.running.resolve import resolve
from decathlon.running.survey import survey
from decathlon.training.device import Compute
from tests.running.test_trained_by import Listener

WEIGHTS = Path("spottune/dtd/test/seed0/weights.safetensors")


@pytest.fixture(scope="module")
def results(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial that routes, and one of the source network as it is."""
    folder = tmp_path_factory.mktemp("results")
    options = {"sources": (str(tiny_source),), "domains": ("dtd", "imagenet12")}
    options |= {"settings": ("epochs=1", "batch_size=16"), "compute": Compute("cpu", "32")}
    assert (
        execute(survey(resolve(RunConfig(("spottune",), tiny, folder, **options))), Listener())
        == []
    )
    return folder


def predict(*words: object) -> Result:
    wide = {"COLUMNS": "400"}  # paths of temporary files are long
    return CliRunner(env=wide).invoke(app, ["predict", *map(str, words), "--device", "cpu"])


@pytest.mark.parametrize("domain", ["dtd", "imagenet12"])
def test_images_of_the_data_are_predicted_as_in_the_trial(
    results: Path, tiny: Path, tmp_path: Path, domain: str
) -> None:
    trial, store = results / f"spottune/{domain}/test/seed0", open_store(tiny)
    images, info = store.images(domain, ["test"]), store.domains[domain]
    for k in range(12):
        Image.fromarray(images.pixels(k)).save(tmp_path / f"{k:02}.png")
    options = ("--format", "json", "--precision", "32")
    done = predict(trial / "weights.safetensors", tmp_path, *options)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [entry["file"] for entry in found] == [str(p) for p in sorted(tmp_path.iterdir())]
    stored = json.loads((trial / "predictions.json").read_text())[:12]
    names = [info.class_names[e["category_id"] - info.first_category] for e in stored]
    assert [entry["predictions"][0]["class"] for entry in found] == names
    for entry in found:
        assert {p["class"] for p in entry["predictions"]} == set(info.class_names)
        assert sum(p["probability"] for p in entry["predictions"]) == pytest.approx(1)
    if domain == "dtd":
        routes = json.loads((trial / "routing.json").read_text())["images"][:12]
        assert ["".join(map(str, entry["routing"])) for entry in found] == routes
    else:
        assert {entry["routing"] for entry in found} == {None}


def test_broken_files_are_listed_and_the_others_predicted(results: Path, tmp_path: Path) -> None:
    good = tmp_path / "folder" / "inside" / "good.png"
    good.parent.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (90, 80), (200, 30, 60)).save(good)
    (good.parents[1] / ".hidden.png").write_bytes(b"not looked at")
    (good.parents[1] / "notes.txt").write_text("not an image")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff cut short")
    given = [tmp_path / name for name in ("broken.jpg", "folder", "missing.png", "empty")]
    done = predict(results / WEIGHTS, *given, "--format", "csv", "--top", "2")
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert lines[0] == "file,class,probability,routing"
    assert [line.split(",")[0] for line in lines[1:]] == [str(good)] * 2
    said = [line for line in done.stderr.splitlines() if line.startswith("decathlon: ")]
    for path in (given[0], given[2], given[3]):
        assert sum(str(path) in line for line in said) == 1, done.stderr
    table = predict(results / WEIGHTS, good)
    assert table.exit_code == 0
    assert len([line for line in table.stdout.splitlines() if "%" not in line]) == 1 + 3 + 1


@pytest.mark.parametrize("kind", ["turned", "alpha", "cmyk", "long"])
def test_pictures_are_prepared_as_prepare_does_it(results: Path, tmp_path: Path, kind: str) -> None:
    network, path = load_model(results / WEIGHTS), tmp_path / "image"
    pixels = np.random.default_rng(0).integers(0, 256, (100, 150, 3)).astype(np.uint8)
    plain = Image.fromarray(pixels)
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        plain.rotate(90, expand=True).save(path, "PNG", exif=exif)
    elif kind == "alpha":
        alpha = Image.fromarray(np.tile(np.uint8([0, 255]), (100, 75)))
        plain.putalpha(alpha)
        plain.save(path, "PNG")
        plain = Image.composite(plain.convert("RGB"), Image.new("RGB", plain.size, "white"), alpha)
    elif kind == "cmyk":
        plain.convert("CMYK").save(path, "TIFF")
        plain = plain.convert("CMYK").convert("RGB")
    else:
        plain = plain.resize((300, 20))
        plain.save(path, "PNG")
    # The suite's short side, 72; the centre 64 pixels.
    scale = 72 / min(plain.size)
    small = plain.resize([round(side * scale) for side in plain.size], Image.Resampling.BICUBIC)
    left, top = ((side - 64) / 2 for side in small.size)
    crop = np.asarray(small.crop((round(left), round(top), round(left) + 64, round(top) + 64)))
    mean, std = np.float32(network.transform.mean), np.float32(network.transform.std)
    wanted = torch.from_numpy((crop / np.float32(255) - mean) / std).permute(2, 0, 1)
    with Image.open(path) as image:
        torch.testing.assert_close(network.transform(image), wanted)
    trained = open_trained(results / WEIGHTS)
    torch.testing.assert_close(applied(trained, None).read(path.read_bytes()), wanted)
    assert len(network.classes) == network.head.out_features


def test_weights_of_earlier_versions_need_the_data(
    results: Path, tiny: Path, tmp_path: Path
) -> None:
    old, image = tmp_path / "weights.safetensors", tmp_path / "image.png"
    Image.new("RGB", (90, 80), (200, 30, 60)).save(image)
    header, tensors = read_weights(results / WEIGHTS)
    told = header.pop("application")
    shutil.copytree(results / "sources", tmp_path / "sources")
    write_weights(old, header, tensors)
    network = load_model(old)
    assert (network.transform, network.classes) == (None, None)
    done = predict(old, image)
    assert isinstance(done.exception, DataError)
    assert "with --data" in str(done.exception)
    assert predict(old, image, "--data", tiny).stdout == predict(results / WEIGHTS, image).stdout
    write_weights(old, {**header, "application": {**told, "classes": ["one"]}}, tensors)
    with pytest.raises(DataError, match="names 1 classes"):
        load_model(old)


def test_what_is_no_trial_s_network_is_refused(
    results: Path, tiny_source: Path, tiny: Path
) -> None:
    with pytest.raises(DataError, match="holds a source network, not that of a trial"):
        open_trained(tiny_source)
    with pytest.raises(DataError, match="is text, not weights"):
        open_trained(Path(__file__))
    trained = open_trained(results / "spottune/imagenet12/test/seed0/weights.safetensors")
    object.__setattr__(trained, "num_classes", 3)
    with pytest.raises(DataError, match=r"imagenet12 has \d+ classes there, the network"):
        applied(trained, tiny)
