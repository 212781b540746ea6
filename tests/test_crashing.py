"""A test run that loses a process, or hangs, ends and fails."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 100
"""After which a run counts as endless; it takes a few, and more on a busy machine."""
OTHERS = "import time\nclass Test{}:\n" + "".join(
    f"    def test_{k}(self): time.sleep(0.1)\n" for k in range(5)
)
LONG = "import time\ndef test_long(): time.sleep(1000)\n"


def options() -> list[str]:
    """Returns what `make test` gives pytest, read from the Makefile."""
    (line,) = [
        line
        for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
        if line.startswith("IN_PARALLEL :=")
    ]
    return [*shlex.split(line.partition(":=")[2]), "--maxprocesses", "2"]


def hook() -> str:
    """Returns the hook of these tests that a crash calls."""
    text = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    found = re.search(
        r"@pytest\.hookimpl\S+\ndef pytest_handlecrashitem.*?(?=\n\n\n|\Z)", text, re.S
    )
    assert found
    return found[0]


@pytest.mark.parametrize(
    ("bad", "others", "message"),
    [
        ("import os\ndef test_bad(): os.abort()", 4, "crashed"),
        ("import os\ndef test_bad(): os.abort()", 0, "crashed"),
        (LONG.replace("long", "bad"), 4, "Timeout"),
    ],
    ids=["aborts", "aborts-everywhere", "hangs"],
)
def test_a_lost_process_ends_the_run(tmp_path: Path, bad: str, others: int, message: str) -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "conftest.py").write_text(f"import pytest\n\n{hook()}", encoding="utf-8")
    for k in range(4):
        text = OTHERS.format(k) if k < others else bad
        (folder / f"test_other{k}.py").write_text(text, encoding="utf-8")
    (folder / "test_bad.py").write_text(f"{bad}\ndef test_after(): pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *options(), "-o", "faulthandler_timeout=5"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert message in done.stdout + done.stderr
    assert "test_bad" in done.stdout


def test_a_crash_does_not_wait_for_other_tests(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(f"import pytest\n\n{hook()}", encoding="utf-8")
    (tmp_path / "test_long.py").write_text(LONG, encoding="utf-8")
    bad = "import os\nimport time\ndef test_bad():\n    time.sleep(2)\n    os.abort()\n"
    (tmp_path / "test_bad.py").write_text(bad, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", *options()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_bad.py::test_bad crashed the process that ran it" in done.stdout
