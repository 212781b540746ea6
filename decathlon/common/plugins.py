"""Values that packages register as entry points: methods, suites and networks, ours included."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from decathlon.common.errors import UsageError, check_known

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def registered(kind: str) -> "dict[str, EntryPoint]":
    """Returns what is registered under ``decathlon.<kind>s`` by name, without importing any."""
    from importlib.metadata import entry_points  # --help does not pay for it

    return {point.name: point for point in sorted(entry_points(group=f"decathlon.{kind}s"))}


def chosen(kind: str, known: "Mapping[str, EntryPoint]", name: str) -> "EntryPoint":
    """Returns the entry point of a name.

    Raises:
        UsageError: There is none of that name; the nearest is suggested.
    """
    check_known(kind, name, known)
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
