"""Writes tests/surface.json: all that docs/stability.md promises not to break.

    python tools/surface.py

Run it when something is added, and read the difference before you commit it: a line that
disappears breaks what users rely on.
"""

import dataclasses
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import typer

from decathlon.cli import app
from decathlon.common import errors, plugins
from decathlon.common.interrupts import INTERRUPTED
from decathlon.common.strict import StrictModel
from decathlon.data.manifest import DomainEntry, Manifest, ShardEntry, SourceEntry, SplitEntry
from decathlon.method.base import Method
from decathlon.method.probe import Probe
from decathlon.method.registry import find, probes, registered
from decathlon.results.card import Card
from decathlon.results.published import PublishedRow
from decathlon.results.records import Code, Cost, Parameters, RunRecord
from decathlon.suites.registry import find as find_suite

SURFACE = Path(__file__).parents[1] / "tests" / "surface.json"
GROUPS = ("methods", "networks", "probes", "suites")
WRITTEN: tuple[type[StrictModel], ...] = (
    *(RunRecord, Code, Cost, Parameters, PublishedRow),
    *(Manifest, DomainEntry, SplitEntry, ShardEntry, SourceEntry, Card),
)
"""What files hold."""
PUBLIC = {
    "decathlon": "decathlon_score load load_model",
    "decathlon.method": "Batch Group Method Phase Policy Stored Task",
    "decathlon.method.probe": "Features Probe ProbeRecipe",
    "decathlon.recipes": "DEFAULT Count Fraction NonNegative PerDomain Positive Recipe Threshold"
    " TuningRecipe Width by_size",
    "decathlon.testing": "Conformance check_method made_up_source",
    "decathlon.models.layers": "BatchNorm2d batch_norms freeze is_frozen normalise_by replace"
    " unfreeze",
    "decathlon.models.networks": "Architecture Families Family Input",
    "decathlon.models.noise": "keyed_gumbel keyed_uniform noise_key",
    "decathlon.models.processes": "mean_over_processes",
    "decathlon.models.residual": "Block ResidualNetwork fix_beginning",
    "decathlon.models.weights": "Source",
    "decathlon.suites.base": "Archive Domain Release Suite View Views",
    "decathlon.suites.score": "Score domain_points",
}
"""Names that other packages may import, by module."""


def surface() -> dict[str, Any]:
    """Returns what is promised, as JSON values."""
    return {
        "commands": _commands(),
        "exit codes": _exit_codes(),
        "methods": _methods(),
        "suites": {name: list(find_suite(name).domains) for name in _names("suite")},
        "networks": _names("network"),
        "entry points": [f"decathlon.{group}" for group in GROUPS],
        "files": {model.__name__: sorted(model.model_fields) for model in WRITTEN},
        "python": {
            f"{module}.{name}": _parameters(getattr(importlib.import_module(module), name))
            for module, names in PUBLIC.items()
            for name in names.split()
        },
        "hooks": {"Method": _hooks(Method), "Probe": _hooks(Probe)},
    }


def _commands() -> dict[str, list[str]]:
    group = typer.main.get_command(app)
    found = {}
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        options = [p for p in command.params if p.param_type_name == "option"]
        arguments = range(1, len(command.params) - len(options) + 1)
        found[name] = [f"argument {number}" for number in arguments]
        found[name] += sorted(name for option in options for name in option.opts)
    return found


def _methods() -> dict[str, dict[str, list[str]]]:
    """Returns the settings of built-in methods and probes by protocol."""
    points = registered() | probes()
    return {
        name: {
            protocol: sorted(field.name for field in dataclasses.fields(recipe))
            for protocol, recipe in find(name).recipes.items()
        }
        for name, point in points.items()
        if point.dist is not None and point.dist.name == "decathlon"
    }


def _names(kind: str) -> list[str]:
    """Returns the built-in suites, or networks."""
    points = plugins.registered(kind)
    return [n for n, point in points.items() if point.dist and point.dist.name == "decathlon"]


def _exit_codes() -> dict[str, int]:
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    found = {k.__name__: k.exit_code for k in kinds if issubclass(k, errors.DecathlonError)}
    return dict(sorted(found.items())) | {"interrupted": INTERRUPTED}


def _parameters(value: Any) -> list[str] | None:
    """Returns what a function or class takes, keyword-only ones as ``name=``; None for the rest.

    The parameters of a class that inherits ``__init__`` are those of its base.
    """
    own = inspect.isclass(value) and "__init__" in vars(value)
    if not own and not inspect.isfunction(value):
        return None
    found = inspect.signature(value).parameters.values()
    return [
        f"{parameter.name}=" if parameter.kind is parameter.KEYWORD_ONLY else parameter.name
        for parameter in found
        if parameter.name not in ("self", "cls")
    ]


def _hooks(kind: type) -> dict[str, list[str] | None]:
    """Returns the attributes and methods that a class declares itself."""
    return {
        name: _parameters(getattr(value, "__func__", value))
        for name, value in sorted(vars(kind).items())
        if not name.startswith("_")
    }


def main() -> None:
    SURFACE.write_text(json.dumps(surface(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
