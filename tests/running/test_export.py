"""Exported networks give the logits of the trial's network, without decathlon."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from decathlon import load_model
from decathlon.cli import app
from decathlon.common.errors import DataError
from decathlon.data.reading.application import Application
from decathlon.method.base import Task
from decathlon.method.registry import find
from decathlon.method.stored import open_trained, save_trained
from decathlon.models.networks import Architecture
from decathlon.models.weights import read_source, write_source
from decathlon.running.export import export

TASK = Task("dtd", 3, 100)
APPLICATION = Application(
    classes=("a", "b", "c"), side=72, crop=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    architecture = Architecture(width=0.1)
    path = tmp_path / "source.safetensors"
    write_source(path, architecture.build(4), architecture, {})
    return path


def saved(source: Path, name: str) -> Path:
    """The weights of a method whose two paths differ and whose policy decides by the image."""
    base, method = read_source(source), find(name)()
    network = method.finalise(method.build(base, [TASK]))
    for key, parameter in network.named_parameters():
        if ".tuned." in key:
            parameter.data.mul_(1.1)
    if name == "spottune":
        policy_head = network.get_submodule("policy.head")
        assert isinstance(policy_head, nn.Linear)
        policy_head.weight.data.mul_(30)
    path = source.with_name(f"{name}.safetensors")
    save_trained(path, method, network, base, [TASK], application=APPLICATION)
    return path


def invoke(weights: Path, source: Path, form: str, out: Path) -> None:
    words = ["export", weights, "--source", source, "--format", form, "--out", out]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    assert str(out) in done.stdout


def test_a_routed_network_becomes_an_onnx_file(source: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    weights, out = saved(source, "spottune"), tmp_path / "network.onnx"
    invoke(weights, source, "onnx", out)
    session, network = onnxruntime.InferenceSession(out), load_model(weights, source)
    images = torch.randn(5, 3, 64, 64)
    assert 0 < network.decide(images).mean() < 1
    with torch.no_grad():
        wanted = network(images)
    (found,) = session.run(["logits"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-4)
    facts = json.loads(session.get_modelmeta().custom_metadata_map["decathlon"])
    assert facts == json.loads(APPLICATION.model_dump_json(exclude_defaults=True))


@pytest.mark.parametrize("name", ["spottune", "spottune-all-tuned", "piggyback"])
def test_networks_become_programs(source: Path, tmp_path: Path, name: str) -> None:
    weights, out = saved(source, name), tmp_path / "network.pt2"
    invoke(weights, source, "torch", out)
    facts = {"decathlon.json": ""}
    program = torch.export.load(out, extra_files=facts).module()
    images = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        wanted = load_model(weights, source)(images)
        torch.testing.assert_close(program(images), wanted, rtol=0, atol=1e-4)
    assert json.loads(facts["decathlon.json"])["classes"] == ["a", "b", "c"]


def test_decisions_drawn_by_an_id_are_refused(source: Path, tmp_path: Path) -> None:
    trained = open_trained(saved(source, "random-policy"), source)
    with pytest.raises(DataError, match="drawn by its id"):
        export(trained, APPLICATION, "torch", tmp_path / "network.pt2")
    assert not (tmp_path / "network.pt2").exists()


def test_a_missing_extra_is_one_message(source: Path, tmp_path: Path) -> None:
    weights, out = saved(source, "fine-tuning"), tmp_path / "network.onnx"
    (tmp_path / "onnxscript.py").write_text("raise ImportError('not there')\n")
    command = [sys.executable, "-m", "decathlon", "export", weights, "--format", "onnx"]
    done = subprocess.run(
        [*command, "--out", out],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, out.exists()) == (2, False)
    assert done.stderr.startswith("decathlon: --format onnx needs")
    assert "pip install 'decathlon[onnx]'" in done.stderr
