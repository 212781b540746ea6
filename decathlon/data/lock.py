"""One call at a time works on a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decathlon.claims import NO_LOCKS
from decathlon.errors import DataError


class BusyError(DataError):
    """Another process is at work on the folder."""


@contextmanager
def exclusive(folder: Path, what: str, option: str) -> Iterator[None]:
    """Holds a folder for this process alone; a dead owner's hold ends with it.

    Args:
        folder: The folder, made when missing.
        what: What it is, for messages.
        option: The option that names another.

    Raises:
        BusyError: Another process holds it.
        DataError: It cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be used as {what} ({error.strerror}); name another with {option}"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{folder}: another 'decathlon prepare' is at work on it; wait until it has ended"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise DataError(
                f"{folder}: its file system has no locks ({error.strerror}); mount it with them"
                f" (Lustre: -o flock), or name another folder with {option}"
            ) from None
        yield
    finally:
        os.close(handle)
