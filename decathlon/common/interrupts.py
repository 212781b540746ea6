"""Signals that end a command in an orderly way, with exit code 130.

SIGINT (Ctrl-C), SIGTERM (Slurm, spot machines, ``timeout``), SIGUSR1 (Slurm's warning) and
SIGHUP (a closed terminal) raise ``KeyboardInterrupt``, so that whatever is under way tidies
up. While a network trains the first one is noted instead (:func:`deferring`): the loop asks
after each step, writes a checkpoint and raises. A second signal always raises.
"""

import _thread
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
INTERRUPTED = 130
"""The exit code, whichever signal it was."""
RESUME = "interrupted; run the same command to go on"
ECHO_SECONDS = 0.5
"""A second signal within this time is the first one's echo: ``timeout`` and Slurm send theirs
to a parent, which passes it on, and to its children as well."""
RETRY_SECONDS = 0.01
NOTICE = "ending after this training step, with a checkpoint; another signal ends at once, without"


class _State:
    """What has been received; there is one per process, as there is one main thread."""

    number = 0
    since = -float("inf")
    deferred = False
    ending = False
    quiet = False


def install(quiet: bool = False) -> None:
    """Handles the signals from now on. Only the main thread may call this.

    SIGHUP stays ignored where ``nohup`` ignores it. SIGINT is handled even where it was
    ignored, as shell scripts do for what they start with ``&``: Ray cancels trials with it.

    Args:
        quiet: Print nothing when a signal is deferred.
    """
    _State.quiet = quiet
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    if sys.unraisablehook is not _retry:
        sys.unraisablehook = _retry


@contextmanager
def handling() -> Iterator[None]:
    """Handles the signals in a block, silently: in a process that does one piece of work."""
    before = [signal.getsignal(number) for number in SIGNALS]
    _State.number, _State.since = 0, -float("inf")
    install(quiet=True)
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            if handler is not None:  # else it is not Python's, and cannot be set again
                signal.signal(number, handler)


def received() -> bool:
    """Returns whether a signal has arrived."""
    return _State.number != 0


def name() -> str:
    """Returns the name of the first signal, such as ``SIGTERM``."""
    return signal.Signals(_State.number).name if received() else ""


def check() -> None:
    """Raises ``KeyboardInterrupt`` if a signal has arrived.

    Code of others may catch the exception that the handler raised, or turn it into another.
    """
    if received():
        raise KeyboardInterrupt


@contextmanager
def deferring() -> Iterator[Callable[[], None]]:
    """Lets a block decide when it ends.

    Yields:
        A function after whose first call a first signal no longer raises; the block has to
        ask :func:`received`.

    Raises:
        KeyboardInterrupt: A signal has arrived, and the block ended without regard to it.
    """

    def defer() -> None:
        _State.deferred = True

    check()
    try:
        yield defer
    finally:
        _State.deferred = False
    check()


def ending() -> None:
    """Marks this process as about to exit: it prints its last message, later signals end it."""
    _State.ending, _State.deferred = True, False
    if received():
        _State.since = time.monotonic()


@contextmanager
def blocked() -> Iterator[None]:
    """Blocks the signals, also for good in processes that are started in the block.

    A terminal sends them to all of its processes. They are for this one to handle, which
    then ends the others.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(number: int, frame: FrameType | None) -> None:
    first, now = not received(), time.monotonic()
    if now - _State.since < ECHO_SECONDS:
        return
    _State.number, _State.since = _State.number or number, now
    if number == signal.SIGHUP:
        _leave_terminal()
    if _State.ending:
        os._exit(INTERRUPTED)
    if first and _State.deferred:
        if not _State.quiet:
            # print() must not be called while the interrupted code is within print().
            with suppress(OSError):
                os.write(2, f"decathlon: {name()}: {NOTICE}\n".encode())
        return
    raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Turns output away from a terminal that is gone, where every print() would fail."""
    for number in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _retry(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raises an interrupt again that came within a destructor, where Python drops it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt) and received():
        _State.since = -float("inf")
        again = Timer(RETRY_SECONDS, _thread.interrupt_main, [_State.number])
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)
