"""A file that is cut short under a memory map.

The map of a *removed* file stays valid. If a file is cut short, overwritten in place, or its
disk fails, reading the map raises SIGBUS, which no ``except`` can catch: the process has to end.
Here it ends with a message.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decathlon.common.errors import DataError


def cut_short(what: str, data: Path) -> str:
    """Returns the message for work that reads the shards of a folder."""
    return (
        f"{what}: a shard in {data} was cut short or overwritten while it was read, or its disk"
        " fails (SIGBUS); run 'decathlon verify', mend what it names, and run the same command:"
        " it goes on from the last checkpoint"
    )


@contextmanager
def bus_error_says(message: str) -> Iterator[None]:
    """Makes a SIGBUS within the block end the process with a message and exit code 3.

    The handler is set through the C library: one that is set through ``signal`` would run only
    after the failing instruction, which is repeated for ever.

    Args:
        message: What to print on standard error.
    """
    text = f"\ndecathlon: {message}\n".encode(errors="backslashreplace")

    def end(number: int) -> None:
        os.write(2, text)
        os._exit(DataError.exit_code)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)
