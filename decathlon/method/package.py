"""The package of a new method: what ``decathlon new-method`` writes.

The files are made from the templates in ``template/``. As they come they install, and their tests
pass: the method in them fine-tunes with slower learning near the images.
"""

import builtins
import re
import sys
from collections.abc import Iterator
from datetime import date
from importlib.metadata import packages_distributions
from keyword import iskeyword
from pathlib import Path

from decathlon import __version__
from decathlon.common.errors import UsageError
from decathlon.common.files import write_text
from decathlon.common.folders import new_folder
from decathlon.method.registry import probes, registered
from decathlon.results.records import RESERVED

FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    ".gitignore": "gitignore",
    ".github/workflows/tests.yml": "tests.yml",
    "src/{module}.py": "method.py",
    "tests/test_{module}.py": "test_method.py",
}
"""Templates by the path of the file in the package."""
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 60
"""Characters of a name."""
PYTHON = ">=3.11"
"""What setup.py requires too."""
_IMPORTED = (
    *("Architecture", "ClassVar", "Fraction", "Method", "Phase", "Settings", "Task"),
    "TuningRecipe",
)
TAKEN = frozenset([*_IMPORTED, *dir(builtins)])
"""Names that the files use, or may use, beside that of the method's class."""
UNLISTED = ("test", "sitecustomize", "usercustomize")
"""Modules of Python that it does not list: its own tests, and those that it runs as it starts."""
ELSEWHERE = "name another folder with --dir"


def write_package(name: str, folder: Path) -> list[str]:
    """Writes the package of a new method, whole or not at all.

    Args:
        name: Name of the method and of the package, such as ``my-method``.
        folder: Folder to write; it may exist if it is empty.

    Returns:
        The files, relative to the folder.

    Raises:
        UsageError: The name cannot be one, or is taken; or the folder has something in it, or
            cannot be written.
    """
    check_new(name)
    files = dict(_rendered(name))
    with new_folder(folder, ELSEWHERE) as part:
        for path, text in files.items():
            write_text(part / path, text)
    return sorted(files)


def check_new(name: str) -> None:
    """Checks that a name can be that of a new method, its package and its module.

    Raises:
        UsageError: It has other characters, or something has the name already.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise UsageError(
            f"name '{name}': use lower-case letters, digits and single hyphens, a letter first,"
            f" at most {LONGEST} characters, such as 'my-method'"
        )
    if reason := _taken(name):
        raise UsageError(f"name '{name}': {reason}; choose another name")


def module_of(name: str) -> str:
    """Returns the name of a method's module: ``my_method``."""
    return name.replace("-", "_")


def class_of(name: str) -> str:
    """Returns the name of a method's class, ``MyMethod``, which hides no other in its files."""
    found = "".join(word.capitalize() for word in name.split("-"))
    return f"{found}Method" if found in TAKEN else found


def _taken(name: str) -> str:
    """Says what has a name already; "" if nothing has."""
    module = module_of(name)
    if name in registered() or name in probes():
        return "a method of that name is installed"
    if name in RESERVED:
        return "results have a folder of that name"
    if iskeyword(module):
        return "it is a word of Python's grammar"
    if module in sys.stdlib_module_names or module in UNLISTED:
        return "Python has a module of that name"
    for installed, packages in packages_distributions().items():
        if module in (installed, *(re.sub(r"[-_.]+", "_", p.lower()) for p in packages)):
            return f"the package {packages[0]} has it"
    return ""


def _rendered(name: str) -> Iterator[tuple[str, str]]:
    """Yields (path, text) of each file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # --help does not pay for it

    major, minor, *_ = map(int, re.findall(r"\d+", __version__))
    module = module_of(name)
    facts = {
        "name": name,
        "module": module,
        "cls": class_of(name),
        "year": date.today().year,
        "python": PYTHON,
        "lowest": f"{major}.{minor}",
        # Until 1.0, a minor version may change what methods use; see docs/stability.md.
        "below": f"{major}.{minor + 1}" if major == 0 else f"{major + 1}",
    }
    loader = PackageLoader("decathlon.method", "template")
    templates = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    for path, template in FILES.items():
        text = templates.get_template(f"{template}.jinja").render(facts)
        yield path.format(module=module), text
