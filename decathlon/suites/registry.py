"""The registry in which suites are found: entry points of the group ``decathlon.suites``."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from decathlon.common.errors import UsageError, nearest
from decathlon.suites.base import Suite
from decathlon.suites.visual_decathlon import SUITE

GROUP = "decathlon.suites"
DEFAULT = SUITE
"""The suite of commands that name none, and of data and records that say none."""


@cache
def registered() -> dict[str, EntryPoint]:
    """Returns all registered suites by name, without importing any."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def find(name: str) -> Suite:
    """Returns a registered suite.

    Raises:
        UsageError: There is none of that name, or it cannot be imported.
    """
    if name == DEFAULT.name:
        return DEFAULT
    known = registered()
    if name not in known:
        raise UsageError(
            f"unknown suite '{name}'{nearest(name, known)} (installed: {', '.join(known)})"
        )
    point = known[name]
    try:
        suite = point.load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"suite '{name}' ({point.value}) cannot be imported: {error}") from error
    if not isinstance(suite, Suite):
        raise UsageError(f"suite '{name}' ({point.value}) is not a decathlon Suite")
    return suite
