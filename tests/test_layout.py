"""House rules that no linter knows: what the code may not contain, and what has to be listed."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "decathlon").rglob("*.py")) + sorted((ROOT / "methods").rglob("*.py"))
METHOD_FILES = sorted(set((ROOT / "methods").rglob("*.py")) - {ROOT / "methods" / "__init__.py"})
MAX_METHOD_LINES = 150

# Each of these can run code that a file holds.
LOADERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {
    "torch.load",
    "torch.save",
    "torch.jit.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "eval",
    "exec",
    "os.system",
    "os.popen",
}
ALLOWED = {
    "decathlon/models/reference/pickles.py": ["pickle.UnpicklingError", "pickle._Unpickler"],
}
"""The one file that may import from a loader, and what: it reads pickles without running them."""
NOTES = ("TODO", "FIXME", "XXX", "HACK")


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> list[str]:
    """The full names that one node of the syntax tree imports."""
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=str(module), names=names):
            return [f"{module}.{name.name}" for name in names]
    return []


def in_node(node: ast.AST) -> Iterator[str]:
    """What one node of the syntax tree does that the house forbids."""
    for name in imported(node):
        if name.split(".")[0] in LOADERS or name in CALLS:
            yield f"imports {name}"
    match node:
        case ast.Call(func=func, keywords=keywords):
            if dotted(func) in CALLS:
                yield f"calls {dotted(func)}"
            for keyword in keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not off:
                    yield "allows pickles"
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            if name == "NotImplementedError":
                yield "leaves something out (NotImplementedError)"
        case ast.ExceptHandler(type=None):
            yield "has a bare except"


def offences(text: str) -> list[str]:
    """Everything in a Python source that the house forbids."""
    found = [
        f"line {getattr(node, 'lineno', 0)} {what}"
        for node in ast.walk(ast.parse(text))
        for what in in_node(node)
    ]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and any(note in token.string for note in NOTES):
            found.append(f"line {token.start[0]} has a note to self: {token.string}")
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "import torch, marshal",
        "from cloudpickle import load",
        "from torch import load",
        "torch.load('x')",
        "torch.save(x, 'x')",
        "numpy.load('x', allow_pickle=True)",
        "numpy.load('x', allow_pickle=flag)",
        "eval('1')",
        "raise NotImplementedError",
        "raise NotImplementedError('later')",
        "try:\n    f()\nexcept:\n    pass",
        "x = 1  # TO" + "DO: the rest",
    ],
)
def test_offences_are_found(text: str) -> None:
    assert len(offences(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import pickletools",
        "numpy.load('x', allow_pickle=False)",
        "safetensors.torch.load(x)",
        "words = 'torch.load is not used, nor pickle'",
        "model.eval()",
        "try:\n    f()\nexcept NotImplementedError:\n    raise ValueError",
    ],
)
def test_honest_code_is_taken(text: str) -> None:
    assert offences(text) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sources_keep_the_rules(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), [])
    found = [offence.partition(" ")[2] for offence in offences(path.read_text(encoding="utf-8"))]
    assert [what.split(" ", 1)[1] for what in found] == [f"imports {name}" for name in allowed]


def file(module: str) -> str:
    """The file of a module of methods, which are installed under another name."""
    path = module.replace("decathlon_methods", "methods").replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


def registered() -> dict[str, tuple[str, str]]:
    """The methods and probes of setup.py: {name: (file, class)}."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    lists = {dotted(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign)}
    found = [line for name in ("METHODS", "PROBES") for line in ast.literal_eval(lists[name])]
    lines = [line.partition("=") for line in found]
    places = {name.strip(): place.strip().partition(":") for name, _, place in lines}
    return {n: (file(m), c) for n, (m, _, c) in places.items()}


@pytest.mark.parametrize(("file", "class_name"), registered().values(), ids=registered().keys())
def test_registered_methods_exist(file: str, class_name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert class_name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_every_method_file_is_registered() -> None:
    # A folder may also hold parts of its methods.
    files = {str(path.relative_to(ROOT)) for path in METHOD_FILES if path.parent.name == "methods"}
    folders = {path.parent.name for path in METHOD_FILES} - {"methods"}
    known = {file for file, _ in registered().values()}
    assert files == {file for file in known if file.count("/") == 1}
    assert folders == {file.split("/")[1] for file in known if file.count("/") == 2}


@pytest.mark.parametrize("path", METHOD_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_methods_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_METHOD_LINES


def test_tests_mirror_the_layout() -> None:
    rooms = {path.name for path in (ROOT / "decathlon").iterdir() if path.is_dir()}
    folders = {p.parent.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py")}
    tops = {folder.parts[0] for folder in folders if folder.parts}
    assert tops <= rooms | {"methods", "tools", "attacks"}


def layers() -> list[str]:
    """The rooms of the import contract, the highest first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (order,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    return [layer.strip("()") for layer in order]


def test_contributing_lists_the_rooms_of_the_contract() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `decathlon/([a-z_]+)(?:/|\.py)`", text, re.MULTILINE)
    assert rooms == [name for name in reversed(layers()) if name != "__main__"]


def test_few_modules_stand_at_the_root() -> None:
    names = {path.stem for path in (ROOT / "decathlon").glob("*.py")}
    assert names == {"__init__", "__main__", "cli", "recipes", "testing"}


def torch_free_modules() -> list[str]:
    """Modules that --help, score, prepare and methods need."""
    package = ROOT / "decathlon"
    files = [package / f"{name}.py" for name in ("cli", "method/base", "method/registry")]
    # The figures alone may import matplotlib; they are imported when one is drawn.
    for room in ("common", "suites", "results", "scoring", "scoring/render", "commands"):
        files += sorted((package / room).glob("*.py"))
    for room in ("sources", "preparing"):
        files += sorted((package / "data" / room).glob("*.py"))
    files += [package / "data" / "reading" / "store.py"]
    modules = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    return [".".join(part for part in parts if part != "__init__") for parts in modules]


def test_commands_that_need_no_torch_do_not_import_it() -> None:
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'pandas', 'matplotlib'} & sys.modules.keys()\n"
        "    if heavy: sys.exit(f'{name} imports {sorted(heavy)}')\n"
    )
    modules = torch_free_modules()
    assert "decathlon.results.records" in modules
    done = subprocess.run(
        [sys.executable, "-c", program, *modules], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
