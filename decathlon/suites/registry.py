"""The registry in which suites are found: entry points of the group ``decathlon.suites``."""

from functools import cache
from typing import TYPE_CHECKING

from decathlon.common import plugins
from decathlon.common.errors import UsageError
from decathlon.suites.base import Suite
from decathlon.suites.visual_decathlon import SUITE

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

DEFAULT = SUITE
"""The suite of commands that name none, and of data and records that say none."""


@cache
def registered() -> "dict[str, EntryPoint]":
    """Returns all registered suites by name, without importing any."""
    return plugins.registered("suite")


def find(name: str) -> Suite:
    """Returns a registered suite.

    Raises:
        UsageError: There is none of that name, or several, or it cannot be imported.
    """
    if name == DEFAULT.name:
        return DEFAULT
    point = plugins.chosen("suite", registered(), name)
    suite = plugins.loaded("suite", point)
    if not isinstance(suite, Suite):
        raise UsageError(f"suite '{name}' ({point.value}) is not a decathlon Suite")
    return suite
