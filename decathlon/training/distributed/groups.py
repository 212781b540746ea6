"""Several processes that act as one: they begin together, and fail together.

They meet in two kinds of groups. One is for the length of the command: in it the first
process says what is next, and all say how it went. Each piece of common work has a group
of its own besides. A process that fails leaves it, upon which the others, who would wait in
it for ever, fail too (with gloo at once, with NCCL after ``PATIENCE``). Then all meet again
in the first group and go on with the next piece.
"""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Timer
from typing import Any, NoReturn

import torch.distributed as dist

from decathlon.common.errors import DataError, DecathlonError, ResultError, TrialError, UsageError
from decathlon.common.interrupts import check
from decathlon.common.output import standard_error
from decathlon.common.world import world
from decathlon.models.processes import PartedError, disband, enter, leave, num_processes, rank
from decathlon.training.device import Compute
from decathlon.training.distributed.collectives import all_gather, broadcast
from decathlon.training.distributed.parallel import PATIENCE

ENDLESS = timedelta(days=365)
"""The first process may wait for days until another run lets go of a trial."""
ANSWER_SECONDS = 60.0
"""How long a process that failed waits for the others before it says so by itself."""
KINDS = {kind.__name__: kind for kind in (DataError, ResultError, TrialError, UsageError)}


def init_processes(compute: Compute) -> None:
    """Brings the processes together that torchrun started; alone, nothing is done.

    Args:
        compute: Gives the devices.

    Raises:
        UsageError: The devices that are asked for are not there.
    """
    if world().size == 1:
        return
    compute.fabric()
    # Over gloo on GPUs too, where a wait for days is no hang that has to be ended.
    enter(ENDLESS, "gloo")
    # Left to the interpreter's end, gloo's threads would abort it.
    atexit.register(disband)


def broadcast_or_exit(value: Any) -> Any:
    """Returns what the first process says is next, a JSON value, in all processes."""
    try:
        return broadcast(value)
    except PartedError as parted:
        _give_up(None, parted)


@contextmanager
def fail_together() -> Iterator[None]:
    """What fails in one process, fails in all of them, with one message.

    Raises:
        Exception: What this process raised; if nothing of its own, what the first of the
            others raised, told by a :class:`DecathlonError` of its kind.
        SystemExit: Other processes are gone.
    """
    failure = None
    try:
        yield
    except Exception as error:
        if num_processes() == 1:
            raise
        failure = error
    _settle(failure)


@contextmanager
def process_group() -> Iterator[None]:
    """As :func:`fail_together`, for work in which the processes meet: they do so in a new group."""
    if num_processes() == 1:
        yield
        return
    enter(PATIENCE)
    failure = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again when all know of it
        failure = error
    group = leave()
    if failure is not None:
        dist.destroy_process_group(group)
        del group  # those who wait in it notice when nothing holds it any more
        _settle(failure)
    else:
        try:
            _settle(None)  # first, as others may not have read yet what was sent to them
        finally:
            dist.destroy_process_group(group)


def _settle(failure: Exception | None) -> None:
    """Lets all processes know how each fared, and raises what all of them have to raise."""
    own = None if isinstance(failure, PartedError) else failure
    try:
        with _speaking_up(own):
            faults = all_gather(_fault(failure))
    except PartedError as parted:
        _give_up(own, parted)
    if own is not None:
        raise own
    causes = [(number, fault) for number, fault in enumerate(faults) if fault]
    # Who was left alone in the midst of it says so with an empty kind.
    for number, fault in sorted(causes, key=lambda cause: not cause[1]["kind"]):
        kind = KINDS.get(fault["kind"], TrialError)
        raise kind(f"process {number}: {fault['text']}")


@contextmanager
def _speaking_up(own: Exception | None) -> Iterator[None]:
    """Says what failed here, if the block waits long for the others to hear of it."""
    if own is None:
        yield
        return
    timer = Timer(ANSWER_SECONDS, _say, [f"{_text(own)}; waiting for the other processes"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _fault(failure: Exception | None) -> dict[str, str] | None:
    if failure is None:
        return None
    kind = "" if isinstance(failure, PartedError) else type(failure).__name__
    return {"kind": kind, "text": _text(failure)}


def _text(failure: Exception) -> str:
    if isinstance(failure, DecathlonError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}"


def _give_up(own: Exception | None, parted: PartedError) -> NoReturn:
    """Ends this process, as others are gone.

    Those who have nothing of their own to say leave it to the first to say so.

    Raises:
        KeyboardInterrupt: A signal has arrived, which will have ended the others too.
    """
    check()
    if own is not None:
        _say(_text(own))
    elif rank() == 0:
        _say(f"other processes are gone ({parted}); run the same command to go on")
    raise SystemExit(1)


def _say(text: str) -> None:
    """Prints to the terminal, also where only the first process does."""
    print(f"decathlon: process {rank()}: {text}", file=standard_error(), flush=True)
