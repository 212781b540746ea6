"""Several decoding processes, kept busy without a queue that grows."""

import fcntl
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, cast

from decathlon.common.errors import DataError
from decathlon.common.interrupts import blocked
from decathlon.data.preparing.worker import Pipe, Writer

AHEAD = 2
"""Batches given to a process before the first has come back."""
_PIPE = 1 << 20
WORKER = "decathlon.data.preparing.worker"

Reply = Callable[[dict[str, Any]], None]


class _Process:
    def __init__(self) -> None:
        # The child finds the package where this process found it.
        paths = os.pathsep.join(path for path in sys.path if path)
        self.process = subprocess.Popen(
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Its threads would only cost time at the start: nothing is multiplied.
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            bufsize=0,
        )
        self.waiting: deque[Reply] = deque()
        self.input = cast(IO[bytes], self.process.stdin)
        self.output = cast(IO[bytes], self.process.stdout)
        self.pipe = Pipe(self.output.fileno(), self.input.fileno())
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # A batch fits into the pipe, so that giving one does not wait.
            # Where the user's allowance is used up it is slower, not wrong.
            with suppress(OSError):
                fcntl.fcntl(self.input, fcntl.F_SETPIPE_SZ, _PIPE)

    def died(self) -> DataError:
        code = self.process.wait()
        return DataError(
            f"a decoding process ended with code {code} (-9: out of memory?);"
            " run 'decathlon prepare' again, it continues; --jobs 1 needs least memory"
        )


class Pool:
    """Decodes batches in ``jobs`` processes, or in this one where ``jobs`` is 0.

    Use as a context manager: leaving it ends the processes, and leaving it again does nothing.
    """

    def __init__(self, jobs: int) -> None:
        self._own = Writer()
        with blocked():
            self._processes = [_Process() for _ in range(jobs)]
        self._selector = selectors.DefaultSelector()
        for process in self._processes:
            self._selector.register(process.output, selectors.EVENT_READ, process)

    def submit(self, header: dict[str, Any], data: Sequence[bytes], reply: Reply) -> None:
        """Gives one batch away; ``reply`` is called with the answer, here or later.

        Raises:
            DataError: A process died.
        """
        if not self._processes:
            reply(self._own.work(header, b"".join(data)))
            return
        self._collect(0)
        while True:
            process = min(self._processes, key=lambda p: len(p.waiting))
            if len(process.waiting) < AHEAD:
                break
            self._collect(None)
        process.waiting.append(reply)
        try:
            process.pipe.write(header, data)
        except BrokenPipeError:
            raise process.died() from None

    def drain(self) -> None:
        """Waits for all answers.

        Raises:
            DataError: A process died.
        """
        while any(process.waiting for process in self._processes):
            self._collect(None)
        self._own.close()

    def _collect(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            process: _Process = key.data
            message = process.pipe.read()
            if message is None:
                raise process.died()
            process.waiting.popleft()(message[0])

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()
        self._selector.close()
        for process in self._processes:
            process.process.kill()
            process.process.wait()
            process.input.close()
            process.output.close()
