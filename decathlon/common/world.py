"""How this process was started: alone, or by torchrun as one of several.

torchrun sets environment variables, so that nothing here needs torch.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

from decathlon.common.errors import UsageError
from decathlon.common.interrupts import INTERRUPTED
from decathlon.common.output import standard_error

GRACE = 30.0
"""Seconds that a failing process waits, so that the first one can report the error."""


@dataclass(frozen=True)
class World:
    """One process among those that train a network together.

    Attributes:
        rank: Its number, from 0 on; 0 is the first, which plans, writes and speaks.
        size: Number of processes.
        local_size: Number of processes on its machine, the same on all machines.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def machines(self) -> int:
        """Number of machines."""
        return self.size // self.local_size

    def part(self, count: int) -> slice:
        """Returns this process's part of ``count`` things: contiguous, nearly equal parts."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)


ALONE = World()


def world() -> World:
    """Returns which process this is, and of how many.

    Raises:
        UsageError: The machines have different numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    found = World(*(int(os.environ[name]) for name in names))
    if found.machines * found.local_size != found.size:
        raise UsageError(
            f"{found.size} processes, {found.local_size} of them on this machine:"
            " give torchrun the same --nproc-per-node on every machine"
        )
    return found


def is_follower() -> bool:
    """Returns whether torchrun started this process, and it is not the first."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ["RANK"] != "0"


@contextmanager
def one_voice(everyone: bool = False) -> Iterator[None]:
    """Lets only the first process print.

    torchrun ends all processes as soon as one fails. Any other process that fails therefore
    waits for the first one to report the error. If it is still alive after :data:`GRACE`
    seconds, the first process has no error, and this one prints its own output.

    Args:
        everyone: Let all processes print.
    """
    if everyone or not is_follower():
        yield
        return
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            yield
        except SystemExit as end:
            if end.code not in (None, 0, INTERRUPTED):
                time.sleep(GRACE)
                print(said.getvalue(), end="", file=standard_error(), flush=True)
            raise
