"""Networks of images of their own: normalised as they expect, or refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.models.networks import Architecture, find
from decathlon.models.reference.importing import import_weights
from decathlon.running.config import RunConfig
from decathlon.running.resolve import resolve
from decathlon.running.trial import feed_of
from decathlon.training.device import Compute

timm = pytest.importorskip("timm")


def source_of(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    save_file(timm.create_model(name, num_classes=2).state_dict(), folder / "in.safetensors")
    out = folder / f"{name}.safetensors"
    import_weights(folder / "in.safetensors", out, network=f"timm:{name}")
    return out


@pytest.mark.parametrize("training", [True, False])
def test_images_are_normalised_as_the_network_expects(
    training: bool, tiny: Path, tiny_source: Path, tmp_path: Path
) -> None:
    lite = source_of("tf_efficientnet_lite0", tmp_path)
    shown = []
    for source in (tiny_source, lite):
        config = RunConfig(
            ("fine-tuning",),
            tiny,
            tmp_path / "results",
            sources=(str(source),),
            domains=("dtd",),
            split="val",
            compute=Compute("cpu", "32"),
        )
        (run,) = resolve(config)
        (trial,) = run.trials()
        feed = feed_of(run, trial, "dtd", config.compute.fabric(), training, size=4)
        batches = feed.training(0, float) if training else feed.evaluation(4)
        batch = next(iter(batches))
        shown.append(batch.images if training else batch[1].images)
        info, made_for = run.store.domains["dtd"], run.source.architecture.family.input
    assert made_for == find("timm:tf_efficientnet_lite0").input
    assert made_for is not None
    assert info.mean != made_for.mean
    pixels = [
        images * torch.tensor(s.std).view(3, 1, 1) + torch.tensor(s.mean).view(3, 1, 1)
        for images, s in zip(shown, (info, made_for), strict=True)
    ]
    assert pixels[0].std() > 0.05
    assert torch.allclose(*pixels, atol=1e-5)


@pytest.mark.parametrize(
    "command", ["run --method fine-tuning", "run --method fine-tuning --dry-run", "probe"]
)
def test_images_of_another_size_are_refused(command: str, tiny: Path, tmp_path: Path) -> None:
    source = source_of("vit_tiny_patch16_224", tmp_path)
    words = [*command.split(), "--source", source, "--data", tiny, "--domain", "dtd"]
    words += ["--results", tmp_path / "results", "--device", "cpu"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert getattr(done.exception, "exit_code", None) == 2, done.output
    text = str(done.exception)
    assert "timm:vit_tiny_patch16_224 takes images of 224 x 224 pixels only" in text
    assert "dtd are cut to 64 x 64 in the suite 'visual-decathlon'" in text
    assert not (tmp_path / "results").exists()


def test_built_in_networks_take_any_images() -> None:
    for name in ("resnet26", "resnet50", "resnet101", "resnet10"):
        assert Architecture(name).family.input is None
