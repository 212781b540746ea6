"""Faults that really happen: each is said, leaves a folder to go on from, and stops no other."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from decathlon.data.reading.store import open_store
from decathlon.method.registry import registered
from decathlon.results.records import find_records, read_record
from decathlon.running.config import Checkpointing, RunConfig
from decathlon.running.events import Epoch, Event, Started, Waiting
from decathlon.running.execution import execute
from decathlon.running.faults import Failure, exit_code
from decathlon.running.resolve import resolve
from decathlon.running.run import Run, Trial
from decathlon.running.survey import survey
from decathlon.training.checkpoints import peek
from decathlon.training.device import Compute
from tests import faulty

ROOT = Path(__file__).parents[2]
THREADS = str(torch.get_num_threads())


class Listener:
    """Remembers what a run says; can act when it waits."""

    def __init__(self) -> None:
        self.started_trials: list[Trial] = []
        self.epochs: list[int] = []
        self.waits = 0

    def __call__(self, event: Event) -> None:
        match event:
            case Started(trial):
                self.started_trials.append(trial)
            case Epoch(_, facts):
                self.epochs.append(facts["epoch"])
            case Waiting():
                self.waits += 1


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The faulty method, registered as a stranger's is."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(faulty.install(tmp_path / "site")))
    registered.cache_clear()
    import faulty_method

    yield faulty_method
    registered.cache_clear()
    del sys.modules["faulty_method"]


@pytest.fixture
def data(tiny: Path, tmp_path: Path) -> Path:
    """The tiny data, to be spoilt."""
    for path in tiny.glob("*/*"):
        if path.parent.name in ("dtd", "svhn", "omniglot"):
            target = tmp_path / "data" / path.relative_to(tiny)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(tiny / "manifest.json", tmp_path / "data" / "manifest.json")
    return tmp_path / "data"


def asked(data: Path, source: Path, results: Path, *domains: str, **changes: Any) -> Run:
    options: dict[str, Any] = {
        "settings": ("epochs=2", "batch_size=16"),
        "checkpointing": Checkpointing(seconds=0),
        "compute": Compute("cpu", "32"),
    }
    options |= changes
    (run,) = resolve(RunConfig((faulty.NAME,), data, results, (str(source),), domains, **options))
    return run


def done(results: Path) -> list[str]:
    return [read_record(path).domain for path in find_records(results)]


def seed_folder(results: Path, domain: str) -> Path:
    return results / faulty.NAME / domain / "test" / "seed0"


def outcome(results: Path, domain: str) -> tuple[Any, ...]:
    folder = seed_folder(results, domain)
    record = read_record(folder / "record.json").model_dump(
        exclude={"environment", "timing", "cost"}
    )
    return record, *((folder / n).read_bytes() for n in ("weights.safetensors", "predictions.json"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nan", r"the loss is nan in epoch \d; lower the learning rate \(--set lr="),
        ("bug", "unexpected KeyError: 'of a stranger'; DECATHLON_DEBUG=1 shows where"),
    ],
)
def test_a_fault_stops_no_other_trial(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType, fault: str, said: str
) -> None:
    method.FAULTS = {"dtd": fault}
    run = asked(tiny, tiny_source, tmp_path / "r", "dtd", "svhn")
    failures = execute(survey([run]), Listener())
    assert [(f.trial.domains, f.code) for f in failures] == [(("dtd",), 1)]
    assert re.search(said, failures[0].reason)
    assert done(tmp_path / "r") == ["svhn"]
    # The last good state is kept, of before the third step.
    header = peek(seed_folder(tmp_path / "r", "dtd") / "checkpoints")
    assert header is not None
    assert header["step"] == 2
    # What went wrong is known to the next call, for this recipe alone.
    (failed, finished) = survey([run])
    assert (failed.state, finished.state) == ("failed", "done")
    assert failed.failure == failures[0]
    changed = asked(tiny, tiny_source, tmp_path / "r", "dtd", settings=["epochs=2", "lr=0.01"])
    with pytest.warns(UserWarning, match=r"svhn.* was trained differently"):
        (work,) = survey([changed])
    assert work.state == "to do"


def test_a_method_that_ends_the_program_fails_with_a_message(
    tiny: Path,
    tiny_source: Path,
    tmp_path: Path,
    method: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(method.Faulty, "build", lambda *_: sys.exit(7))
    run = asked(tiny, tiny_source, tmp_path / "r", "dtd", "svhn")
    works = survey([run])
    assert [work.state for work in works] == ["refused", "refused"]
    for failed in execute(works, Listener()):
        assert failed.code == 1
        assert re.search(r"method 'faulty': its build\(\) calls sys.exit\(7\)", failed.reason)


def test_what_failed_is_tried_again_and_forgotten_when_it_is_done(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    run = asked(tiny, tiny_source, tmp_path / "r", "dtd")
    method.FAULTS = {"dtd": "bug"}
    assert execute(survey([run]), Listener())
    method.FAULTS = {}
    assert execute(survey([run]), Listener()) == []
    assert done(tmp_path / "r") == ["dtd"]
    assert not (seed_folder(tmp_path / "r", "dtd") / "failed.json").exists()
    assert execute(survey([asked(tiny, tiny_source, tmp_path / "whole", "dtd")]), Listener()) == []
    assert outcome(tmp_path / "r", "dtd") == outcome(tmp_path / "whole", "dtd")


def test_a_failed_trial_holds_no_memory(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    method.FAULTS = {"dtd": "bug"}
    alive: list[object] = []

    class Looking(Listener):
        def __call__(self, event: Event) -> None:
            if isinstance(event, Failure):
                alive.append(method.NETWORKS["dtd"]())

    execute(survey([asked(tiny, tiny_source, tmp_path / "r", "dtd")]), Looking())
    assert alive == [None]


def test_removed_shards_are_read_to_the_end_and_missed_by_the_next_trial(
    data: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    method.FAULTS, method.DATA = {"dtd": "removed"}, data
    run = asked(data, tiny_source, tmp_path / "r", "dtd", "svhn")
    assert execute(survey([run]), Listener()) == []
    assert not list((data / "dtd").glob("*.h5"))
    again = asked(data, tiny_source, tmp_path / "r", "dtd", "svhn", force=True)
    (failure,) = execute(survey([again]), Listener())
    assert failure.trial.domains == ("dtd",)
    assert failure.code == 3
    assert "dtd/test.h5: missing; run 'decathlon prepare'" in failure.reason


def test_the_exit_code_is_that_of_the_reason_where_nothing_is_done() -> None:
    trial = Trial("x", ("dtd",), "test", 0)
    data, usage = Failure(trial, 3, "no shard"), Failure(trial, 2, "no such device")
    assert exit_code([], all_failed=False) == 0
    assert exit_code([data, data], all_failed=True) == 3
    assert exit_code([data, data], all_failed=False) == 1
    assert exit_code([data, usage], all_failed=True) == 1


def command(data: Path, source: Path, results: Path, *domains: str) -> list[str]:
    words = ["decathlon", "run", "--method", faulty.NAME, "--source", str(source)]
    words += ["--data", str(data), "--results", str(results), "--set", "epochs=2"]
    words += ["--set", "batch_size=16", "--checkpoint", "0", "--precision", "32"]
    return words + [word for domain in domains for word in ("--domain", domain)]


def environment(site: Path, faults: Mapping[str, str], data: Path) -> dict[str, str]:
    path = f"{site}{os.pathsep}{ROOT}"
    more = {"PYTHONPATH": path, "FAULTS": json.dumps(faults), "FAULTY_DATA": str(data)}
    return {**os.environ, **more, "OMP_NUM_THREADS": THREADS}


def program(text: str, words: list[str], env: dict[str, str], *prefix: str) -> Any:
    """Runs a Python program that has the words of a command as its arguments."""
    return subprocess.run(
        [*prefix, sys.executable, "-c", text, *words], env=env, capture_output=True, text=True
    )


LITTLE_MEMORY = """
import resource, sys
import torch
import decathlon.running.execution, decathlon.running.display, decathlon.running.resolve
from decathlon.cli import main
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (700 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
sys.argv = sys.argv[1:]
main()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_that_runs_out_is_said_and_the_others_go_on(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    words = command(tiny, tiny_source, tmp_path / "r", "dtd", "svhn")
    env = environment(tmp_path / "site", {"dtd": "memory"}, tiny)
    ended = program(LITTLE_MEMORY, words, env)
    assert ended.returncode == 1, ended.stderr
    assert (
        "1 of 2 trials failed:\n  faulty, dtd, test, seed 0: out of memory, with batches of 16"
        in (ended.stderr)
    )
    assert "(--set batch_size=8)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert done(tmp_path / "r") == ["svhn"]


def test_a_shard_that_is_cut_short_ends_the_process_with_a_message(
    data: Path, tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    results = tmp_path / "r"
    words = ["-m", *command(data, tiny_source, results, "dtd", "svhn")]
    env = environment(tmp_path / "site", {"dtd": "cut"}, data)
    ended = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)
    assert ended.returncode == 3, ended.stderr
    assert "decathlon: faulty, dtd, test, seed 0: a shard in " in ended.stderr
    assert "run 'decathlon verify'" in ended.stderr
    # The next call says which, and does the others.
    run = asked(data, tiny_source, results, "dtd", "svhn")
    (failure,) = execute(survey([run]), Listener())
    assert failure.code == 3
    assert "dtd/test.h5: no readable shard" in failure.reason
    assert done(results) == ["svhn"]
    # With the shards mended, the trial goes on where it was.
    for path in (tiny / "dtd").glob("*.h5"):
        shutil.copyfile(path, data / "dtd" / path.name)
    listener = Listener()
    assert execute(survey([run]), listener) == []
    assert listener.epochs[-1] == 2


FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from decathlon.cli import main

sys.argv = sys.argv[1:]
results, out = Path(sys.argv[sys.argv.index("--results") + 1]), Path(os.environ["OUT"])

def call(name):
    try:
        main()
    except SystemExit as end:
        files = sorted(p.name for p in results.rglob("*") if p.is_file())
        print(name, end.code, *files, file=sys.stderr)

def mount(options):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(results)]
    subprocess.run(command, check=True)

mount("size=6m")
call("FULL")
mount("remount,ro")
call("LOCKED")
mount("remount,rw,size=64m")
call("ROOM")
subprocess.run(["cp", "-r", str(results), str(out)], check=True)
"""


def can_mount() -> bool:
    """Whether a process may have mounts of its own here."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(trial, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here (unshare -rm)")
def test_a_full_disk_is_said_and_leaves_whole_files(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    results = tmp_path / "r"
    results.mkdir()
    words = command(tiny, tiny_source, results, "dtd")
    env = environment(tmp_path / "site", {}, tiny) | {"OUT": str(tmp_path / "out")}
    ended = program(FULL_DISK, words, env, "unshare", "-rm")
    assert ended.returncode == 0, ended.stderr
    lines = {line.split()[0]: line.split()[1:] for line in ended.stderr.splitlines() if line}
    code, *files = lines["FULL"]
    assert code == "1"
    assert f"seed 0: {results}" in ended.stderr
    assert ": the disk is full (No space left on device); make room" in ended.stderr
    assert "then run the same command to go on" in ended.stderr
    (checkpoint,) = [name for name in files if name.startswith("step")]
    digest = read_record(seed_folder(tmp_path / "out", "dtd") / "record.json").source
    whole = [".claim", "failed.json", "log.jsonl", f"{digest}.safetensors", checkpoint]
    assert sorted(files) == sorted(whole)
    assert lines["LOCKED"][0] == "2"
    assert f"{results}: the file system is read-only (Read-only file system)" in ended.stderr
    assert "or name another folder with --results" in ended.stderr
    assert lines["ROOM"][0] == "0"
    execute(survey([asked(tiny, tiny_source, tmp_path / "whole", "dtd")]), Listener())
    assert outcome(tmp_path / "out", "dtd") == outcome(tmp_path / "whole", "dtd")


def test_a_dead_process_s_trial_is_taken_over_where_it_was(
    tiny: Path, tiny_source: Path, tmp_path: Path, method: ModuleType
) -> None:
    results = tmp_path / "r"
    words = ["-m", *command(tiny, tiny_source, results, "dtd")]
    env = environment(tmp_path / "site", {}, tiny)
    other = subprocess.Popen([sys.executable, *words], env=env, stderr=subprocess.DEVNULL)
    checkpoints = seed_folder(results, "dtd") / "checkpoints"
    per_epoch = -(-sum(len(open_store(tiny).images("dtd", [s])) for s in ("train", "val")) // 16)
    while (header := peek(checkpoints)) is None or header["step"] < per_epoch:
        time.sleep(0.01)
        assert other.poll() is None
    other.send_signal(signal.SIGSTOP)

    class Killing(Listener):
        def __call__(self, event: Event) -> None:
            super().__call__(event)
            if isinstance(event, Waiting):
                other.kill()
                other.wait()

    run = asked(tiny, tiny_source, results, "dtd")
    work, listener = survey([run]), Killing()
    assert [item.state for item in work] == ["held"]
    assert execute(work, listener) == []
    assert listener.waits == 1
    assert listener.epochs == [2]
    execute(survey([asked(tiny, tiny_source, tmp_path / "whole", "dtd")]), Listener())
    assert outcome(results, "dtd") == outcome(tmp_path / "whole", "dtd")
