"""Networks are found by name and listed; a stranger's is one file."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import DataError, UsageError
from decathlon.models.networks import Architecture, find, registered
from decathlon.models.weights import read_source, write_weights

MODULE = """
import sys

from torch import nn

from decathlon.models import networks, resnet

NARROW = resnet.RESNET26
NONE = 3


def family(name):
    words = dict(text=name, build=resnet.RESNET26.build, blocks=(1, 1), policy=("resnet26", (1,)))
    if name == "raises":
        words["build"] = lambda *_: [][0]
    elif name == "exits":
        words["build"] = lambda *_: sys.exit(7)
    elif name == "type":
        words["build"] = lambda *_: nn.Linear(2, 2)
    elif name == "blocks":
        words["build"] = lambda width, blocks, n: resnet.RESNET26.build(width, (1, 2), n)
    elif name == "classes":
        words["build"] = lambda width, blocks, n: resnet.RESNET26.build(width, blocks, 3)
    elif name == "draws":
        words["initialise"] = lambda network: network.nothing
    elif name == "no blocks":
        words["blocks"] = ()
    elif name == "fixed":
        words["fixed_macros"] = 3
    elif name == "std":
        words["input"] = networks.Input(64, (0.5,) * 3, (0.0,) * 3)
    elif name == "names":
        words["names"] = lambda: {}["nothing"]
    elif name == "invents":
        words["names"] = lambda: {"a": "b"}
    elif name == "crash":
        raise RuntimeError("no such network")
    return networks.Family(**words)


FAMILIES = networks.Families("networks with faults", family)
"""
POINTS = """[decathlon.networks]
narrow = stranger_networks:NARROW
wrong = stranger_networks:NONE
broken = stranger_broken_network:NETWORK
many = stranger_networks:FAMILIES
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with three networks, one of which works."""
    facts = tmp_path / "stranger-2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 2\n")
    (facts / "entry_points.txt").write_text(POINTS)
    (tmp_path / "stranger_networks.py").write_text(MODULE)
    (tmp_path / "stranger_broken_network.py").write_text("raise OSError('no such disk')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for cached in (registered, find):
        cached.cache_clear()
    yield
    sys.modules.pop("stranger_networks", None)
    for cached in (registered, find):
        cached.cache_clear()


def listed(*words: str) -> tuple[dict[str, list[str]], str]:
    """Runs ``decathlon networks``: (cells by name, all that it prints)."""
    done = CliRunner().invoke(app, ["networks", *words], env={"COLUMNS": "140"})
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines() if line.strip()]
    return {name: cells for name, *cells in lines}, done.output


def test_networks_are_listed() -> None:
    rows, text = listed()
    # Parameters: decathlon's documentation; 4.09 G: torchvision's page of ResNet50_Weights.
    assert rows["resnet50"][:5] == ["23.51", "M", "4.09", "3+4+6+3", "any"]
    assert rows["resnet26"][:2] == ["5.81", "M"]
    assert "timm:NAME works for all ResNets" in text


def test_networks_of_timm_are_listed() -> None:
    pytest.importorskip("timm")
    rows, _ = listed()
    assert rows["timm:resnet50"][:5] == ["23.51", "M", "4.09", "3+4+6+3", "224"]
    assert rows["timm:vit_tiny_patch16_224"][3:7] == ["3+3+3+3", "224", "px", "only"]
    rows, _ = listed("timm:resnet34")
    assert rows["timm:resnet34"][:4] == ["21.28", "M", "3.66", "3+4+6+3"]
    assert "resnet50" not in rows


@pytest.mark.usefixtures("stranger")
def test_a_broken_network_is_listed_with_its_reason() -> None:
    rows, text = listed()
    assert rows["narrow"][-2:] == ["stranger", "2"]
    assert rows["narrow"][:2] == ["5.81", "M"]
    assert rows["broken"] == ["-", "-", "-", "-", "stranger", "2"]
    assert "cannot be imported: no such disk" in text
    assert "is not a decathlon Family" in text


FAULTS = {
    "raises": "cannot be built: IndexError: list index out of range; tell the authors of stranger",
    "exits": "cannot be built: SystemExit: 7",
    "type": "its build returned a Linear, not a ResidualNetwork",
    "blocks": "its build returned macro blocks of [1, 2] residual blocks, not [1, 1]",
    "classes": "its build returned a head of 3 classes, not 1",
    "draws": "cannot be built: AttributeError",
    "no blocks": "cannot be found: ValueError: blocks=(): give the residual blocks",
    "fixed": "fixed_macros=3: it has 2 macro blocks",
    "std": "images are divided by it; give positive numbers",
    "crash": "cannot be found: RuntimeError: no such network",
}


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_strangers_network_is_one_message(fault: str) -> None:
    done = CliRunner().invoke(app, ["networks", f"many:{fault}"])
    assert isinstance(done.exception, UsageError)
    assert f"network 'many:{fault}'" in str(done.exception)
    assert FAULTS[fault] in str(done.exception)


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("names", "cannot be imported from files: KeyError: 'nothing'"),
        ("invents", "have to give each of its tensors once; they do not with b, head.bias"),
    ],
)
def test_faulty_names_of_a_strangers_tensors_are_one_message(fault: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        Architecture(f"many:{fault}").names_in_files()


def test_a_network_has_one_name() -> None:
    with pytest.raises(UsageError, match="'resnet26' is a single one: write resnet26, not"):
        find("resnet26:x")


def test_without_timm_its_row_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "decathlon.models.timm_networks", raising=False)
    find.cache_clear()
    rows, text = listed()
    assert rows["timm"][:4] == ["-"] * 4
    assert "pip install 'decathlon[timm]'" in text
    with pytest.raises(UsageError, match=r"timm is not installed; pip install 'decathlon\[timm\]'"):
        find("timm:resnet18")


def test_an_unknown_network_suggests_the_nearest() -> None:
    done = CliRunner().invoke(app, ["networks", "resnet5"])
    assert "did you mean 'resnet50'" in str(done.exception)
    with pytest.raises(UsageError, match="unknown network 'resnet5'"):
        find("resnet5")


@pytest.mark.parametrize("name", ["resnet26", "timm:test_resnet"])
def test_a_source_without_classes_is_damaged(name: str, tmp_path: Path) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    path = tmp_path / "source.safetensors"
    facts = {"architecture": Architecture(name).as_json(), "num_classes": 0}
    write_weights(path, {"kind": "source", **facts}, {})
    with pytest.raises(DataError, match=r"header is damaged \(it has 0 classes\)"):
        read_source(path)
