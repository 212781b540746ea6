"""Modules found and read without importing them, nor the packages they are in."""

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


def imports_of(source: bytes, package: str) -> Iterator[str]:
    """Yields the names of all modules that a module's source may import.

    Args:
        source: The source text.
        package: The package it is in, to which relative imports lead.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            if base:
                yield base
                # Any of the names may be a module.
                yield from (f"{base}.{alias.name}" for alias in node.names)


def spec_of(name: str) -> ModuleSpec | None:
    """Finds a module as Python does, but without importing the packages it is in."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(loaded, ModuleSpec):
        return loaded
    places = None
    if parent := name.rpartition(".")[0]:
        above = spec_of(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        places = list(above.submodule_search_locations)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, places)
        except KeyError:  # a namespace in another one that is not imported
            spec = ModuleSpec(name, None, is_package=True)
            folders = [Path(place, name.rpartition(".")[2]) for place in places or ()]
            spec.submodule_search_locations = [str(f) for f in folders if f.is_dir()]
        if spec is not None:
            return spec
    return None


def content_of(spec: ModuleSpec | None) -> bytes | None:
    """Returns the bytes of a module's file; None where it has none or is not there."""
    loader: Any = None if spec is None else spec.loader
    if spec is None or spec.origin is None or not hasattr(loader, "get_data"):
        return None
    try:
        content: bytes = loader.get_data(spec.origin)
    except OSError:
        return None
    return content
