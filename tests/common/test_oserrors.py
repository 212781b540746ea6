"""Each answer of the system ends in one sentence with a remedy that fits."""

import errno
import os
from pathlib import Path

import pytest

from decathlon.common.oserrors import explained

OTHER = "name another folder with --data"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full (No space left on device); make room, or name another"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "the file system is read-only (Read-only file system); mount it for writing"),
        (errno.EACCES, "access is denied (Permission denied); change its permissions"),
        (errno.EIO, "check the disk or the mount"),
        (errno.ESTALE, "check the disk or the mount"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOTDIR, "a file stands where a folder is needed (Not a directory); move it away"),
        (errno.ENOLCK, "its file system has no locks"),
        (errno.EDOM, "it cannot be used (Numerical argument out of domain); name another folder"),
    ],
)
def test_an_error_has_one_sentence(number: int, words: str) -> None:
    told = explained(OSError(number, os.strerror(number)), Path("data"), OTHER)
    assert told.startswith("data: ")
    assert words in told
    assert "{" not in told
    named = OSError(number, os.strerror(number), b"data/a\xff.h5")
    assert explained(named, Path("data"), OTHER).startswith("data/a\udcff.h5: ")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, 524])
def test_only_the_answer_to_a_lock_says_that_there_are_none(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert "Lustre: -o flock" in explained(error, "data", OTHER, locking=True)
    assert explained(error, "data", OTHER) == (
        f"data: it cannot be used ({os.strerror(number)}); {OTHER}"
    )


def test_an_error_without_a_number_is_explained_too() -> None:
    told = explained(OSError("timed out"), "x", OTHER, "cannot be read")
    assert told == f"x: cannot be read (timed out): it cannot be used; {OTHER}"
