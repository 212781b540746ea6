"""What an error of the operating system means, and how to fix it: one table for all commands."""

import errno
import os
from pathlib import Path

from decathlon.common.errors import DecathlonError, OutputError, UsageError

_NO_LOCKS = (
    "its file system has no locks",
    "mount it with locks across machines (NFS: without nolock; Lustre: -o flock), or {other}",
)
_UNREACHABLE = (
    "the disk or the connection to it fails",
    "check the disk or the mount and run the same command again, or {other}",
)
_TOO_MANY = (
    "too many files are open",
    "raise the limit (ulimit -n) or run fewer processes at a time",
)
_OCCUPIED = ("a file stands where a folder is needed", "move it away, or {other}")
_DENIED = ("access is denied", "change its permissions, or {other}")
_BUSY = ("another program is using it", "wait until that has ended, or {other}")
_TABLE = {
    "ENOSPC": ("the disk is full", "make room, or {other}"),
    "EDQUOT": ("your quota of the disk is used up", "make room, or {other}"),
    "EFBIG": ("the file system takes no file of that size", "{other}"),
    "EROFS": ("the file system is read-only", "mount it for writing, or {other}"),
    "ENOENT": ("there is no such file or folder", "check the path, or {other}"),
    "EISDIR": ("it is a folder", "move it away, or name a file"),
    "ELOOP": ("symbolic links point at each other", "remove them, or {other}"),
    "ENOTEMPTY": ("the folder is not empty", "{other}"),
    "ENAMETOOLONG": ("the name is too long", "choose a shorter path, or {other}"),
    "EILSEQ": ("the file system takes no such name", "rename it, or {other}"),
    "ENOMEM": ("out of memory", "free memory, or run fewer processes at a time"),
    "ENOLCK": _NO_LOCKS,
    **dict.fromkeys(("EACCES", "EPERM"), _DENIED),
    **dict.fromkeys(("EEXIST", "ENOTDIR"), _OCCUPIED),
    **dict.fromkeys(("EMFILE", "ENFILE"), _TOO_MANY),
    **dict.fromkeys(("EBUSY", "ETXTBSY"), _BUSY),
    **dict.fromkeys(("EIO", "ENXIO", "ENODEV", "ESTALE", "EREMOTEIO"), _UNREACHABLE),
    **dict.fromkeys(("ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH"), _UNREACHABLE),
}
# Some names are of one system alone.
_BY_NUMBER = {getattr(errno, name): value for name, value in _TABLE.items() if hasattr(errno, name)}

_WITHOUT_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EBADF,  # NFS, to an exclusive lock on a file that is open for reading
    524,  # Linux on some network file systems; C libraries have no name for it
)
"""Errors of a lock on a file system without locks; of other calls, most mean something else."""

# fmt: off
_MISPLACED = (
    errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EACCES, errno.EPERM,
    errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EINVAL,
)
# fmt: on
"""Errors that a user avoids by naming another file."""


def of_the_system(error: OSError, other: str = "name another file") -> DecathlonError:
    """Returns what an error of the operating system means to a user who named a file to write.

    Args:
        error: An error, with the file it is about if there is one.
        other: How to choose another place, such as ``"name another file"``.
    """
    if error.filename is None:
        return OutputError(f"the operating system reports: {error.strerror or error}")
    text = explained(error, error.filename, other)
    return UsageError(text) if error.errno in _MISPLACED else OutputError(text)


def explained(
    error: OSError,
    where: Path | str,
    other: str = "name another folder",
    failed: str = "",
    locking: bool = False,
) -> str:
    """Returns one sentence: which file, what is wrong, and how to fix it.

    Args:
        error: The system's error.
        where: The file or folder, for an error that names none.
        other: How to choose another place, such as ``"name another folder with --data"``.
        failed: What could not be done, such as ``"cannot be read"``.
        locking: Whether taking a lock may have caused the error.
    """
    name = error.filename if isinstance(error.filename, str | bytes | os.PathLike) else where
    reason = error.strerror or str(error) or type(error).__name__
    what, remedy = _BY_NUMBER.get(error.errno, ("it cannot be used", "{other}"))
    if locking and has_no_locks(error):
        what, remedy = _NO_LOCKS
    said = f"{failed} ({reason}): {what}" if failed else f"{what} ({reason})"
    return f"{os.fsdecode(name)}: {said}; {remedy.format(other=other)}"


def has_no_locks(error: OSError) -> bool:
    """Returns whether the error of a lock means that the file system has none."""
    return error.errno in _WITHOUT_LOCKS
