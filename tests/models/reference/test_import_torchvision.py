"""Files of torchvision's ResNets become source networks that compute the same, bit for bit."""

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import resnet50
from typer.testing import CliRunner

from decathlon import load_model
from decathlon.cli import app
from decathlon.common.errors import DataError, UsageError
from decathlon.models.networks import Architecture
from decathlon.models.reference import torchvision_names
from decathlon.models.reference.importing import import_weights
from decathlon.models.reference.torchvision_names import UNKNOWN, which
from decathlon.models.weights import read_source
from tests.models.torchvision_networks import images, torchvision_network

Tensors = dict[str, Tensor]


def save_today(state: Tensors, path: Path) -> None:
    torch.save(OrderedDict(state), path)


def save_before_zip(state: Tensors, path: Path) -> None:
    torch.save(OrderedDict(state), path, _use_new_zipfile_serialization=False)


def save_training(state: Tensors, path: Path) -> None:
    """As training scripts do: under a key, and from DataParallel."""
    torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}, "epoch": 3}, path)


def save_safetensors(state: Tensors, path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


SAVERS = {
    "a.pth": save_today,
    "b.pth": save_before_zip,
    "c.pth": save_training,
    "d.safetensors": save_safetensors,
}


@pytest.mark.parametrize("name", SAVERS)
def test_logits_are_torchvisions_bit_for_bit(name: str, tmp_path: Path) -> None:
    theirs = torchvision_network(num_classes=13)
    SAVERS[name](theirs.state_dict(), tmp_path / name)
    summary = import_weights(tmp_path / name, tmp_path / "out.safetensors")
    assert (summary.structure, summary.width, summary.blocks) == ("resnet50", 0.125, (3, 4, 6, 3))
    assert summary.num_classes == 13
    source = read_source(tmp_path / "out.safetensors")
    assert source.architecture == Architecture("resnet50", 0.125)
    x = images(3, 64)
    with torch.no_grad():
        assert torch.equal(source.network().eval()(x), theirs(x))
        assert torch.equal(load_model(tmp_path / "out.safetensors")(x), theirs(x))


def test_the_whole_resnet50_at_224_pixels(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = resnet50().train()
    with torch.no_grad():
        theirs(images(2, 64))  # moves the statistics
    torch.save(theirs.eval().state_dict(), tmp_path / "in.pth")
    import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors")
    ours = read_source(tmp_path / "out.safetensors").network().eval()
    with torch.no_grad():
        assert torch.equal(ours(images(2, 224)), theirs(images(2, 224)))


def test_resnet101_is_told_from_resnet50(tmp_path: Path) -> None:
    theirs = torchvision_network(0.0625, (3, 4, 23, 3))
    torch.save(theirs.state_dict(), tmp_path / "in.pth")
    assert (
        import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors").structure == "resnet101"
    )
    ours = read_source(tmp_path / "out.safetensors").network().eval()
    assert torch.equal(ours(images(2, 64)), theirs(images(2, 64)))


def test_files_without_step_counters_are_read(tmp_path: Path) -> None:
    """Those from before torch 0.4.1, such as resnet50-19c8e357.pth, have none."""
    state = torchvision_network().state_dict()
    old = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    save_before_zip(old, tmp_path / "in.pth")
    import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors")
    found = read_source(tmp_path / "out.safetensors").network().state_dict()
    assert found["stem.bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("sha256", "name"),
    [
        ("0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a", "ResNet50.*V1$"),
        ("63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a", "ResNet101.*V1$"),
        ("19c8e357" + "0" * 56, r"ResNet50.*V1 \(older file\)"),
        ("5d3b4d8f" + "0" * 56, r"ResNet101.*V1 \(older file\)"),
        ("11ad3fa6" + "0" * 56, "ResNet50.*V2$"),
        ("cd907fc2" + "0" * 56, "ResNet101.*V2$"),
        ("0676ba61" + "0" * 56, "^unknown"),
    ],
)
def test_published_weights_are_known_by_their_digest(sha256: str, name: str) -> None:
    (found,) = which(Path("weights.pth"), sha256)
    assert re.search(name, found)


def test_the_command_says_which_weights_they_are_and_runs_once(tmp_path: Path) -> None:
    given, out = tmp_path / "resnet50-0676ba61.pth", tmp_path / "out.safetensors"
    torch.save(torchvision_network().state_dict(), given)

    def command() -> str:
        done = CliRunner().invoke(app, ["import-weights", str(given), str(out)])
        assert done.exit_code == 0, done.output
        return done.output

    said = command()
    assert "resnet50 network of width 0.125, 3+4+6+3 residual blocks, 7 classes" in said
    assert f"weights: {UNKNOWN}" in said
    assert "begins with 0676ba61" in said
    header = read_source(out).header
    assert header is not None
    assert header["imported"]["weights"] == UNKNOWN
    assert len(header["imported"]["sha256"]) == 64
    assert "holds these weights already" in command()


def test_a_known_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torchvision_network().state_dict(), tmp_path / "in.pth")
    known = torchvision_names.Published("the published one", "")
    monkeypatch.setattr(torchvision_names, "PUBLISHED", (known,))
    summary = import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert summary.messages == ("weights: the published one",)


def test_a_download_that_was_cut_short_is_said(tmp_path: Path) -> None:
    path = tmp_path / "resnet50-0676ba61.pth"
    torch.save(torchvision_network().state_dict(), path)
    os.truncate(path, 300_000)
    with pytest.raises(DataError, match=r"cut short: it has 300000 of 102530333 bytes; download"):
        import_weights(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def renamed(old: str, new: str) -> Callable[[Tensors], None]:
    return lambda state: state.update({new: state.pop(old)})


def changed(name: str, value: Any) -> Callable[[Tensors], None]:
    return lambda state: state.update({name: value})


CHANGES: dict[str, tuple[Callable[[Tensors], Any], str]] = {
    "lacks one": (lambda state: state.pop("layer2.1.bn3.bias"), r"lacks .*layer2\.1\.bn3\.bias"),
    "no head": (lambda state: state.pop("fc.weight"), r"no layer 'fc'"),
    "one more": (changed("extra.weight", torch.zeros(3)), r"'extra\.weight', which is in none"),
    "unknown layer": (
        changed("layer1.1.downsample.0.weight", torch.zeros(3)),
        r"'layer1\.1\.downsample\.0\.weight', which is in none",
    ),
    "wide": (changed("layer1.0.conv2.weight", torch.zeros(16, 16, 3, 3)), "conv2.weight' of shape"),
    "renamed": (renamed("layer3.2.conv1.weight", "layer3.2.conv4.weight"), "lacks .*conv1"),
    "a block left out": (
        lambda state: [state.pop(n) for n in list(state) if n.startswith("layer3.2.")],
        "lacks a residual block before number 3.3",
    ),
    "not a number": (changed("bn1.weight", torch.full((8,), torch.nan)), "NaN or infinite"),
    "negative": (changed("bn1.running_var", torch.full((8,), -1.0)), "negative value -1"),
    "integers": (changed("bn1.bias", torch.zeros(8, dtype=torch.int64)), "of type torch.int64"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("change", CHANGES)
def test_other_networks_are_refused(change: str, suffix: str, tmp_path: Path) -> None:
    state, (apply, words) = dict(torchvision_network().state_dict()), CHANGES[change]
    apply(state)
    path = tmp_path / f"in{suffix}"
    (save_today if suffix == ".pth" else save_safetensors)(state, path)
    with pytest.raises(DataError, match=words) as error:
        import_weights(path, tmp_path / "out.safetensors")
    assert str(error.value).startswith(f"{path}: ")
    assert not (tmp_path / "out.safetensors").exists()


def test_basic_blocks_are_refused(tmp_path: Path) -> None:
    network = torchvision_network(blocks=(2, 2, 2, 2), basic=True)
    torch.save(network.state_dict(), tmp_path / "in.pth")
    with pytest.raises(DataError, match="ResNet-18"):
        import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors")


def test_a_file_of_ours_is_not_imported_again(tmp_path: Path) -> None:
    torch.save(torchvision_network().state_dict(), tmp_path / "in.pth")
    import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors")
    with pytest.raises(DataError, match="of decathlon already"):
        import_weights(tmp_path / "out.safetensors", tmp_path / "again.safetensors")


def test_there_is_one_task(tmp_path: Path) -> None:
    torch.save(torchvision_network().state_dict(), tmp_path / "in.pth")
    with pytest.raises(UsageError, match="one task, 0, not 1"):
        import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors", task=1)
