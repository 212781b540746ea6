"""Claims: which process is at work on a trial.

A claim is a lock on a file in the trial's folder. It ends with its owner, however that
ends, so that a dead one's trial is free at once.
"""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from decathlon.errors import UsageError

CLAIM = ".claim"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that have no locks."""


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Claims a trial against other processes, for the length of the block.

    Args:
        folder: The trial's, made when missing.

    Yields:
        Whether the trial is ours.

    Raises:
        UsageError: The folder's file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM).open("w") as file:
        try:
            ours = _locked(file.fileno(), fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise UsageError(
                f"{folder}: its file system has no locks ({error.strerror}), without which two"
                " runs would do the same; mount it with them (Lustre: -o flock), or name a"
                " --results folder elsewhere"
            ) from None
        yield ours


def is_claimed(folder: Path) -> bool:
    """Whether another process is at work on a trial; nothing is written."""
    try:
        file = (folder / CLAIM).open("rb")
    except OSError:
        return False
    with file, suppress(OSError):
        return not _locked(file.fileno(), fcntl.LOCK_SH)
    return False


def _locked(handle: int, how: int) -> bool:
    """Tries to lock an open file; the lock ends when it is closed."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
