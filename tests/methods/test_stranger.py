"""The walk-through of docs/your-method.md, done as it is written, in a package of its own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 40
QUICK = "--domain dtd --set epochs=2 --set batch_size=16 --precision 32 --device cpu"


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "your-method.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Stranger:
    """A folder of the user's with what they have installed, and nothing of the repository."""

    def __init__(self, folder: Path) -> None:
        self.package, self.site, self.work = folder / "package", folder / "site", folder / "work"
        self.package.mkdir()
        self.work.mkdir()
        method, _ = blocks("python")
        (pyproject,) = blocks("toml")
        (self.package / "gradual.py").write_text(method)
        (self.package / "pyproject.toml").write_text(pyproject)

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        env = {**os.environ, "PYTHONPATH": str(self.site), "COLUMNS": "200"}
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd or self.work,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install(self, arguments: list[str]) -> None:
        pip = [sys.executable, "-m", "pip", *arguments, "--target", str(self.site), "--quiet"]
        self.run(*pip, "--disable-pip-version-check", "--no-index", cwd=self.package)

    def decathlon(self, arguments: list[str]) -> str:
        return self.run(sys.executable, "-m", "decathlon", *arguments)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    stranger = Stranger(tmp_path_factory.mktemp("stranger"))
    (commands,) = blocks("console")
    install = shlex.split(commands.splitlines()[0])
    assert install[:2] == ["pip", "install"]
    stranger.install(install[1:])
    return stranger


def test_the_method_is_short() -> None:
    method, _ = blocks("python")
    assert len(method.splitlines()) <= MAX_LINES


def test_it_is_listed_run_and_scored(stranger: Stranger, tiny: Path, tiny_source: Path) -> None:
    (stranger.work / "data").symlink_to(tiny)
    shutil.copyfile(tiny_source, stranger.work / "source.safetensors")
    (commands,) = blocks("console")
    _, *lines = map(shlex.split, commands.splitlines())
    outputs = {}
    for program, command, *arguments in lines:
        assert program == "decathlon"
        quick = shlex.split(QUICK) if command == "run" else []
        outputs[command] = stranger.decathlon([command, *arguments, *quick])
    assert "gradual" in outputs["methods"]
    assert "Howard and Ruder, ACL 2018" in outputs["methods"]
    assert "Trains the head on frozen features" in outputs["methods"]
    scored = [line for line in outputs["score"].splitlines() if "gradual" in line]
    assert len(scored) == 1
    assert re.search(r"10(\.0+)?x", scored[0])


def test_it_conforms(stranger: Stranger) -> None:
    _, check = blocks("python")
    stranger.run(sys.executable, "-c", check)
