"""How this process was started: alone, or by torchrun as one of several.

torchrun says it in environment variables, so that nothing here needs torch.
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
"""Seconds that a process which ends with an error leaves the first one to say why."""


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
    """Lets the first of several processes alone print.

    torchrun ends all processes as soon as one ends with an error. Another one therefore
    waits before it does so. Is it still there after that, the first process goes on and
    knows nothing of the error; what this one had to say is printed then.

    Args:
        everyone: Let all processes print, to see what each of them says.
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
