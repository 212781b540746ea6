"""Standard output and standard error that take any text and never end the program by themselves.

Characters that the encoding lacks are replaced by similar ones. After a failed write the rest of
the output is dropped, and the command finishes its work; :func:`guarded` then reports the loss.
"""

import codecs
import errno
import io
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from decathlon.common.files import write_text
from decathlon.common.text import to_ascii

REPLACE = "decathlon.similar"
"""Name of the error handler that replaces characters that an encoding lacks."""
_STRICT = ("strict", "surrogateescape", "backslashreplace")
"""Python's own error handlers of these streams; any other was chosen by the user and is kept."""
_SIZE = re.compile(r"[2-9]\d|[1-9]\d{2,3}", re.ASCII)
"""20 to 9999: fewer columns leave no room for a table."""
_errors: TextIO | None = None


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return to_ascii(error.object[error.start : error.end]), error.end


codecs.register_error(REPLACE, _replace)


class _Descriptor(io.FileIO):
    """A descriptor that keeps its first failed write; later text is dropped."""

    failure: OSError | None = None
    """Why text was lost; None if none was."""

    def __init__(self, number: int, closed: OSError | None = None) -> None:
        super().__init__(number, "wb", closefd=False)
        self._unusable = closed

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self.failure is None:
            self.failure = self._unusable or self._written(view)
        return len(view)

    def _written(self, data: memoryview) -> OSError | None:
        try:
            while data:
                count = super().write(data)
                if count is None:  # a pipe that does not block, and is full for now
                    select.select([], [self], [])
                data = data[count or 0 :]
        except OSError as error:
            return error
        return None


def _guarded(stream: TextIO | None, number: int) -> tuple[TextIO, _Descriptor]:
    """Returns a text stream that replaces one of Python's, and what it writes to."""
    if not isinstance(stream, io.TextIOWrapper):
        raw = _Descriptor(number, OSError(errno.EBADF, "it is closed"))
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", REPLACE), raw
    raw = _Descriptor(number)
    errors = REPLACE if stream.errors in _STRICT else stream.errors
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        stream.encoding,
        errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    return text, raw


def _fill_closed() -> None:
    """Opens the null device for closed standard streams, so that no file takes their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def _check_size() -> None:
    """Forgets impossible sizes of a terminal: in 0 columns, rich prints empty tables."""
    for name in ("COLUMNS", "LINES"):
        if not _SIZE.fullmatch(os.environ.get(name, "")):
            os.environ.pop(name, None)


def standard_error() -> TextIO | None:
    """Returns the standard error of the process, even while ``sys.stderr`` is redirected."""
    return _errors or sys.__stderr__


def write_utf8(text: str, out: Path | None = None) -> None:
    """Writes what programs read: UTF-8 in every locale.

    Args:
        text: The text.
        out: File to write, whole or not at all; standard output where None.
    """
    if out is not None:
        write_text(out, text)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", REPLACE))
    else:
        sys.stdout.write(text)


@contextmanager
def guarded() -> Iterator[None]:
    """Guards standard output and standard error of a command, which ends with SystemExit.

    If standard output was lost, an exit code of 0 becomes 1, and the loss is reported unless
    the reader just went away, as ``head`` does. A lost standard error changes nothing.
    """
    global _errors  # noqa: PLW0603 - the process has one
    _check_size()
    if any(s not in (None, sys.__stdout__, sys.__stderr__) for s in (sys.stdout, sys.stderr)):
        yield  # an embedding program has redirected them and looks after them
        return
    _fill_closed()
    sys.stdout, out = _guarded(sys.stdout, 1)
    sys.stderr, _ = _guarded(sys.stderr, 2)
    _errors = sys.stderr
    try:
        yield
    except SystemExit as end:
        sys.stdout.flush()
        if out.failure is None:
            raise
        if out.failure.errno != errno.EPIPE:
            print(
                f"decathlon: standard output: cannot be written ({out.failure.strerror}), so part"
                " of the output is lost; write it to another place",
                file=sys.stderr,
            )
        sys.exit(end.code or 1)
