"""What docs/stability.md promises: names of commands, options, fields, functions and hooks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.surface import PUBLIC, SURFACE, surface

ROOT = Path(__file__).parents[2]


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """All that a JSON value says, one line each, whatever the order of its lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
        yield path
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
        yield path
    else:
        yield f"{path}: {value}"


def test_nothing_that_is_promised_has_gone() -> None:
    promised, present = json.loads(SURFACE.read_text(encoding="utf-8")), surface()
    gone = sorted(set(leaves(promised)) - set(leaves(present)))
    assert gone == [], "others rely on these; docs/stability.md says how names are retired"


def test_what_is_new_is_promised() -> None:
    promised, present = json.loads(SURFACE.read_text(encoding="utf-8")), surface()
    new = sorted(set(leaves(present)) - set(leaves(promised)))
    assert new == [], "run tools/surface.py, if users may rely on these from now on"


def positional(value: dict[str, Any], path: str = "") -> dict[str, list[str]]:
    """The parameters that can be given by position, by function or class."""
    found = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            found |= positional(inner, f"{path}{name}.")
        elif inner is not None:
            found[path + name] = [parameter for parameter in inner if parameter[-1:] != "="]
    return found


def test_parameters_keep_their_order() -> None:
    """A new one comes last, or by keyword only."""
    promised, present = json.loads(SURFACE.read_text(encoding="utf-8")), surface()
    for part in ("python", "hooks"):
        after = positional(present[part])
        for name, parameters in positional(promised[part]).items():
            assert after[name][: len(parameters)] == parameters, name


def test_the_page_lists_the_public_modules() -> None:
    page = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(decathlon[\w.]*)` \| (.*) \|$", page, re.MULTILINE))
    names = {module: re.findall(r"`(\w+)`", text) for module, text in rows.items()}
    assert names == {module: sorted(names.split()) for module, names in PUBLIC.items()}


def test_what_the_pages_import_is_public() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for module, names in re.findall(
            r"^from (decathlon[\w.]*) import (.*)$", text, re.MULTILINE
        ):
            assert set(names.split(", ")) <= set(PUBLIC[module].split()), f"{path.name}: {module}"
