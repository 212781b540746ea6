"""The report of one trial, made by the commands that a user gives."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner, Result

from decathlon.cli import app
from decathlon.results.records import read_record
from decathlon.scoring.calibration import calibration_of
from tests.scoring.render.browser import CHROMIUM, browser

HOSTILE = """<img src=x onerror=alert(1)>'"&{{7*7}}"""
CLASSES = (HOSTILE, "a b", *"cdefgh")
NAME = "spot tune's"
TRIAL = Path("results", NAME, "own", "test+3shot.d1", "seed2")


def decathlon(*words: object) -> Result:
    options = ("--device", "cpu", "--threads", "1") if words[0] == "run" else ()
    return CliRunner().invoke(app, [*map(str, words), *options])


def photos(folder: Path) -> Path:
    """Eight classes of noise, one of them with a hostile name."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1), ("test", 4)):
        for shade, name in enumerate(CLASSES):
            for number in range(count):
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(0, 30 * (shade + 1), (72, 72, 3), dtype=np.uint8)
                Image.fromarray(noise).save(path)
    return folder


@pytest.fixture(scope="module")
def place(tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a trial of SpotTune that kept its logits."""
    folder = tmp_path_factory.mktemp("report")
    words = ("--folder", f"own={photos(folder / 'photos')}", "--data", folder / "data")
    assert decathlon("prepare", *words, "--jobs", 1).exception is None
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = decathlon(
            *("run", "--method", "spottune", "--source", tiny_source, "--name", NAME),
            *("--seed", 2, "--shots", 3, "--draw", 1, "--set", "epochs=2", "--set", "batch_size=8"),
            *("--set", "weight_decay.own=0.002", "--set", "bn=source", "--keep-logits"),
        )
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def report(*words: object) -> Any:
    done = decathlon("report", *words, "--format", "json")
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def logits_of(folder: Path) -> tuple[dict[str, Any], Any]:
    with safe_open(folder / "logits.safetensors", framework="numpy") as file:
        return json.loads(file.metadata()["decathlon"]), file.get_tensor("logits")


def test_logits_are_those_of_the_predictions() -> None:
    record = read_record(TRIAL / "record.json")
    header, logits = logits_of(TRIAL)
    assert (header["kind"], header["predictions"]) == ("logits", record.predictions)
    assert (logits.dtype, logits.shape) == (np.float16, (32, 8))
    chosen = [one["category_id"] for one in json.loads((TRIAL / "predictions.json").read_text())]
    top = logits.max(axis=1)
    places = np.array(chosen) - _manifest()["category_ids"][0]
    assert (logits[np.arange(32), places] == top).all()


def test_the_command_of_a_report_makes_the_same_trial() -> None:
    found = report(TRIAL)
    words = shlex.split(found["command"])
    assert words.count("--set") == 4  # epochs, batch_size, weight_decay.own, bn
    done = decathlon(*words[1:])
    assert done.exit_code == 0, done.output
    again = Path("results-again", *TRIAL.parts[1:])
    for name in ("predictions.json", "routing.json", "weights.safetensors"):
        assert (again / name).read_bytes() == (TRIAL / name).read_bytes()
    one, other = (read_record(folder / "record.json") for folder in (TRIAL, again))
    apart = {"timing": other.timing, "cost": other.cost}
    assert one.model_copy(update=apart) == other
    kept = decathlon(*words[1:], "--keep-logits")
    assert "1 finished trial kept no logits; --force runs them again" in kept.stderr
    assert not (again / "logits.safetensors").exists()


def test_a_report_counts_classes_confusions_and_routes() -> None:
    found = report(TRIAL, "--data", "data")
    truth, chosen = _labels()
    assert found["schema"] == 1
    assert {one["name"] for one in found["classes"]} == set(CLASSES)
    for one in found["classes"]:
        own = np.array(truth) == one["name"]
        assert one["total"] == own.sum() == 4
        assert one["correct"] == (own & (truth == chosen)).sum()
        assert one["ci"][0] <= one["accuracy"] <= one["ci"][1]
    first = found["confusions"][0]
    pairs = [(true, other) for true, other in zip(truth, chosen, strict=True) if true != other]
    counts = {pair: pairs.count(pair) for pair in pairs}
    assert counts[first["true"], first["predicted"]] == first["count"] == max(counts.values())
    assert len(found["confusions"]) == min(10, len(counts))
    routes = np.array([list(map(int, row)) for row in _routes()])
    for one in found["routing"]["classes"]:
        own = routes[np.array(truth) == one["name"]]
        assert one["tuned"] == pytest.approx((100 * own.mean(axis=0)).tolist())
    logits = logits_of(TRIAL)[1]
    names = [sorted(zip(row, _names(), strict=True), reverse=True)[:5] for row in logits.tolist()]
    five = [true in {name for _, name in top} for true, top in zip(truth, names, strict=True)]
    assert found["top5"] == pytest.approx(100 * np.mean(five))
    assert [point["epoch"] for point in found["curve"]] == [1, 2]
    assert found["provenance"]["num_trained"] == 24


def _manifest() -> Any:
    return json.loads(Path("data/manifest.json").read_text())["domains"]["own"]


def _names() -> list[str]:
    names: list[str] = _manifest()["class_names"]
    return names


def _labels() -> tuple[Any, Any]:
    entries = json.loads((TRIAL / "predictions.json").read_text())
    with h5py.File("data/own/test.h5") as shard:
        of = dict(zip(shard["image_id"][()].tolist(), shard["label"][()].tolist(), strict=True))
    names, first = _names(), _manifest()["category_ids"][0]
    truth = np.array([names[of[one["image_id"]]] for one in entries])
    return truth, np.array([names[one["category_id"] - first] for one in entries])


def _routes() -> list[str]:
    return json.loads((TRIAL / "routing.json").read_text())["images"]


def test_calibration_error_is_the_mean_gap_of_bins() -> None:
    # Confidences 0.6 (twice, one right) and 0.9 (right): gaps 0.1 and 0.1.
    shares = np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1]])
    found = calibration_of(np.log(shares).astype(np.float32), np.array([True, False, True]))
    assert found.error == pytest.approx(10, abs=1e-4)
    assert [(one.total, round(one.accuracy)) for one in found.bins] == [(2, 50), (1, 100)]


def test_a_page_of_a_trial_holds_all_and_fetches_nothing(tmp_path: Path) -> None:
    out = tmp_path / "trial.html"
    assert decathlon("report", TRIAL, "--format", "html", "--out", out).exception is None
    html = out.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "{{7*7}}" in html
    links = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(link.startswith("data:") for link in links)
    assert sum(link.startswith("data:image/svg") for link in links) == 3  # curve, bins, routing
    assert any(link.startswith("data:image/jpeg") for link in links)
    for text in ("Confusions", "Routing of classes", "The same trial again", "top-5"):
        assert text in html
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: the page is not tried in a browser")
    with browser(tmp_path) as page:
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=390,
            height=800,
            deviceScaleFactor=1,
            mobile=True,
        )
        page.open(out)
        assert page.run("document.documentElement.scrollWidth") == 390


def test_without_data_or_labels_values_are_null(tmp_path: Path) -> None:
    copy = tmp_path / TRIAL
    shutil.copytree(TRIAL, copy)
    value = json.loads((copy / "record.json").read_text())
    (copy / "logits.safetensors").unlink()
    for name in ("network", "code", "predictions"):
        del value[name]
    (copy / "record.json").write_text(json.dumps(value | {"format": 1}))
    found = report(copy, "--data", "data")  # a record of format 1
    assert len(found["classes"]) == 8
    shutil.move("data", tmp_path / "moved")
    try:
        found = report(TRIAL)
    finally:
        shutil.move(tmp_path / "moved", "data")
    for name in ("classes", "confusions", "top5", "calibration"):
        assert found[name] is None
    assert found["accuracy"] is not None
    assert "--data DATA" in found["command"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("record.json", "holds no record.json; give the folder of a finished trial"),
        ("predictions.json", "predictions.json: missing"),
        ("logits.safetensors", "belongs to other predictions than the record"),
        ("log.jsonl", "line 1 has no epoch and loss"),
    ],
)
def test_what_is_damaged_is_one_message(change: str, said: str, tmp_path: Path) -> None:
    copy = tmp_path / TRIAL
    shutil.copytree(TRIAL, copy)
    if change == "logits.safetensors":
        raw = (copy / change).read_bytes()
        record = read_record(copy / "record.json")
        assert record.predictions
        (copy / change).write_bytes(raw.replace(record.predictions.encode(), b"0" * 64))
    elif change == "log.jsonl":
        (copy / change).write_text("{}\n")
    else:
        (copy / change).unlink()
    done = decathlon("report", copy, "--data", "data")
    assert getattr(done.exception, "exit_code", None) == 4
    assert said in str(done.exception)


def test_other_data_than_the_trials_is_refused_where_it_is_named(tiny: Path, place: Path) -> None:
    photos(place / "more" / "photos")
    Image.new("RGB", (72, 72)).save(place / "more" / "photos" / "test" / "c" / "0.png")
    words = ("--folder", f"own={place / 'more' / 'photos'}", "--data", place / "more" / "data")
    assert decathlon("prepare", *words, "--jobs", 1).exception is None
    done = decathlon("report", TRIAL, "--data", place / "more" / "data")
    assert getattr(done.exception, "exit_code", None) == 4
    assert "disagree with" in str(done.exception)
    text = decathlon("report", TRIAL, "--data", tiny).stdout
    assert "Not checked: own; not in" in text
    assert "--data DATA" in text


def test_logits_are_not_kept_of_controls(tiny_source: Path) -> None:
    words = ("--method", "spottune", "--source", tiny_source, "--routing", "mean")
    done = decathlon("run", *words, "--keep-logits")
    assert getattr(done.exception, "exit_code", None) == 2
    assert "leave it out with --routing" in str(done.exception)
