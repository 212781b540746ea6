"""What can go wrong, as a user sees it: one message and one exit code each.

Every message says what is wrong, where, and how to mend it. The command line
prints it without a traceback and exits with :attr:`DecathlonError.exit_code`.
"""

import difflib
import errno
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

DEBUG = os.environ.get("DECATHLON_DEBUG") == "1"
"""Show tracebacks beside, or instead of, the one message."""


class DecathlonError(Exception):
    """The root of every error that is the user's to mend."""

    exit_code = 1


class TrialError(DecathlonError):
    """Training or evaluating one trial failed; others may have finished."""

    exit_code = 1


class UsageError(DecathlonError, ValueError):
    """An unknown method, domain, setting or option, or one that does not fit."""

    exit_code = 2


class DataError(DecathlonError):
    """Images, shards, annotations or weights are missing, damaged or foreign."""

    exit_code = 3


class ResultError(DecathlonError):
    """A record, a published row or a submission is not valid."""

    exit_code = 4


class OutputError(DecathlonError):
    """A result could not be written, for reasons that the command line does not decide."""

    exit_code = 1


_FULL = (errno.ENOSPC, errno.EDQUOT)
_MISPLACED = {
    errno.EISDIR: "is a folder; name a file",
    errno.ENOTDIR: "a file stands where a folder is needed; name another place",
    errno.EEXIST: "a file stands where a folder is needed; name another place",
    errno.ENOENT: "its folder has disappeared; make it, or name another place",
    errno.EACCES: "permission denied; change the permissions, or name another place",
    errno.EPERM: "permission denied; change the permissions, or name another place",
    errno.EROFS: "the file system is read-only; name another place",
    errno.ENAMETOOLONG: "the name is too long; name another file",
    errno.ELOOP: "symbolic links point at each other; name another file",
    errno.ENXIO: "is a socket; name a file",
    errno.EINVAL: "no such file can be written there; name another one",
}


def of_the_system(error: OSError) -> DecathlonError:
    """Return what an error of the operating system means to a user who named a file to write.

    Args:
        error: Names the file, if it was about one.
    """
    if error.filename is None:
        return OutputError(f"the operating system reports: {error.strerror or error}")
    if error.errno in _MISPLACED:
        return UsageError(f"{error.filename}: {_MISPLACED[error.errno]}")
    if error.errno in _FULL:
        return OutputError(
            f"{error.filename}: the disk is full ({error.strerror}); free some space, or name a"
            " file on another disk"
        )
    return OutputError(f"{error.filename}: cannot be used ({error.strerror}); name another file")


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns ``", did you mean 'x'?"`` for the nearest known word, or ``""``."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else ""


def first_difference(was: Any, now: Any, path: str = "") -> str:
    """Says where two JSON values first differ: ``"recipe.epochs was 1, now 2"``.

    Args:
        was: One value.
        now: Another one.
        path: Keys that led here, joined by dots.
    """
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                inner = f"{path}.{key}" if path else key
                return first_difference(was.get(key), now.get(key), inner)
    texts = [json.dumps(value)[:80] for value in (was, now)]
    return f"{path} was {texts[0]}, now {texts[1]}".lstrip()


def fault_lines(faults: Iterable[Mapping[str, Any]], whole: str) -> str:
    """Returns one indented line for each fault of a JSON document: its path, what is wrong.

    Args:
        faults: What pydantic's ``ValidationError.errors()`` lists.
        whole: What the document is called, where a fault is of no one field.
    """
    return "\n".join(f"  {'.'.join(map(str, f['loc'])) or whole}: {f['msg']}" for f in faults)
