"""What can go wrong, as a user sees it: one message and one exit code each.

Every message says what is wrong, where, and how to mend it. The command line
prints it without a traceback and exits with :attr:`DecathlonError.exit_code`.
"""

import difflib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from decathlon.common.text import visible

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


class UnreadableError(DataError):
    """The system does not let us read a file, which may be whole."""


class ResultError(DecathlonError):
    """A record, a published row or a submission is not valid."""

    exit_code = 4


class OutputError(DecathlonError):
    """A result could not be written, for reasons that the command line does not decide."""

    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns ``", did you mean 'x'?"`` for the nearest known word, or ``""``."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else ""


def check_known(what: str, word: str, known: Collection[str], hint: str = "") -> None:
    """Raises UsageError unless a word is known; ``what`` is its kind, ``hint`` ends the message."""
    if word not in known:
        names = ", ".join(known)
        raise UsageError(f"unknown {what} '{word}'{nearest(word, known)} (known: {names}){hint}")


def listed(items: Sequence[str], between: str = ", ", most: int = 20) -> str:
    """Joins items; of many, the first and how many more there are.

    Args:
        items: What a message lists.
        between: Stands between two items.
        most: Items that are listed at most.
    """
    more = [f"and {len(items) - most:,} more"] if len(items) > most else []
    return between.join([*items[:most], *more])


def first_difference(was: Any, now: Any, path: str = "", wording: str = "was {}, now {}") -> str:
    """Says where two JSON values first differ: ``"recipe.epochs was 1, now 2"``.

    What is null or left out, as settings at their defaults may be, is "not set".

    Args:
        was: One value.
        now: Another one.
        path: Keys that led here, joined by dots.
        wording: Text with a place for each value.
    """
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                inner = f"{path}.{key}" if path else key
                return first_difference(was.get(key), now.get(key), inner, wording)
    texts = ["not set" if value is None else _short(json.dumps(value)) for value in (was, now)]
    return f"{visible(path)} {wording.format(*texts)}".lstrip()


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def fault_lines(faults: Iterable[Mapping[str, Any]], whole: str) -> str:
    """Returns one indented line for each fault of a JSON document: its path, what is wrong.

    Args:
        faults: What pydantic's ``ValidationError.errors()`` lists.
        whole: What the document is called, where a fault is of no one field.
    """
    # Keys may be anyone's: a line break in one would begin a line of the message.
    places = ((visible(".".join(map(str, fault["loc"]))), fault["msg"]) for fault in faults)
    return "\n".join(f"  {place or whole}: {what}" for place, what in places)
