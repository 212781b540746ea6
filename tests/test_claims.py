"""Claims and locks where the file system has none."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from decathlon.claims import claim, is_claimed
from decathlon.data.lock import exclusive
from decathlon.errors import DataError, UsageError


@pytest.fixture
def lockless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers as Lustre does that is mounted without ``flock``."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

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


def test_a_claim_ends_with_its_block(tmp_path: Path) -> None:
    with claim(tmp_path) as ours, claim(tmp_path) as twice:
        assert (ours, twice, is_claimed(tmp_path)) == (True, False, True)
    assert not is_claimed(tmp_path)
