"""The code of a method: a digest of its module and of the modules it imports.

Imports are followed, inside functions too, if they lead to the method's own distribution: the
packages and modules that the distribution lists, the package that the method is in, and modules
beside it that no other distribution lists. Nothing is imported to find them.

For built-in methods, the method's file and the network code it uses count: modules of
``decathlon_methods`` and of ``decathlon.models``, always including the built-in source networks'. A
corrected error message elsewhere in ``decathlon`` does not invalidate results.

* Compiled modules, bytecode without source and modules in zip files count with their bytes; the
  imports of the first two are not known.
* Packages without a file (namespaces) have no code; what they hold is found through them.
* Editable installs are found as Python finds them.
* Imports by a computed name and data files are not followed.
"""

import hashlib
import json
import sys
from functools import cache
from importlib.metadata import Distribution, EntryPoint, packages_distributions
from pathlib import Path

from decathlon.common import plugins
from decathlon.method.modules import content_of, imports_of, spec_of
from decathlon.method.registry import entry
from decathlon.results.records import Code

OURS = "decathlon"
COUNTED = ("decathlon_methods", "decathlon.models")
SOURCES = ("decathlon.models.resnet", "decathlon.models.torchvision_resnet")
"""Built-in source networks, which no method imports by name."""
FILES = "decathlon.models.weights"
"""Reads and writes files, and is no part of a network."""
EQUAL = Path(__file__).with_name("equal_code.json")
"""See :func:`identity`."""


def code_of(method: str) -> Code:
    """Returns the code of a registered method, as it is on disk now.

    Args:
        method: Registered name.

    Raises:
        UsageError: There is no method of that name.
    """
    return _code(entry(method))


def code_of_network(name: str) -> Code:
    """Returns the code of a registered network, such as ``timm:resnet18``, as it is on disk now.

    Raises:
        UsageError: There is no network of that name.
    """
    return _code(plugins.chosen("network", plugins.registered("network"), name.partition(":")[0]))


def _code(point: EntryPoint) -> Code:
    own = _Own(point.module, point.dist)
    digest = hashlib.sha256()
    for name, content in sorted(_reached(point.module, own).items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return Code(distribution=own.name, version=own.version, sha256=digest.hexdigest())


def identity(code: Code | None) -> dict[str, str] | None:
    """Returns the facts by which two codes are compared: all but the version.

    ``equal_code.json`` lists, for each built-in method, digests of code that computes the same
    numbers bit for bit; they all count as the first one. So results stay usable when code is
    moved or reworded. After such a change, ``tools/equal_code.py`` adds the present digests. After
    a change that alters a method's numbers, remove the method's entry.
    """
    if code is None:
        return None
    sha256 = _first().get(code.sha256, code.sha256) if code.distribution == OURS else code.sha256
    return {"distribution": code.distribution, "sha256": sha256}


@cache
def _first() -> dict[str, str]:
    """Returns, for each digest in ``equal_code.json``, the first one of its method."""
    table: dict[str, list[str]] = json.loads(EQUAL.read_text(encoding="utf-8"))
    return {digest: digests[0] for digests in table.values() for digest in digests}


def shown(code: Code | None) -> str:
    """Describes code in a message: ``gradual 0.1 (a1b2c3d4e5f6)``."""
    if code is None:
        return "unknown code"
    return f"{code.distribution} {code.version} ({code.sha256[:12]})"


class _Own:
    """Which modules belong to a method's distribution."""

    def __init__(self, module: str, distribution: Distribution | None) -> None:
        self.top = module.partition(".")[0]
        self.name = self.top if distribution is None else distribution.name
        self.version = "unknown" if distribution is None else distribution.version
        self.listed = {self.top} | (set() if distribution is None else _listed(distribution))
        self.folder = _folder(self.top)

    def has(self, name: str) -> bool:
        """Whether a module is of the distribution, and counts."""
        top = name.partition(".")[0]
        if self.name == OURS:
            return name != FILES and any(name == n or name.startswith(f"{n}.") for n in COUNTED)
        if top in self.listed:
            return True
        if top in sys.stdlib_module_names or self.folder is None or _folder(top) != self.folder:
            return False
        return top not in _distributions()


def _reached(module: str, own: _Own) -> dict[str, bytes]:
    """Returns the content of a module, its packages, and all that they import of their own."""
    found: dict[str, bytes] = {}
    passed: set[str] = set()
    waiting = [module, *SOURCES]
    while waiting:
        name = waiting.pop()
        if name in passed or not own.has(name):
            continue
        passed.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        spec = spec_of(name)
        content = content_of(spec)
        if spec is None or content is None:
            continue
        found[name] = content
        if str(spec.origin).endswith(".py"):
            package = name if spec.submodule_search_locations is not None else spec.parent
            waiting += imports_of(content, package or "")
    return found


def _folder(top: str) -> Path | None:
    """Returns the folder that a top-level module or package is in."""
    spec = spec_of(top)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return None if spec.origin is None else Path(spec.origin).parent


def _listed(distribution: Distribution) -> set[str]:
    """Returns the top-level modules and packages that a distribution says it has."""
    names = set((distribution.read_text("top_level.txt") or "").split())
    for file in distribution.files or ():
        if file.suffix in (".py", ".pyc", ".so", ".pyd"):
            names.add(file.parts[0].partition(".")[0])
    return {name for name in names if name.isidentifier() and not name.startswith("__")}


@cache
def _distributions() -> frozenset[str]:
    """Returns the top-level names that any installed distribution lists."""
    return frozenset(packages_distributions())
