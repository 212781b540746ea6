"""Claims: which process is at work on a trial.

A claim is a lock on a file in the trial's folder. It ends with its owner, however that
ends, so that a dead one's trial is free at once.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLAIM = ".claim"


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Claims a trial against other processes, for the length of the block.

    Args:
        folder: The trial's, made when missing.

    Yields:
        Whether the trial is ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM).open("w") as file:
        yield _locked(file.fileno(), fcntl.LOCK_EX)


def is_claimed(folder: Path) -> bool:
    """Whether another process is at work on a trial; nothing is written."""
    try:
        file = (folder / CLAIM).open("rb")
    except OSError:
        return False
    with file:
        return not _locked(file.fileno(), fcntl.LOCK_SH)


def _locked(handle: int, how: int) -> bool:
    """Tries to lock an open file; the lock ends when it is closed."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
