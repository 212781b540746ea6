"""Each attack through the command line: exit 3, named, nothing outside, under 1 GB."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from decathlon.data.preparing.prepare import prepare
from tests.attacks.cases import ARCHIVES, SHARDS
from tests.data.official import Official

ROOT = Path(__file__).parents[2]
LIMIT = 1 << 30
"""Bytes of address space, which is more than memory."""


def decathlon(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, with little memory."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return subprocess.run(
        [sys.executable, "-m", "decathlon", *arguments],
        cwd=place,
        env=os.environ | threads | {"PYTHONPATH": str(ROOT), "DECATHLON_DEBUG": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )


def refused(done: subprocess.CompletedProcess[str], named: str) -> None:
    assert done.returncode == 3, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


def files(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_attack_is_refused(small: Official, tmp_path: Path, name: str) -> None:
    case = ARCHIVES[name]
    if case.written:
        small.write()
        case.attack(small)
    else:
        case.attack(small)
        small.write()
    # Deep enough that what leads outside the data folder is still looked at.
    data = tmp_path / "one" / "two" / "three" / "data"
    data.parent.mkdir(parents=True)
    before = files(tmp_path)
    done = decathlon(data.parent, "prepare", "--archives", small.folder, "--data", "data")
    refused(done, case.named)
    after = files(tmp_path)
    assert {path: raw for path, raw in after.items() if data not in path.parents} == before
    assert not Path("/tmp/decathlon-escaped.jpg").exists()
    assert not (data / "manifest.json").exists()
    assert not list(data.rglob("*.h5"))


@pytest.mark.parametrize("name", SHARDS)
def test_an_attack_on_a_shard_is_refused(small: Official, tmp_path: Path, name: str) -> None:
    attack, named = SHARDS[name]
    data = tmp_path / "data"
    prepare(small.write(), data, jobs=0)
    attack(data / "dtd" / "train.h5")
    refused(decathlon(tmp_path, "verify", "--data", data), named)
    # verify has noted it: whoever reads the shard refuses it too.
    out = tmp_path / "sheet.png"
    refused(decathlon(tmp_path, "show", "dtd", "--data", data, "--out", out), "train.h5")
    assert not out.exists()


def test_the_honest_control_is_taken(small: Official, tmp_path: Path) -> None:
    """The same archives without an attack, under the same limits."""
    small.write()
    data = tmp_path / "data"
    done = decathlon(tmp_path, "prepare", "--archives", small.folder, "--data", data)
    assert done.returncode == 0, done.stderr
    done = decathlon(tmp_path, "verify", "--data", data)
    assert done.stdout.startswith(f"{data}: 3 shards, 18 images")
