"""What the README says has to hold: its archives, its commands and its Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from decathlon.suites.visual_decathlon import SUITE

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = sorted(
    set(
        re.findall(
            r"^    (?:\.venv/bin/|.*torchrun .* -m )?decathlon ([a-z-]+ .*)$",
            TEXT.replace("\\\n", " "),
            re.MULTILINE,
        )
    )
)


def block(word: str) -> str:
    """The one Python block that holds a word."""
    (found,) = [text for text in PYTHON if word in text]
    return found


@pytest.mark.parametrize("archive", SUITE.official, ids=lambda archive: archive.file)
def test_archives_are_listed(archive) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{archive.file}`")]
    assert f"<{archive.url}>" in row
    number, unit = re.search(r"\| ([0-9.]+) ([MG])B \|", row).groups()
    assert float(number) == pytest.approx(archive.size / {"M": 1e6, "G": 1e9}[unit], rel=0.01)


@pytest.mark.parametrize("line", LINES)
def test_commands_have_their_options(line: str) -> None:
    command, *words = line.split()
    done = subprocess.run(
        [sys.executable, "-m", "decathlon", command, "--help"],
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"--[a-z-]+", done.stdout))
    assert {word for word in words if word.startswith("--")} <= known


def test_commands_are_found() -> None:
    assert {"prepare", "verify", "pretrain", "run", "score"} == {line.split()[0] for line in LINES}


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_score_example() -> None:
    names: dict[str, object] = {}
    exec(compile(block("decathlon_score("), "README.md", "exec"), names)
    # DTD: Emax = 2 * (1 - 0.5553); SVHN: Emax = 2 * (1 - 0.9655).
    expected = 1000 * ((1 - 0.40 / 0.8894) ** 2 + (1 - 0.03 / 0.069) ** 2)
    assert names["decathlon_score"]({"dtd": 0.40, "svhn": 0.03}) == pytest.approx(expected)


def test_method_example() -> None:
    from decathlon.method.base import Task
    from decathlon.models.resnet import Architecture
    from decathlon.models.weights import Source

    names: dict[str, object] = {}
    exec(compile(block("class NormsOnly"), "README.md", "exec"), names)
    method = names["NormsOnly"]()
    task = Task("dtd", num_classes=47, num_images=1880)
    network = method.build(Source(Architecture(width=0.25), num_classes=7), [task])
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    modules = {name.rpartition(".")[0] for name in trained}
    kinds = {type(network.get_submodule(name)).__name__ for name in modules}
    assert kinds == {"BatchNorm2d", "Linear"}
    (group,) = method.phases(network, [task])[0].groups
    assert len(group.parameters) == len(trained)
