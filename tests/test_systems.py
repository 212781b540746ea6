"""Systems other than Linux, as far as they can be imitated by what they lack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.official import Official

ROOT = Path(__file__).parents[1]
MACOS = """
import fcntl, os
for name in ("sched_getaffinity", "fdatasync", "memfd_create", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; the mask of cores is Linux's
    os.process_cpu_count = os.cpu_count
for name in ("F_SETPIPE_SZ", "F_GETPIPE_SZ"):
    if hasattr(fcntl, name):
        delattr(fcntl, name)
"""
WINDOWS = """
import sys
sys.modules.update(fcntl=None, resource=None)
sys.platform = "win32"
"""


def on(system: str, folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a program in processes that start by deleting what a system lacks."""
    (folder / "sitecustomize.py").write_text(system)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)


def test_macos_prepares_and_verifies(tmp_path: Path) -> None:
    made = Official(tmp_path / "archives")
    made.add("dtd")
    for words in (["prepare", "--archives", made.write(), "--jobs", "2"], ["verify"]):
        done = on(MACOS, tmp_path, "-m", "decathlon", *words, "--data", tmp_path / "data")
        assert done.returncode == 0, done.stderr


def test_macos_trains(tiny: Path, tmp_path: Path) -> None:
    words = ["run", "--method", "scratch", "--set", "width=0.1", "--set", "epochs=1"]
    words += ["--domain", "dtd", "--data", str(tiny), "--results", str(tmp_path / "results")]
    done = on(MACOS, tmp_path, "-m", "decathlon", *words)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("results/scratch/dtd/test/seed0/record.json"))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["-m", "decathlon", "domains"], 2),
        (["-c", "from decathlon.__main__ import main; main()"], 2),
        (["-c", "import decathlon\ntry: decathlon.load\nexcept ImportError as e: exit(str(e))"], 1),
    ],
)
def test_windows_is_refused_in_one_sentence(tmp_path: Path, command: list[str], code: int) -> None:
    done = on(WINDOWS, tmp_path, *command)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("decathlon runs on Linux and macOS, not on Windows; install it in WSL")
