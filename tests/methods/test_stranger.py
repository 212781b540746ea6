"""The walk-through of docs/your-method.md, done as it is written, in an environment of its own."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.home import Home

ROOT = Path(__file__).parents[2]
MAX_LINES = 40
QUICK = "--domain dtd --set epochs=2 --set batch_size=16 --precision 32 --device cpu"


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "your-method.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """What the first commands of the page make: the package, installed and tested as generated."""
    folder = tmp_path_factory.mktemp("stranger")
    home = Home(folder)
    commands, _ = blocks("console")
    for words in map(shlex.split, commands.splitlines()):
        if words[0] == "cd":
            folder = folder / words[1]
        else:
            home.follow(folder, words)
    return home, folder


def test_the_method_is_short() -> None:
    method, _ = blocks("python")
    assert len(method.splitlines()) <= MAX_LINES


def test_the_entry_point_is_what_the_page_shows(package: tuple[Home, Path]) -> None:
    (shown,) = blocks("toml")
    assert shown in (package[1] / "pyproject.toml").read_text()


def test_it_is_tested_listed_run_and_scored(
    package: tuple[Home, Path], tiny: Path, tiny_source: Path
) -> None:
    home, folder = package
    method, test = blocks("python")
    for name, text in (("src/gradual.py", method), ("tests/test_gradual.py", test)):
        assert (folder / name).is_file()
        (folder / name).write_text(text)
    (folder / "data").symlink_to(tiny)
    shutil.copyfile(tiny_source, folder / "source.safetensors")
    _, commands = blocks("console")
    outputs = {}
    for words in map(shlex.split, commands.splitlines()):
        quick = QUICK.split() if words[:2] == ["decathlon", "run"] else []
        outputs[words[1]] = home.follow(folder, [*words, *quick])
    assert "2 passed" in outputs["-m"]
    assert "gradual" in outputs["methods"]
    assert "Howard and Ruder, ACL 2018" in outputs["methods"]
    assert "Trains the head on frozen features" in outputs["methods"]
    scored = [line for line in outputs["score"].splitlines() if line.startswith("gradual")]
    assert len(scored) == 1
    assert re.search(r"10(\.0+)?x", scored[0])
