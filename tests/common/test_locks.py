"""Locks of trials and folders, and file systems that have none."""

import errno
import fcntl
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from decathlon.common import locks
from decathlon.common.errors import DataError, UsageError
from decathlon.common.locks import CLAIM, LOCK, BusyError, claim, exclusive, is_claimed

FLOCK = fcntl.flock
NONE_LEFT = 2**22 + 1
"""A process number that Linux and macOS never give."""


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, 524])
def lockless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers as file systems do that have no locks, such as Lustre without ``flock``."""

    def flock(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers as NFS does, where an exclusive lock needs a file that is open for writing."""

    def flock(file: Any, operation: int) -> None:
        handle = file if isinstance(file, int) else file.fileno()
        if operation & fcntl.LOCK_EX and not fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        FLOCK(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("lockless")
def test_a_results_folder_without_locks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"file system has no locks.*--results"), claim(tmp_path):
        pytest.fail("two runs would do the same")
    assert not is_claimed(tmp_path)


@pytest.mark.usefixtures("lockless")
def test_a_data_folder_without_locks_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"file system has no locks.*--data"),
        exclusive(tmp_path, "data folder", "--data"),
    ):
        pytest.fail("two calls would be at work")


@pytest.mark.usefixtures("nfs")
def test_writers_lock_files_that_are_open_for_writing(tmp_path: Path) -> None:
    with exclusive(tmp_path, "data folder", "--data"), claim(tmp_path / "trial") as ours:
        assert ours
    with (tmp_path / LOCK).open("rb") as file, pytest.raises(OSError, match="Bad file"):
        fcntl.flock(file, fcntl.LOCK_EX)  # the imitation works


def test_a_claim_ends_with_its_block(tmp_path: Path) -> None:
    with claim(tmp_path) as ours, claim(tmp_path) as twice:
        assert (ours, twice, is_claimed(tmp_path)) == (True, False, True)
    assert not is_claimed(tmp_path)
    with claim(tmp_path) as again:
        assert again


def test_a_dead_owner_s_claim_ends_with_it(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from decathlon.common.locks import claim\n"
        "with claim(Path(sys.argv[1])) as ours: print(ours, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"True\n"
        assert is_claimed(tmp_path)
        with claim(tmp_path) as ours:
            assert not ours
        owner.kill()
    assert not is_claimed(tmp_path)
    with claim(tmp_path) as ours:
        assert ours


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    with exclusive(tmp_path, "data folder", "--data"):
        with pytest.raises(BusyError), exclusive(tmp_path, "data folder", "--data"):
            pytest.fail("two calls would be at work")
        assert not (tmp_path / LOCK).read_bytes()
    before = (tmp_path / LOCK).stat().st_mtime_ns
    with exclusive(tmp_path, "data folder", "--data"):
        pass
    assert (tmp_path / LOCK).stat().st_mtime_ns == before


def test_readers_take_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        pytest.fail("a reader could make a writer's claim fail")

    with claim(tmp_path):
        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(fcntl, "lockf", flock)
        before = (tmp_path / CLAIM).stat()
        assert is_claimed(tmp_path)
        assert (tmp_path / CLAIM).stat().st_mtime_ns == before.st_mtime_ns
    assert not is_claimed(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "age", "claimed"),
    [
        (f"{platform.node()} THIS", 0, True),
        (f"{platform.node()} THIS", 1000, False),  # silent
        (f"{platform.node()} {NONE_LEFT}", 0, False),  # dead
        ("another-machine 1", 0, True),
        ("another-machine 1", 1000, False),
        ("", 0, False),  # released, or locked by an earlier version
        ("another-machine", 0, False),
        (f"{platform.node()} {10**30}", 0, False),
        ("\udcff 1x", 0, False),
    ],
)
def test_an_owner_is_known_by_signs_of_life(
    tmp_path: Path, text: str, age: int, claimed: bool
) -> None:
    path = tmp_path / CLAIM
    path.write_bytes(text.replace("THIS", str(os.getpid())).encode(errors="surrogateescape"))
    os.utime(path, (time.time() - age,) * 2)
    assert is_claimed(tmp_path) == claimed
    with claim(tmp_path) as ours:
        assert ours  # only the lock decides


def test_a_claim_s_owner_gives_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.01)
    with claim(tmp_path):
        os.utime(tmp_path / CLAIM, (0, 0))
        ends = time.monotonic() + 30
        while not is_claimed(tmp_path):
            assert time.monotonic() < ends
            time.sleep(0.01)


@pytest.mark.parametrize("name", [CLAIM, LOCK])
def test_a_lock_is_no_way_out_of_the_folder(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    lock = claim(folder) if name == CLAIM else exclusive(folder, "data folder", "--data")
    with pytest.raises((OSError, DataError), match="symbolic links"), lock:
        pytest.fail("another file would be locked")
    assert victim.read_text() == "precious"
