"""Process groups in which ranks start together and fail together.

One group lasts for the whole command: in it rank 0 broadcasts the next piece of work, and all
ranks report how it went. Each piece of work has a group of its own as well. A rank that fails
closes that group, so that ranks waiting in it fail too (with gloo at once, with NCCL after
``TIMEOUT``). All ranks then meet in the first group again and continue with the next piece.
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
from decathlon.training.distributed.parallel import TIMEOUT

ENDLESS = timedelta(days=365)
"""Rank 0 may wait for days until another run unlocks a trial."""
ANSWER_SECONDS = 60.0
"""How long a failed rank waits for the others before it prints its own message."""
KINDS = {kind.__name__: kind for kind in (DataError, ResultError, TrialError, UsageError)}


def init_processes(compute: Compute) -> None:
    """Connects the processes that torchrun started; does nothing without torchrun.

    Args:
        compute: Gives the devices.

    Raises:
        UsageError: The requested devices are not available.
    """
    if world().size == 1:
        return
    compute.fabric()
    # gloo on GPUs too: NCCL's watchdog would end a wait of days.
    enter(ENDLESS, "gloo")
    # If they still run when the interpreter exits, gloo's threads abort it.
    atexit.register(disband)


def broadcast_or_exit(value: Any) -> Any:
    """Returns rank 0's JSON value on every rank; exits if other ranks are gone."""
    try:
        return broadcast(value)
    except PartedError as parted:
        _give_up(None, parted)


@contextmanager
def fail_together() -> Iterator[None]:
    """Makes all ranks fail if one does, with one message.

    Raises:
        Exception: What this rank raised; if it raised nothing, a :class:`DecathlonError` of
            the same kind as the error of the lowest rank that failed.
        SystemExit: Other ranks are gone.
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
    """Runs a block with collectives in a new process group; otherwise :func:`fail_together`."""
    if num_processes() == 1:
        yield
        return
    enter(TIMEOUT)
    failure = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again when all ranks know
        failure = error
    group = leave()
    if failure is not None:
        dist.destroy_process_group(group)
        del group  # waiting ranks notice once nothing references it any more
        _settle(failure)
    else:
        try:
            _settle(None)  # first, as others may not have read yet what was sent to them
        finally:
            dist.destroy_process_group(group)


def _settle(failure: Exception | None) -> None:
    """Tells every rank how the others fared, and raises what all of them have to raise."""
    own = None if isinstance(failure, PartedError) else failure
    try:
        with _speaking_up(own):
            faults = all_gather(_fault(failure))
    except PartedError as parted:
        _give_up(own, parted)
    if own is not None:
        raise own
    causes = [(number, fault) for number, fault in enumerate(faults) if fault]
    # A rank that failed only because another left has an empty kind; causes come first.
    for number, fault in sorted(causes, key=lambda cause: not cause[1]["kind"]):
        kind = KINDS.get(fault["kind"], TrialError)
        raise kind(f"process {number}: {fault['text']}")


@contextmanager
def _speaking_up(own: Exception | None) -> Iterator[None]:
    """Prints this rank's failure if the block waits long for the other ranks."""
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
    """Exits, as other ranks are gone.

    A rank without a failure of its own prints nothing, unless it is rank 0.

    Raises:
        KeyboardInterrupt: A signal has arrived; it will have ended the other ranks too.
    """
    check()
    if own is not None:
        _say(_text(own))
    elif rank() == 0:
        _say(f"other processes are gone ({parted}); run the same command to go on")
    raise SystemExit(1)


def _say(text: str) -> None:
    """Prints to the terminal, also on ranks whose output is switched off."""
    print(f"decathlon: process {rank()}: {text}", file=standard_error(), flush=True)
