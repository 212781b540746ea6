"""Killed at any moment and started again, a run ends as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from decathlon.results.records import find_records, read_record
from decathlon.training.checkpoints import Checkpoints

EPOCHS = 6
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(
    tiny: Path,
    source: Path,
    results: Path,
    method: str,
    *domains: str,
    steps: int,
    epochs: int = EPOCHS,
) -> list[str]:
    return [
        *(sys.executable, "-m", "decathlon", "run", "--method", method),
        *("--source", str(source), "--data", str(tiny), "--results", str(results)),
        *(word for domain in domains for word in ("--domain", domain)),
        *("--set", f"epochs={epochs}", "--set", "batch_size=8", "--precision", "32"),
        *("--checkpoint", "3600", "--checkpoint-steps", str(steps)),
    ]


def outcome(results: Path, epochs: int = EPOCHS) -> dict[str, tuple[object, bytes, bytes]]:
    """All that a run leaves and that has to be the same, by domain."""
    found = {}
    for path in find_records(results):
        record = read_record(path)
        facts = record.model_dump(exclude={"environment", "timing", "cost"})
        assert not (path.parent / "checkpoints").exists()
        kept = (path.parent / "weights.safetensors", path.parent / "predictions.json")
        found[record.domain] = (facts, *(path.read_bytes() for path in kept))
    (log,) = results.glob("*/*/*/*/log.jsonl")
    logged = [line.partition(",")[0] for line in log.read_text().splitlines()]
    assert logged == [f'{{"epoch": {n}' for n in range(1, epochs + 1)]
    return found


def killed(words: list[str], checkpoints: Path, seconds: float) -> bool:
    """Runs a command until it has written a checkpoint and some seconds more, and kills it.

    Returns:
        Whether it was still running.
    """
    before = {path.name for path in checkpoints.glob("step*")}
    process = subprocess.Popen(words, env=ENV, stderr=subprocess.DEVNULL)
    while process.poll() is None and not {p.name for p in checkpoints.glob("step*")} - before:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    return process.wait() == -signal.SIGKILL


@pytest.mark.slow  # test_interrupts ends a run at two steps, and a killed pretraining follows
def test_a_run_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    method, domain = "spottune-global-k", "omniglot"
    whole = command(tiny, tiny_source, tmp_path / "whole", method, domain, steps=1000)
    subprocess.run(whole, check=True, env=ENV, capture_output=True)
    broken = command(tiny, tiny_source, tmp_path / "broken", method, domain, steps=1)
    checkpoints = tmp_path / "broken" / method / domain / "test" / "seed0" / "checkpoints"
    choose = random.Random(0)
    assert killed(broken, checkpoints, choose.uniform(0, 0.3))
    assert killed(broken, checkpoints, choose.uniform(0, 0.3))
    # A damaged checkpoint gives way to the one before, with a warning.
    last = max(checkpoints.glob("step*.safetensors"))
    last.write_bytes(last.read_bytes()[:-1])
    done = subprocess.run(broken, check=True, env=ENV, capture_output=True, text=True)
    assert f"decathlon: warning: {last}: " in done.stderr
    assert "going on from an earlier checkpoint" in done.stderr
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "domains"),
    [
        ("fine-tuning", ["omniglot"]),
        ("piggyback", ["omniglot"]),  # Adam
        ("lwf", ["omniglot"]),
        ("spottune", ["omniglot"]),
        ("series-adapters-finetune-all", ["omniglot", "dtd", "imagenet12"]),  # joint
    ],
)
def test_runs_that_are_killed_at_any_moment_end_as_uninterrupted_ones(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: str, domains: list[str]
) -> None:
    began = time.monotonic()
    whole = command(tiny, tiny_source, tmp_path / "whole", method, *domains, steps=1000)
    subprocess.run(whole, check=True, env=ENV, capture_output=True)
    took = time.monotonic() - began
    broken = command(tiny, tiny_source, tmp_path / "broken", method, *domains, steps=2)
    choose = random.Random(method)
    kills = 0
    for _ in range(12):
        # From the first import to after the last file.
        process = subprocess.Popen(broken, env=ENV, stderr=subprocess.DEVNULL)
        time.sleep(choose.uniform(0, 1.2 * took))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills > 3
    subprocess.run(broken, check=True, env=ENV, capture_output=True)
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_pretraining_goes_on(tiny: Path, tmp_path: Path) -> None:
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
            *("--width", "0.1", "--set", "epochs=2", "--set", "batch_size=16"),
            *("--precision", "32", "--checkpoint", "0"),
        ]

    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    subprocess.run(pretraining(whole), check=True, env=ENV, capture_output=True)
    process = subprocess.Popen(pretraining(broken), env=ENV, stderr=subprocess.DEVNULL)
    folder = tmp_path / "broken.safetensors.checkpoints"
    while process.poll() is None and not list(folder.glob("step*2.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(folder.glob("step*.safetensors"))
    assert not broken.exists()
    subprocess.run(pretraining(broken), check=True, env=ENV, capture_output=True)
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
    Checkpoints(tmp_path / "c", {"dtd": {"recipe": {"lr": 1}}}, 0).save(1, {}, {})
    with pytest.warns(UserWarning, match=r"dtd.recipe.lr was 1, now 2\) .* starting again"):
        assert Checkpoints(tmp_path / "c", {"dtd": {"recipe": {"lr": 2}}}, 0).latest() is None


@pytest.mark.parametrize("fault", ["foreign", "damaged"])
def test_a_later_checkpoint_of_no_use_does_not_drive_out_new_ones(
    tmp_path: Path, fault: str
) -> None:
    Checkpoints(tmp_path / "c", {"lr": 1}, 0).save(100, {}, {})
    if fault == "damaged":
        next((tmp_path / "c").iterdir()).write_bytes(b"")
    checkpoints = Checkpoints(tmp_path / "c", {"lr": 2 if fault == "foreign" else 1}, 0)
    with pytest.warns(UserWarning, match="starting again|earlier"):
        assert checkpoints.latest() is None
    checkpoints.save(1, {}, {"n": 1})
    resume = Checkpoints(tmp_path / "c", checkpoints.identity, 0).latest()
    assert resume is not None
    assert resume.facts == {"n": 1}


def test_checkpoints_are_due_by_time_and_by_steps(tmp_path: Path) -> None:
    by_steps = Checkpoints(tmp_path, {}, every_seconds=3600, every_steps=3)
    assert [step for step in range(1, 10) if by_steps.due(step)] == [3, 6, 9]
    assert Checkpoints(tmp_path, {}, every_seconds=0).due(1)
    assert not Checkpoints(tmp_path, {}, every_seconds=3600).due(1)


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


# Root reads everything, unless this power is given up.
MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(not all(map(shutil.which, MORTAL[:1])), reason="root, and there is no setpriv")
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_checkpoints_that_cannot_be_read_are_not_passed_over(tmp_path: Path, locked: str) -> None:
    Checkpoints(tmp_path / "c", {}, 0).save(1, {}, {})
    Checkpoints(tmp_path / "c", {}, 0).save(2, {}, {})
    last = max((tmp_path / "c").iterdir())
    (last if locked == "file" else tmp_path / "c").chmod(0)
    program = (
        "from pathlib import Path\n"
        "from decathlon.training.checkpoints import Checkpoints, peek\n"
        "peek(Path('c'))\n"
        "print('begins again', Checkpoints(Path('c'), {}).latest())"
    )
    done = subprocess.run(
        [*MORTAL, sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    (tmp_path / "c").chmod(0o700)
    assert "begins again" not in done.stdout
    assert "Permission denied" in done.stderr.splitlines()[-1]


def test_checkpoints_with_numbers_that_are_none_are_damaged(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", {}, 0)
    for step, value in ((1, 0.0), (2, torch.nan)):
        checkpoints.save(step, {"network.x": torch.tensor([value])}, {})
    with pytest.warns(UserWarning, match=r"network.x has 1 of 1 numbers .* earlier checkpoint"):
        resume = Checkpoints(tmp_path / "c", {}, 0).latest()
    assert resume is not None
    assert resume.step == 1
