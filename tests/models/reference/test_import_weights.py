"""Imported networks compute what the authors' compute."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from typer.testing import CliRunner

from decathlon import load_model
from decathlon.cli import app
from decathlon.common.errors import DataError, UsageError
from decathlon.models.reference.importing import import_weights
from decathlon.models.weights import read_source, write_weights
from tests.models.reference import import_oracle as oracle
from tests.models.reference.import_forge import Forge, authors, save_2018

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
LABELS = torch.tensor([0, 5, 7, 19])
TOLERANCE = 1e-4

# torch says so where it keeps the classes' source texts, which these classes have not.
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"no reference checkpoints in {REFERENCE}"
)


@pytest.fixture
def forge() -> Iterator[Forge]:
    with authors() as classes:
        yield Forge(classes)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def assert_near(found: Tensor, wanted: Any) -> None:
    difference = (found.detach() - torch.as_tensor(np.asarray(wanted))).abs().max().item()
    assert difference <= TOLERANCE


@needs_reference
@pytest.mark.parametrize("name", ["ra_bn_w025", "ra_parallel_adapters_w025"])
def test_reference_residual_networks(name: str, tmp_path: Path) -> None:
    wanted = np.load(REFERENCE / f"{name}.npz")
    import_weights(REFERENCE / f"{name}.t7", tmp_path / "out.safetensors")
    model, x = load_model(tmp_path / "out.safetensors"), torch.from_numpy(wanted["x"])
    assert_near(model(x), wanted["logits_eval"])
    logits = model.train()(x)
    assert_near(logits, wanted["logits_train"])
    assert_near(cross_entropy(logits, LABELS), wanted["loss"])


@needs_reference
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")  # said by mkldnn.flags
def test_reference_spottune(tmp_path: Path) -> None:
    wanted = np.load(REFERENCE / "spottune_w025.npz")
    import_weights(REFERENCE / "spottune_w025.t7", tmp_path / "out.safetensors")
    model, x = load_model(tmp_path / "out.safetensors"), torch.from_numpy(wanted["x"])
    policy = torch.from_numpy(wanted["policy"]).requires_grad_()
    assert_near(model(x, policy=policy), wanted["logits_eval"])
    assert_near(model(x, policy=torch.zeros_like(policy)), wanted["logits_eval_all_frozen"])
    assert_near(model(x, policy=torch.ones_like(policy)), wanted["logits_eval_all_tuned"])
    beta = model.policy_logits(x)
    assert beta.shape == (6, 12, 2)
    assert_near(beta.flatten(1), wanted["policy_logits_eval"])
    labels, off = torch.from_numpy(wanted["labels"]), []
    # One activation is so near to 0 that the order of summation, which is the processor's
    # and the convolution library's, decides whether its gradient passes: in float64 the
    # policy's gradient is 4e-4 off too. One of two libraries has to agree throughout.
    for onednn in (True, False):
        model.load_state_dict(load_model(tmp_path / "out.safetensors").state_dict())
        policy.grad = None
        with torch.backends.mkldnn.flags(enabled=onednn):
            logits = model.train()(x, policy=policy)
            loss = cross_entropy(logits, labels)
            loss.backward()
        assert_near(logits, wanted["logits_train"])
        assert_near(loss, wanted["loss"])
        assert policy.grad is not None
        off.append((policy.grad - torch.from_numpy(wanted["policy_grad"])).abs().max().item())
    assert min(off) <= TOLERANCE
    assert max(off) <= 1e-3


def save_today(value: Any, path: Path) -> None:
    torch.save(value, path)


def save_before_zip(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_wrapped(value: Any, path: Path) -> None:
    save_2018(
        {k: nn.DataParallel(v) if isinstance(v, nn.Module) else v for k, v in value.items()}, path
    )


def save_state_dicts(value: Any, path: Path) -> None:
    torch.save(
        {k: v.state_dict() if isinstance(v, nn.Module) else v for k, v in value.items()}, path
    )


def save_0_4(value: Any, path: Path) -> None:
    save_2018(value, path, cuda=False, old_parameters=False)


SAVERS = [save_today, save_before_zip, save_wrapped, save_state_dicts, save_0_4]


def check(
    network: nn.Module,
    images: Tensor,
    tmp_path: Path,
    save: Callable[[Any, Path], None] = save_before_zip,
    task: int = 0,
) -> Any:
    """Saves, imports and compares a residual network; returns the summary."""
    save({"net": network, "acc": np.float64(75.25), "epoch": 3}, tmp_path / "in.t7")
    summary = import_weights(tmp_path / "in.t7", tmp_path / "out.safetensors", task)
    model, state = load_model(tmp_path / "out.safetensors"), network.state_dict()
    assert_near(model(images), oracle.residual(state, images, False, task))
    assert_near(model.train()(images), oracle.residual(state, images, True, task))
    return summary


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("mode", ["bn", "series", "parallel"])
def test_residual_networks_of_every_format(
    mode: str, save: Callable[[Any, Path], None], forge: Forge, images: Tensor, tmp_path: Path
) -> None:
    network = forge.residual_adapters(mode, channels=4, classes=(5,), blocks=(2, 1, 1))
    summary = check(network, images, tmp_path, save)
    assert summary.structure == {"bn": "plain"}.get(mode, mode)
    assert (summary.width, summary.blocks) == (0.125, (2, 1, 1))
    assert (summary.num_classes, summary.num_tasks, summary.messages) == (5, 1, ())


@pytest.mark.parametrize("size", [(64, 64), (72, 72), (144, 72)])
def test_images_of_other_sizes(size: tuple[int, int], forge: Forge, tmp_path: Path) -> None:
    network = forge.residual_adapters("series", channels=12, classes=(2,), blocks=(2, 1, 1))
    check(network, torch.randn(2, 3, *size), tmp_path)


@pytest.mark.parametrize("task", [0, 1, 2])
@pytest.mark.parametrize("mode", ["bn", "series", "parallel"])
def test_one_of_several_domains(
    mode: str, task: int, forge: Forge, images: Tensor, tmp_path: Path
) -> None:
    network = forge.residual_adapters(mode, 4, classes=(3, 7, 2), blocks=(1, 2, 1))
    summary = check(network, images, tmp_path, task=task)
    assert (summary.num_tasks, summary.num_classes) == (3, (3, 7, 2)[task])
    assert "3 domains" in summary.messages[0]
    assert str(summary).endswith(f"classes, {summary.num_values:,} values\n{summary.messages[0]}")


@pytest.mark.parametrize("mode", ["series", "parallel"])
@pytest.mark.parametrize("proj", ["10", "01"])
def test_adapters_at_half_of_the_convolutions(
    mode: str, proj: str, forge: Forge, images: Tensor, tmp_path: Path
) -> None:
    network = forge.residual_adapters(mode, 4, proj=proj, blocks=(2, 1, 1))
    summary = check(network, images, tmp_path)
    assert "4 convolutions have no adapter" in summary.messages[0]


@pytest.mark.parametrize("save", SAVERS)
def test_spottune_of_every_format(
    save: Callable[[Any, Path], None], forge: Forge, images: Tensor, tmp_path: Path
) -> None:
    net = forge.routed("spottune_models", 4, 5, (2, 1, 2))
    agent = forge.routed("agent_net", 8, 10, (1, 1, 1), seed=1)
    save({"net": net, "agent": agent}, tmp_path / "in.t7")
    summary = import_weights(tmp_path / "in.t7", tmp_path / "out.safetensors")
    assert (summary.structure, summary.blocks) == ("spottune", (2, 1, 2))
    model = load_model(tmp_path / "out.safetensors")
    state = net.state_dict()
    policy = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [1] * 5, [0] * 5]).float()
    assert_near(model(images, policy=policy), oracle.routed(state, images, policy, False))
    beta = oracle.routed(agent.state_dict(), images, None, False)
    assert_near(model.policy_logits(images), beta.view(4, 5, 2))
    ours, theirs = policy.clone().requires_grad_(), policy.clone().requires_grad_()
    model.train()(images, policy=ours).square().sum().backward()
    oracle.routed(state, images, theirs, True).square().sum().backward()
    assert theirs.grad is not None
    assert theirs.grad.abs().max() > 0.01
    assert_near(ours.grad, theirs.grad)


def test_what_is_trainable_in_an_imported_spottune(forge: Forge, tmp_path: Path) -> None:
    net = forge.routed("spottune_models", 4, 5, (1, 1, 1))
    torch.save({"net": net, "agent": forge.routed("agent_net", 4, 6, (1, 1, 1))}, tmp_path / "a")
    import_weights(tmp_path / "a", tmp_path / "out.safetensors")
    model = load_model(tmp_path / "out.safetensors")
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert len(fixed) == 6
    assert all(".frozen.conv" in name for name in fixed)


def test_an_imported_network_is_a_source(forge: Forge, tmp_path: Path) -> None:
    torch.save({"net": forge.residual_adapters("series", 4, classes=(6,))}, tmp_path / "in.t7")
    import_weights(tmp_path / "in.t7", tmp_path / "out.safetensors")
    source = read_source(tmp_path / "out.safetensors")
    assert (source.num_classes, source.architecture.adapters) == (6, "series")
    assert source.header is not None
    assert source.header["imported"]["file"] == "in.t7"


def test_equal_checkpoints_become_equal_files(forge: Forge, tmp_path: Path) -> None:
    torch.save({"net": forge.residual_adapters("bn", 2)}, tmp_path / "in.t7")
    for name in ("a", "b"):
        import_weights(tmp_path / "in.t7", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def cripple(network: nn.Module) -> dict[str, Callable[[], None]]:
    """Changes that make another network of it, by what the message must say."""

    def attribute(layer: str, name: str, value: Any) -> Callable[[], None]:
        return lambda: setattr(network.get_submodule(layer), name, value)

    def delete(name: str) -> Callable[[], None]:
        return lambda: network.get_submodule(name.rpartition(".")[0])._modules.pop(
            name.rpartition(".")[2]
        )

    return {
        "'layer1.0.conv1.bns.0' with eps 0.001": attribute("layer1.0.conv1.bns.0", "eps", 1e-3),
        "with stride a tuple": attribute("layer2.0.conv1.conv", "stride", (1, 1)),
        "'extra.weight', which is in none": lambda: network.add_module("extra", nn.Linear(2, 2)),
        "lacks the tensor that is called tail.bn": delete("end_bns.0"),
        "no layer 'linears.0'": delete("linears"),
        "lacks a residual block": delete("layer1.0"),
        "'layer3.0.conv2.1.conv.weight' of shape [3, 3, 3, 3]": lambda: network.get_submodule(
            "layer3.0.conv2.1"
        ).add_module("conv", nn.Conv2d(3, 3, 3, bias=False)),
    }


WORDS = list(cripple(nn.Module()))


@pytest.mark.parametrize("words", WORDS)
def test_other_networks_are_refused(words: str, forge: Forge, tmp_path: Path) -> None:
    network = forge.residual_adapters("bn", 2, blocks=(2, 1, 1))
    cripple(network)[words]()
    torch.save({"net": network}, tmp_path / "in.t7")
    with pytest.raises(DataError) as error:
        import_weights(tmp_path / "in.t7", tmp_path / "out.safetensors")
    assert str(tmp_path / "in.t7") in str(error.value)
    assert words in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_checkpoints_of_something_else_are_refused(forge: Forge, tmp_path: Path) -> None:
    ring = forge.residual_adapters("bn", 2, blocks=(1, 1, 1))
    ring.get_submodule("layer1")._modules["again"] = ring
    routed = forge.routed("spottune_models", 2, 5, (1, 1, 1))
    for value, words in (
        ({"acc": 3}, "holds no network"),
        ([1, 2], "holds no network"),
        ({"net": 3}, "where a network"),
        ({"net": {"a": torch.zeros(3)}}, "no layer 'pre_layers_conv.conv'"),
        ({"net": nn.Sequential(nn.Conv2d(1, 1, 1))}, "no layer 'pre_layers_conv.conv'"),
        ({"net": ring}, "nested without end"),
        ({"net": routed}, "without its policy"),
        ({"net": routed, "agent": forge.routed("agent_net", 2, 8, (1, 1, 1))}, "of shape [8"),
    ):
        torch.save(value, tmp_path / "in.t7")
        with pytest.raises(DataError, match=words.replace("[", r"\[")):
            import_weights(tmp_path / "in.t7", tmp_path / "out.safetensors")


def test_a_task_that_is_not_there(forge: Forge, tmp_path: Path) -> None:
    torch.save({"net": forge.residual_adapters("bn", 2, classes=(2, 3))}, tmp_path / "in.t7")
    with pytest.raises(UsageError, match="tasks 0 to 1, not 2"):
        import_weights(tmp_path / "in.t7", tmp_path / "out.safetensors", task=2)


def test_the_checkpoint_itself_is_not_overwritten(forge: Forge, tmp_path: Path) -> None:
    torch.save({"net": forge.residual_adapters("bn", 2)}, tmp_path / "in.t7")
    before = (tmp_path / "in.t7").read_bytes()
    with pytest.raises(UsageError, match="name another file"):
        import_weights(tmp_path / "in.t7", tmp_path / "in.t7")
    assert (tmp_path / "in.t7").read_bytes() == before


@needs_reference
def test_the_command_overwrites_other_files_with_force_only(tmp_path: Path) -> None:
    checkpoint = str(REFERENCE / "ra_bn_w025.t7")
    out, other = tmp_path / "out.safetensors", tmp_path / "other.safetensors"

    def command(*words: str) -> Any:
        return CliRunner().invoke(app, ["import-weights", checkpoint, *words])

    assert command(str(out)).exit_code == 0
    before = out.stat().st_mtime_ns
    assert "holds these weights already" in command(str(out)).output
    assert out.stat().st_mtime_ns == before
    other.write_text("notes of mine")
    refused = command(str(other)).exception
    assert isinstance(refused, UsageError)
    assert "exists already" in str(refused)
    assert other.read_text() == "notes of mine"
    write_weights(other, {"kind": "source", "imported": {"sha256": "0" * 64, "task": 0}}, {})
    assert "another checkpoint" in str(command(str(other)).exception)
    assert command(str(other), "--force").exit_code == 0
    assert other.read_bytes() == out.read_bytes()
