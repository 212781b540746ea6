"""Signals end a command in an orderly way: a checkpoint, one message, exit code 130."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests import faulty
from tests.training.test_resume import ENV, command, outcome

EPOCHS = 12
NEVER = 10**6
SECONDS = 120.0
RESUME = "decathlon: interrupted; run the same command to go on\n"


def start(words: Sequence[str], **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        words,
        env={**ENV, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def ended(process: "subprocess.Popen[str]") -> str:
    """Checks that a process ended as it should after a signal; returns what it said."""
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, said
    assert said.endswith(RESUME)
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return said


@pytest.mark.slow
def test_a_signal_leaves_a_checkpoint_from_which_a_run_ends_as_a_whole_one(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    method, domain = "spottune-global-k", "omniglot"

    def asked(name: str, *domains: str) -> list[str]:
        results = tmp_path / name
        return command(tiny, tiny_source, results, method, *domains, steps=NEVER, epochs=EPOCHS)

    subprocess.run(asked("whole", domain), check=True, env=ENV, capture_output=True)
    results = tmp_path / "broken"
    folder = results / method / domain / "test" / "seed0"
    log = folder / "log.jsonl"
    steps = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        size = log.stat().st_size if log.exists() else 0
        process = start(asked("broken", domain, "dtd"))
        wait_until(lambda: log.exists() and log.stat().st_size > size, process)  # noqa: B023
        process.send_signal(number)
        said = ended(process)
        steps.append(int(max(folder.glob("checkpoints/step*")).stem.removeprefix("step")))
        assert "0 of 2 trials done, 2 left" in said
        assert f"seed 0: has a checkpoint of step {steps[-1]}" in said
        assert not [*results.rglob("*.part"), *results.rglob("failed.json")]
        assert not (results / method / "dtd").exists(), "the next trial was started"
    assert steps[0] < steps[1], "the second call went on from the first"
    subprocess.run(asked("broken", domain), check=True, env=ENV, capture_output=True)
    assert outcome(results, EPOCHS) == outcome(tmp_path / "whole", EPOCHS)


def test_a_pretraining_too(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "source.safetensors"
    words = [sys.executable, "-m", "decathlon", "pretrain", "--data", str(tiny), "--out", str(out)]
    words += ["--width", "0.25", "--set", "epochs=500", "--precision", "32"]
    process = start([*words, "--checkpoint-steps", "2"])
    folder = tmp_path / "source.safetensors.checkpoints"
    wait_until((folder / "step000000002.safetensors").exists, process)
    process.send_signal(signal.SIGTERM)
    ended(process)
    assert {path.suffix for path in folder.glob("[!.]*")} == {".safetensors"}
    assert not out.exists()


def test_a_second_signal_ends_at_once(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(faulty.install(tmp_path)), *sys.path])
    words = command(tiny, tiny_source, tmp_path / "results", faulty.NAME, "dtd", steps=1)
    process = start(words, PYTHONPATH=path, FAULTS=json.dumps({"dtd": "sleeps"}))
    folder = tmp_path / "results" / faulty.NAME / "dtd" / "test" / "seed0"
    wait_until((folder / "checkpoints" / "step000000002.safetensors").exists, process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "the step under way was not awaited"
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    said = ended(process)
    assert time.monotonic() - asked < 10
    assert "ending after this training step" in said
    assert "has a checkpoint of step 2" in said


def test_a_signal_ends_the_wait_for_a_trial_that_another_process_holds(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fine-tuning" / "dtd" / "test" / "seed0"
    folder.mkdir(parents=True)
    with (folder / ".claim").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        process = start(command(tiny, tiny_source, tmp_path, "fine-tuning", "dtd", steps=1))
        assert process.stderr is not None
        while "waiting for other processes" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert "0 of 1 trial done, 1 left" in ended(process)


def test_a_closed_terminal_leaves_a_checkpoint(
    tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    words = command(tiny, tiny_source, tmp_path, "fine-tuning", "dtd", steps=NEVER, epochs=10**4)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *words], env=ENV, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    folder = tmp_path / "fine-tuning" / "dtd" / "test" / "seed0"
    log = folder / "log.jsonl"
    while not (log.exists() and log.stat().st_size):
        assert os.read(ours, 1 << 16)
        assert process.poll() is None
    os.close(ours)
    assert process.wait(SECONDS) == 130
    assert len(list(folder.glob("checkpoints/step*"))) == 1
    assert not list(tmp_path.rglob("failed.json"))


def test_an_ignored_hangup_stays_ignored(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    words = command(tiny, tiny_source, tmp_path, "fine-tuning", "dtd", steps=1)
    process = start(["nohup", *words])
    folder = tmp_path / "fine-tuning" / "dtd" / "test" / "seed0"
    wait_until((folder / "checkpoints").exists, process)
    process.send_signal(signal.SIGHUP)
    assert process.wait(SECONDS) == 0
    process.communicate()
    assert (folder / "record.json").exists()


def test_a_run_whose_reader_is_gone_goes_on(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    words = command(tiny, tiny_source, tmp_path, "fine-tuning", "dtd", "svhn", steps=1)
    process = start(words)
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(SECONDS) == 0
    assert len(list(tmp_path.rglob("record.json"))) == 2
    assert not list(tmp_path.rglob("failed.json"))


@pytest.mark.parametrize("moment", ["an import", "a destructor"])
def test_a_signal_at_the_start_is_told_in_one_line(moment: str) -> None:
    """Python drops an exception that is raised within a destructor."""
    kill = "os.kill(os.getpid(), signal.SIGTERM)"
    dying = f"type('Dying', (), {{'__del__': lambda _: {kill}}})()"
    program = (
        "import os, runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        f"            {kill if moment == 'an import' else dying}\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['decathlon', 'score', 'results']\n"
        "runpy.run_module('decathlon', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, RESUME)
