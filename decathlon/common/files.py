"""Files that appear complete or not at all."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from decathlon.common.errors import UsageError
from decathlon.common.oserrors import of_the_system

CHUNK = 1 << 20
PART = ".part"
"""Ending of the names of files that are being written."""
LONGEST_NAME = 255
"""Bytes of a file's name, on all usual file systems."""
CHECKPOINT_SECONDS = 120.0
"""Seconds between two checkpoints of a training, unless another time is asked for."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path whose content becomes that of ``path`` on success.

    A regular file is written beside its final place, under a name ending in ``.part``,
    flushed to disk and renamed when the block ends: readers see the old file or the new one.
    Its permissions follow the umask, whatever wrote it. Symbolic links are followed, and stay.

    FIFOs and terminals are never replaced, nor is a file that this process already writes to,
    such as ``/dev/stdout``: the finished content is copied to them.

    Args:
        path: The file to write; its folder is created if missing.

    Raises:
        OSError: It cannot be written; ``filename`` names it, or the folder at fault.
    """
    try:
        stream = _stream(path)
        with _renamed(path) if stream is None else _passed_on(path.name, stream) as part:
            yield part
    except OSError as error:
        # Errors of writing alone name no file, those of copying both.
        if error.filename is None or _is_part(error.filename) or _is_part(error.filename2):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(part_name(target.name))
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            mode = os.fstat(file.fileno()).st_mode
        yield part
        if part.stat().st_mode != mode:  # safetensors makes files private
            part.chmod(stat.S_IMODE(mode))
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _is_part(name: object) -> bool:
    return isinstance(name, str | Path) and str(name).endswith(PART)


def part_name(name: str) -> str:
    """Returns a name for what is written beside its final place, of this process alone."""
    # Other processes, on other machines too, may be writing the same file.
    ending = f".{os.uname().nodename}.{os.getpid()}{PART}"
    whole = f"{name}{ending}"
    return whole if len(os.fsencode(whole)) <= LONGEST_NAME else f"{digest_of(name)[:16]}{ending}"


@contextmanager
def _passed_on(name: str, stream: int) -> Iterator[Path]:
    with os.fdopen(stream, "wb") as out, TemporaryDirectory() as folder:
        part = Path(folder) / name
        yield part
        with part.open("rb") as file:
            shutil.copyfileobj(file, out, CHUNK)


def _stream(path: Path) -> int | None:
    """Opens what cannot be replaced; returns None for a regular or missing file.

    Raises:
        OSError: ``path`` is a folder, a disk or a socket, or cannot be reached.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        _check_kind(path, 0)
        return None
    _check_kind(path, found.st_mode)
    own = _own_descriptor(path, found)
    if own is not None:
        for text in (sys.stdout, sys.stderr):
            if text is not None:
                text.flush()
        return os.dup(own)
    if stat.S_ISREG(found.st_mode):
        return None
    return os.open(path, os.O_WRONLY | os.O_NOCTTY)


def _own_descriptor(path: Path, found: os.stat_result) -> int | None:
    """Returns the descriptor of this process that a path stands for, if any."""
    named = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", str(path))
    for number in (1, 2, *([int(named[1])] if named else [])):
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(number)):
                return number
    return None


def check_output(path: Path) -> None:
    """Checks that a file can be written, before the work that makes its content.

    Raises:
        UsageError: It is a folder, or cannot be written there.
    """
    if str(path) == "-":
        raise UsageError("-: this output cannot go to standard output; './-' names a file")
    with _as_messages():
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        _check_kind(path, mode)
        if stat.S_ISREG(mode):
            _check_folder(place.parent)
        else:
            _check_access(path)


def check_folder(path: Path, other: str = "name another folder") -> None:
    """Checks that files can be written to a folder, or to one yet to be created.

    Args:
        path: The folder.
        other: How to choose another one, such as ``"name another folder with --results"``.

    Raises:
        UsageError: They cannot.
    """
    with _as_messages(other):
        _check_folder(path)


def _check_folder(path: Path) -> None:
    for place in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(place.stat().st_mode):
                raise _error(errno.EEXIST, place)
            _check_access(place)
            return


def _check_access(path: Path) -> None:
    if not os.access(path, os.W_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        raise _error(errno.EROFS if read_only else errno.EACCES, path)


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode) or path.name in ("", ".."):
        raise _error(errno.EISDIR, path)
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):  # writing to a disk would destroy what it holds
        raise _error(errno.EINVAL, path)


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


@contextmanager
def _as_messages(other: str = "name another file") -> Iterator[None]:
    """Raises errors of the operating system as messages to the user who named the file."""
    try:
        yield
    except OSError as error:
        raise of_the_system(error, other) from None


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) to ``path``, whole or not at all.

    Bytes of file names that are not UTF-8 are escaped.
    """
    with replacing(path) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Writes ``value`` as JSON to ``path``, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False) + "\n")


def append_line(path: Path, line: str) -> None:
    """Appends a line (UTF-8) to ``path``, whole or not at all."""
    data = f"{line}\n".encode("utf-8", "backslashreplace")
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(handle).st_size
        if os.write(handle, data) < len(data):
            os.ftruncate(handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of a JSON value in its canonical form (sorted keys)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
