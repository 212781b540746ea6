"""The registry in which methods are found: entry points of the group ``decathlon.methods``.

Probes (:mod:`decathlon.method.probe`) are methods too, of the group ``decathlon.probes``.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint

from decathlon.common import plugins
from decathlon.common.errors import UsageError
from decathlon.method.base import Method
from decathlon.method.modules import content_of, spec_of


@dataclass(frozen=True)
class About:
    """What is known of a method without importing it.

    Attributes:
        name: Registered name.
        paper: Where it comes from.
        year: Year of publication.
        trains: What is trained.
        text: First line of the class's docstring.
        target: Where the class is, ``module:Class``.
    """

    name: str
    paper: str
    year: int
    trains: str
    text: str
    target: str


@cache
def registered() -> dict[str, EntryPoint]:
    """Returns all registered methods by name, without importing any."""
    return plugins.registered("method")


@cache
def probes() -> dict[str, EntryPoint]:
    """Returns all registered probes by name, without importing any."""
    return plugins.registered("probe")


def about(name: str) -> About:
    """Describes a method from its source text, without importing it.

    The class's ``paper``, ``year`` and ``trains`` are read as literals.

    Raises:
        UsageError: There is no method of that name; the nearest is suggested.
    """
    point = entry(name)
    facts: dict[str, object] = {}
    text = ""
    try:
        body = ast.parse(content_of(spec_of(point.module)) or b"").body
    except (SyntaxError, ValueError):
        body = []  # running it reports what is wrong
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == point.attr:
            text = (ast.get_docstring(node) or "").partition("\n")[0]
            facts = dict(_literals(node))
    return About(
        name,
        str(facts.get("paper", "")),
        int(str(facts.get("year", 0))),
        str(facts.get("trains", "")),
        text,
        point.value,
    )


def _literals(node: ast.ClassDef) -> Iterable[tuple[str, object]]:
    for item in node.body:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        value = getattr(item, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            yield target.id, value.value


def find(name: str) -> type[Method]:
    """Imports the class of a registered method, or of a probe.

    Raises:
        UsageError: There is no method of that name, or several, or it cannot be imported.
    """
    point = entry(name)
    loaded = plugins.loaded("method", point)
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise UsageError(f"method '{name}' ({point.value}) is not a subclass of decathlon Method")
    return loaded


def entry(name: str) -> EntryPoint:
    """Returns the entry point of a registered method, or of a probe.

    Raises:
        UsageError: There is no method of that name; the nearest is suggested.
    """
    return plugins.chosen("method", registered() | probes(), name)
