"""Killed at any moment and started again, a run ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from decathlon.records import find_records, read_record
from decathlon.training.checkpoint import Checkpoints

KILLS = 3


def command(tiny: Path, source: Path, results: Path, method: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "decathlon", "run", "--method", method),
        *("--source", str(source), "--data", str(tiny), "--results", str(results)),
        *("--domain", "omniglot", "--set", "epochs=6", "--set", "batch_size=8"),
        *("--precision", "32", "--checkpoint", "0", *more),
    ]


def outcome(results: Path) -> tuple[object, bytes, bytes]:
    (path,) = find_records(results)
    record = read_record(path).model_dump(exclude={"environment", "timing"})
    folder = path.parent
    assert not (folder / "checkpoints").exists()
    epochs = [line.partition(",")[0] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert epochs == [f'{{"epoch": {n}' for n in range(1, 7)]
    kept = (folder / "weights.safetensors", folder / "predictions.json")
    return record, *(path.read_bytes() for path in kept)


@pytest.mark.parametrize("method", ["fine-tuning", "spottune-global-k"])
def test_killed_runs_end_as_uninterrupted_ones(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: str
) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = command(tiny, tiny_source, tmp_path / "whole", method)
    subprocess.run(whole, check=True, env=env, capture_output=True)
    broken = command(tiny, tiny_source, tmp_path / "broken", method)
    steps = tmp_path / "broken" / method / "omniglot" / "test" / "seed0" / "checkpoints"
    choose = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = subprocess.Popen(broken, env=env, stderr=subprocess.DEVNULL)
        before = {path.name for path in steps.glob("*")}
        while process.poll() is None and not {p.name for p in steps.glob("*")} - before:
            time.sleep(0.01)
        time.sleep(choose.uniform(0, 0.3))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed > 0
    subprocess.run(broken, check=True, env=env, capture_output=True)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


def test_a_killed_pretraining_goes_on(tiny: Path, tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def pretraining(out: Path) -> list[str]:
        return [
            *(
                sys.executable,
                "-m",
                "decathlon",
                "pretrain",
                "--data",
                str(tiny),
                "--out",
                str(out),
            ),
            *("--width", "0.25", "--set", "epochs=2", "--set", "batch_size=16"),
            *("--precision", "32", "--checkpoint", "0"),
        ]

    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    subprocess.run(pretraining(whole), check=True, env=env, capture_output=True)
    process = subprocess.Popen(pretraining(broken), env=env, stderr=subprocess.DEVNULL)
    folder = tmp_path / "broken.safetensors.checkpoints"
    while process.poll() is None and not list(folder.glob("step*2.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(folder.glob("step*.safetensors"))
    assert not broken.exists()
    subprocess.run(pretraining(broken), check=True, env=env, capture_output=True)
    assert broken.read_bytes() == whole.read_bytes()
    assert not folder.exists()


def test_two_checkpoints_are_kept_and_the_last_is_taken(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {"recipe": 1}, 0)
    for step in range(1, 5):
        checkpoints.save(step, {"x": torch.full((3,), float(step))}, {"n": step})
    assert len(list((tmp_path / "c").iterdir())) == 2
    resume = checkpoints.latest()
    assert resume is not None
    assert (resume.step, resume.facts) == (4, {"n": 4})
    assert resume.tensors["x"].tolist() == [4.0] * 3


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {}, 0)
    for step in (1, 2):
        checkpoints.save(step, {"x": torch.full((3,), float(step))}, {})
    last = max((tmp_path / "c").iterdir())
    content = bytearray(last.read_bytes())
    content[-2] ^= 1
    last.write_bytes(content if damage == "flip" else content[:-5])
    with pytest.warns(UserWarning, match="earlier checkpoint"):
        resume = checkpoints.latest()
    assert resume is not None
    assert resume.step == 1


def test_checkpoints_of_another_recipe_are_not_taken(tmp_path: Path) -> None:
    Checkpoints(tmp_path / "c", {"recipe": 1}, 0).save(1, {}, {})
    assert Checkpoints(tmp_path / "c", {"recipe": 2}, 0).latest() is None


def test_checkpoints_of_another_recipe_do_not_push_out_ours(tmp_path: Path) -> None:
    other = Checkpoints(tmp_path / "c", {"world_size": 1}, 0)
    for step in (500, 501):
        other.save(step, {}, {})
    ours = Checkpoints(tmp_path / "c", {"world_size": 2}, 0)
    for step in (1, 2, 3):
        ours.save(step, {}, {})
    resume = ours.latest()
    assert resume is not None
    assert resume.step == 3
