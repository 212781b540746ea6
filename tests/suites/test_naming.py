"""Nothing outside ``decathlon/suites`` names a benchmark: not its domains, sizes or network."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from decathlon.suites.registry import DEFAULT

ROOT = Path(__file__).parents[2]
SUITES = ROOT / "decathlon" / "suites"
SOURCES = [p for room in ("decathlon", "methods") for p in sorted((ROOT / room).rglob("*.py"))]
OWN = ("decathlon/__init__.py", "decathlon/models/resnet.py")
"""The public ``decathlon.decathlon_score``, and the network itself."""
BENCHMARK = "decathlon.suites.visual_decathlon"
DOMAIN = rf"(?<![\w-])(?:{'|'.join(map(re.escape, DEFAULT.domains))})(?![\w-])"
NETWORK = r"resnet[-_ ]?26"
IN_TEXT = re.compile(rf"{DOMAIN}|{NETWORK}|\bTable 3\b|(?<![\w.]){DEFAULT.side}(?![\w.])", re.I)
IN_NAMES = re.compile(
    rf"(?:^|_)(?:{'|'.join(n.replace('-', '_') for n in DEFAULT.domains)})(?:_|$)|{NETWORK}", re.I
)
TEXTS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def imports(tree: ast.Module) -> Iterator[str]:
    """The imports of the benchmark's module."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                found = [module, *(f"{module}.{name.name}" for name in names)]
            case ast.Import(names=names):
                found = [name.name for name in names]
            case _:
                continue
        if BENCHMARK in found:
            yield f"line {node.lineno} imports {BENCHMARK}"


def words(text: str, docstrings: set[tuple[int, int]]) -> Iterator[str]:
    """What strings, names and numbers say of the benchmark."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        found = None
        if token.type in TEXTS and token.start not in docstrings:
            found = IN_TEXT.search(token.string)
        elif token.type == tokenize.NAME:
            found = IN_NAMES.search(token.string)
        elif token.type == tokenize.NUMBER:
            found = re.fullmatch(str(DEFAULT.side), token.string)
        if found:
            yield f"line {token.start[0]} names {found[0]}"


def offences(text: str) -> list[str]:
    """What a source says of the benchmark, docstrings and comments aside."""
    tree = ast.parse(text)
    docstrings = {
        (node.lineno, node.col_offset)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [*imports(tree), *words(text, docstrings)]


@pytest.mark.parametrize(
    "text",
    [
        "SOURCE = 'imagenet12'",
        "help = 'A domain, e.g. dtd.'",
        "x = f'{folder}/vgg-flowers/{split}'",
        "svhn = 1",
        "VGG_FLOWERS_CLASSES = 102",
        "def resnet26(): ...",
        "name = 'ResNet-26'",
        "table = 'SpotTune Table 3'",
        "size = 72",
        "text = '72-pixel images'",
        "from decathlon.suites.visual_decathlon import SUITE",
        "from decathlon.suites import visual_decathlon",
        "import decathlon.suites.visual_decathlon",
    ],
)
def test_a_named_benchmark_is_found(text: str) -> None:
    assert len(offences(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '"""The ten domains, such as dtd, at 72 pixels."""',
        'SIDE = 1\n"""Of imagenet12: 72."""',
        "x = 1  # as in Table 3",
        "turn = 0.72 * 172",
        "word = 'widtdh'",
        "from decathlon.suites.registry import DEFAULT",
    ],
)
def test_other_sources_are_taken(text: str) -> None:
    assert offences(text) == []


def test_only_suites_name_the_benchmark() -> None:
    found = {}
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        if not path.is_relative_to(SUITES) and name not in OWN:
            found[name] = offences(path.read_text(encoding="utf-8"))
    assert {name: lines for name, lines in found.items() if lines} == {}
