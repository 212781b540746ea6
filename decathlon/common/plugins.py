"""Values that packages register as entry points: methods, suites and networks, ours included."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from decathlon.common.errors import DecathlonError, UsageError, check_known

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OURS = "decathlon"
"""Our own package: an error in its code is not the user's to mend."""


def registered(kind: str) -> "dict[str, EntryPoint]":
    """Returns what is registered under ``decathlon.<kind>s`` by name, without importing any."""
    from importlib.metadata import entry_points  # --help does not pay for it

    return {point.name: point for point in sorted(entry_points(group=f"decathlon.{kind}s"))}


def chosen(kind: str, known: "Mapping[str, EntryPoint]", name: str) -> "EntryPoint":
    """Returns the entry point of a name.

    Raises:
        UsageError: There is none of that name; the nearest is suggested.
    """
    check_known(kind, name, known, "; if another package has it, install that")
    return known[name]


def loaded(kind: str, point: "EntryPoint") -> Any:
    """Imports a registered value.

    Raises:
        UsageError: Several packages register the name, or it cannot be imported.
    """
    from importlib.metadata import entry_points

    if len(points := entry_points(group=point.group, name=point.name)) > 1:
        places = ", ".join(
            f"{p.value} of {p.dist.name if p.dist else 'no package'}" for p in points
        )
        raise UsageError(
            f"{kind} '{point.name}' is registered more than once ({places}); uninstall one of the"
            " packages"
        )
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        said = f"sys.exit({error})" if isinstance(error, SystemExit) else error
        raise UsageError(
            f"{kind} '{point.name}' ({point.value}) cannot be imported: {said}"
        ) from error


@contextmanager
def blamed(kind: str, name: str, point: "EntryPoint", what: str) -> Iterator[None]:
    """Turns what the code of another package raises into one message.

    Args:
        kind: The kind of value.
        name: Its name, as the user wrote it.
        point: Where it is registered.
        what: What the code is called for, such as ``built``.

    Raises:
        UsageError: The block ended the program, or raised anything but a
            :class:`DecathlonError`.
    """
    try:
        yield
    except DecathlonError:
        raise
    except (Exception, SystemExit) as error:
        package = point.dist.name if point.dist else "its package"
        if package == OURS:
            raise
        raise UsageError(
            f"{kind} '{name}' ({point.value}) cannot be {what}: {type(error).__name__}: {error};"
            f" tell the authors of {package}, DECATHLON_DEBUG=1 shows where"
        ) from error
