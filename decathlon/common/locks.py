"""Locks: which process prepares a folder, and which one runs a trial.

A lock is held on a file of its own that was opened for writing, as NFS demands, through
filelock's ``lock_descriptor``. Its other locks are not used: on a file system without locks
they fall back to files that outlive a dead owner. The system releases a lock when its owner
ends, however that ends. The file stays, so that every process locks the same one.

Readers take no lock. A claimed trial's file names its owner and is touched regularly, which
shows readers that the trial is running; only the lock decides who runs it.
"""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from filelock import lock_descriptor

from decathlon.common.errors import DataError, UsageError
from decathlon.common.oserrors import explained, has_no_locks

CLAIM = ".claim"
"""The file in a trial's folder that is locked."""
LOCK = ".lock"
"""The file in a folder of data or archives that is locked."""
BEAT_SECONDS = 20.0
"""Between two touches of a claim's file by its owner."""
SILENCE_SECONDS = 90.0
"""After which an owner that has not touched the file counts as gone."""


class BusyError(DataError):
    """Another process holds the folder."""


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Claims a trial against other processes for the length of the block.

    Args:
        folder: The trial's folder; created if missing.

    Yields:
        True if the trial is ours, False if another process is at work on it.

    Raises:
        UsageError: The folder's file system has no locks.
        OSError: The folder cannot be used for another reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = _locked(folder / CLAIM)
    except OSError as error:
        if not has_no_locks(error):
            raise
        other = "name another folder with --results"
        raise UsageError(explained(error, folder, other, locking=True)) from None
    if handle is None:
        yield False
        return
    try:
        with _signs_of_life(handle):
            yield True
    finally:
        os.close(handle)


def is_claimed(folder: Path) -> bool:
    """Returns whether another process appears to run a trial. Takes no lock, writes nothing.

    The owner is gone if it ran on this machine and has ended, or if it has been silent for
    longer than :data:`SILENCE_SECONDS`.
    """
    path = folder / CLAIM
    try:
        if not path.is_file() or time.time() - path.stat().st_mtime > SILENCE_SECONDS:
            return False
        host, _, number = path.read_text(encoding="utf-8").strip().rpartition(" ")
    except (OSError, ValueError):
        return False
    if not number.isdecimal():  # no owner, or one that could not write its name
        return False
    return host != platform.node() or _lives(int(number))


@contextmanager
def exclusive(folder: Path, what: str, option: str) -> Iterator[None]:
    """Holds a folder for this process alone.

    A folder that cannot be written to needs no lock, since nothing can change in it.

    Args:
        folder: The folder; created if missing.
        what: What it is, for messages.
        option: The option that names another.

    Raises:
        BusyError: Another process holds it.
        DataError: It cannot be used, or its file system has no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        frozen = not os.access(folder, os.W_OK)
        handle = None if frozen else _locked(folder / LOCK)
    except OSError as error:
        other, failed = f"name another with {option}", f"cannot be used as {what}"
        raise DataError(explained(error, folder, other, failed, locking=True)) from None
    if handle is None and not frozen:
        raise BusyError(
            f"{folder}: another 'decathlon prepare' is at work on it; wait until it has ended"
        )
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _locked(path: Path) -> int | None:
    """Opens and locks a file; None if another process has locked it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        # Everyone who may write to the folder may lock it.
        with suppress(OSError):
            os.fchmod(handle, path.parent.stat().st_mode & 0o666 | 0o600)
        if lock_descriptor(handle, blocking=False):
            return handle
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


@contextmanager
def _signs_of_life(handle: int) -> Iterator[None]:
    """Touches the locked file regularly, so that readers see that its owner is alive."""
    over = Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(handle)

    thread = Thread(target=beat, name="signs of life", daemon=True)
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{platform.node()} {os.getpid()}\n".encode(), 0)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            os.ftruncate(handle, 0)


def _lives(process: int) -> bool:
    """Returns whether there is a process of that number on this machine."""
    try:
        os.kill(process, 0)
    except PermissionError:  # another user's
        return True
    except (OSError, OverflowError):
        return False
    return True
