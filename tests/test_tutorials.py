"""The tutorials of docs/tutorials, followed as they are written, each from an empty folder.

Files are written, packages installed and programs run in the order of the page, in an environment
of its own. Only the trainings are made shorter.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.home import Home
from tests.pages import act

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
STEP = re.compile(r"(?:^`([\w./]+)`[^\n]*:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block with its language and, if it is a file, the name in the line before."""
SHOWN, SCALE = "0.5", "0.15"
QUICK = "--set epochs=1 --device cpu --precision 32 --threads 1"
FEWER = {"72, 12, 36": "12, 12, 12", "80, 16, 48": "16, 16, 16"}
"""Images in the splits of a suite, and how many they are at this scale."""
ONE_DOMAIN = "--domain dtd"
TOOLS = ("mkdir", "mv", "tar")


class Reader:
    """Somebody who follows a page.

    Attributes:
        home: The environment.
        folder: Where they are.
    """

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.folder = folder

    def follow(self, page: Path) -> None:
        for name, language, text in STEP.findall(page.read_text(encoding="utf-8")):
            if name:
                (self.folder / name).write_text(smaller(text), encoding="utf-8")
            elif language == "python":
                self.home.run(self.folder, "-c", text)
            elif language == "console":
                for line in text.replace("\\\n", " ").splitlines():
                    self.act(line)

    def act(self, line: str) -> None:
        program, *words = shlex.split(line)
        if program == "cd":
            self.folder = (self.folder / words[0]).resolve()
        elif program in TOOLS:
            subprocess.run([program, *words], cwd=self.folder, check=True)
        elif program == "pip":
            if "-e" in words:
                self.home.install(self.folder)
            else:
                pytest.importorskip("onnx", reason="needs the extra 'onnx'")
        else:
            words = shorter(words) if program == "decathlon" else words
            self.home.follow(self.folder, [program, *words])


def smaller(text: str) -> str:
    for shown, fewer in FEWER.items():
        text = text.replace(shown, fewer)
    return text


def shorter(words: list[str]) -> list[str]:
    words = [SCALE if word == SHOWN else word for word in words]
    if words[0] not in ("run", "sweep"):
        return words
    all_ten = "demo/data" in words and "--domain" not in words
    return [*words, *QUICK.split(), *ONE_DOMAIN.split() * all_ten]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first command of every tutorial makes; here it finds its work finished."""
    folder = tmp_path_factory.mktemp("toured")
    act(folder, ["demo", "--scale", SCALE, "--out", "demo"])
    return folder / "demo"


@pytest.mark.slow  # three minutes; the commands of the other pages are always run
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_can_be_followed(page: Path, demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    shutil.copytree(demo, folder / "demo")
    reader = Reader(Home(tmp_path), folder)
    reader.follow(page)
    assert list(folder.rglob("failed.json")) == []


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_begins_with_the_demo(page: Path) -> None:
    lines = [line for _, language, text in STEP.findall(page.read_text(encoding="utf-8"))
             if language == "console" for line in text.splitlines()]  # fmt: skip
    first, *_ = (line for line in lines if not line.startswith("pip"))
    assert first == f"decathlon demo --scale {SHOWN} --out demo"
