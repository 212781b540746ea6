"""The methods on networks of timm: convolutional and transformers, with and without batch norms."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import UsageError
from decathlon.method.base import Batch, Method, Task
from decathlon.method.recipe import apply, from_json
from decathlon.method.registry import find
from decathlon.method.stored import keep_source, load_trained, save_trained
from decathlon.models.layers import batch_norms
from decathlon.models.networks import Architecture
from decathlon.models.residual import Block
from decathlon.models.weights import Source
from decathlon.suites.registry import find as find_suite
from decathlon.testing import OneBatch, check_method, made_up_source, side_of
from decathlon.training.checkpoints import Checkpoints
from decathlon.training.device import Compute, to_device
from decathlon.training.loop import train

pytest.importorskip("timm")
from decathlon_methods.spottune.routed_block import RoutedBlock
from decathlon_methods.spottune.routing import RoutedNetwork

TASK = Task("cubs", 4, 100)
SUITE = find_suite("fine-grained")
ROUTED = {
    "timm:resnet18": 8,
    "timm:mobilenetv3_small_050": 8,  # of 11: its first two stages are left to the source
    "timm:vit_tiny_patch16_224": 12,
    "timm:convnext_atto": 12,
}
NORMALISED = ("timm:resnet18", "timm:mobilenetv3_small_050")
ROUTING = ("spottune", "spottune-all-tuned", "random-policy", "spottune-global-k")
EVERYWHERE = (
    "scratch", "feature-extractor", "fine-tuning", "stochastic-fine-tuning", "last-k", "last-2",
    "last-1", "l2-sp", "lp-ft", "bitfit", "surgical", "lwf", "random-policy", "spottune",
    "spottune-global-k",
)  # fmt: skip
TAKEN = {
    "timm:resnet18": ("bn-adapt", "dan", "parallel-adapters", "piggyback", "progressive-nets"),
    "timm:mobilenetv3_small_050": ("bn-adapt", "piggyback", "progressive-nets"),
    "timm:vit_tiny_patch16_224": (),
    "timm:convnext_atto": ("piggyback", "progressive-nets"),
}
REFUSED = {
    ("bn-adapt", "timm:vit_tiny_patch16_224"): "has no batch normalisation",
    ("bn-adapt", "timm:convnext_atto"): "has no batch normalisation",
    ("dan", "timm:mobilenetv3_small_050"): "see different groups of channels",
    ("dan", "timm:vit_tiny_patch16_224"): "hold 147,456 of its 5,524,416 parameters",
    ("dan", "timm:tf_efficientnet_lite0"): "are of the kind Conv2dSame",
    ("piggyback", "timm:vit_tiny_patch16_224"): "the others would stay as they are",
    ("piggyback", "timm:tf_efficientnet_lite0"): "are of the kind Conv2dSame",
    ("progressive-nets", "timm:vit_tiny_patch16_224"): "return tokens",
    ("parallel-adapters", "timm:mobilenetv3_small_050"): "stand at 3x3 convolutions",
    ("parallel-adapters", "timm:vit_tiny_patch16_224"): "stand at 3x3 convolutions",
    ("scratch-plus", "timm:convnext_atto"): "stand at 3x3 convolutions",
    ("series-adapters", "timm:vit_tiny_patch16_224"): "stand at 3x3 convolutions",
    ("series-adapters", "timm:resnet18"): "is not pretrained with series adapters",
}


@pytest.fixture(scope="module")
def source_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    """A source network of a name, with random weights."""

    @cache
    def made(name: str) -> Source:
        return made_up_source(tmp_path_factory.mktemp("source"), Architecture(name))

    return made


def stream_of(name: str, steps: int) -> OneBatch:
    """A stream of few images, of the side that the network needs."""
    stream = OneBatch(TASK, steps, side_of(Architecture(name)))
    batch = stream.batch
    count = 4 if len(batch.images[0, 0]) > 64 else 8
    images = batch.images[:count].contiguous(memory_format=torch.channels_last)
    stream.batch = replace(batch, images=images, labels=batch.labels[:count], ids=batch.ids[:count])
    return stream


def method(name: str, **settings: object) -> Method:
    kind = find(name)
    return kind(apply(kind.recipes, {"epochs": 1, **settings}, name, SUITE))


def built(one: Method, source: Source) -> nn.Module:
    torch.manual_seed(0)
    return one.build(source, [TASK])


def trained(one: Method, network: nn.Module, stream: OneBatch) -> nn.Module:
    return train(one, network, [stream], Compute("cpu", "32").fabric(), 0, lambda facts: None)


def predicted(one: Method, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
    with torch.inference_mode():
        return one.predict(network.eval(), batch)


QUICK = {"fine-tuning", "spottune"}
"""Methods that are tried with the larger networks on every run of the tests."""
LARGE = ("timm:resnet18", "timm:vit_tiny_patch16_224")
CASES = [
    pytest.param(name, network, marks=pytest.mark.slow if slow else [])
    for network in ROUTED
    for name in (*EVERYWHERE, *TAKEN[network])
    for slow in [network in LARGE and name not in QUICK]
]


@pytest.mark.parametrize(("name", "network"), CASES)
def test_methods_train_and_store_what_they_trained(
    name: str, network: str, source_of: Callable[[str], Source], tmp_path: Path
) -> None:
    source, stream, one = source_of(network), stream_of(network, 2), method(name)
    assert find(name).refusal(source) == ""
    start = built(one, source)
    before = {n.removeprefix("student."): t.clone() for n, t in start.state_dict().items()}
    final = trained(one, start, stream)  # stops if a loss is not finite
    of_source = source.network().state_dict()
    listed = one.stored(final)
    for stored in listed:
        if stored.place == "shared":
            origin = of_source.get(stored.name, before.get(stored.name))
            assert origin is not None
            assert torch.equal(origin, stored.tensor), stored.name
    own = [s for s in listed if s.place != "shared" and s.name in before]
    assert any(not torch.equal(s.tensor, before[s.name]) for s in own)
    logits, routing = predicted(one, final, stream.batch)
    assert logits.shape == (len(stream.batch.images), 4)
    if name in ROUTING:
        assert routing is not None
        assert routing.shape == (len(logits), ROUTED[network])
    else:
        assert routing is None
    keep_source(source, tmp_path)
    path = tmp_path / "run" / "weights.safetensors"
    save_trained(path, one, final, source, [TASK])
    loaded = load_trained(path, type(one))
    to_device(loaded, torch.device("cpu"))
    assert torch.equal(predicted(one, loaded, stream.batch)[0], logits)


@pytest.mark.parametrize("network", ["timm:resnet18", "timm:vit_tiny_patch16_224"])
def test_all_tuned_takes_spottunes_network(
    network: str, source_of: Callable[[str], Source]
) -> None:
    one, stream = method("spottune-all-tuned"), stream_of(network, 1)
    logits, routing = predicted(one, built(one, source_of(network)), stream.batch)
    assert routing is not None
    assert bool(routing.all())
    assert routing.shape == (len(logits), ROUTED[network])


def frozen_features(network: RoutedNetwork, images: Tensor) -> Tensor:
    """What stem and blocks make of images on the frozen paths."""
    x: Tensor = network.stem(images)
    for macro in network.macros:
        for block in macro.children():
            x = block.plain(tuned=False)(x) if isinstance(block, RoutedBlock) else block(x)
    return x


@pytest.mark.parametrize("network", ROUTED)
def test_the_frozen_path_is_the_source_bit_by_bit_after_training(
    network: str, source_of: Callable[[str], Source]
) -> None:
    source, stream, one = source_of(network), stream_of(network, 1), method("spottune")
    final = trained(one, built(one, source), stream)
    assert isinstance(final, RoutedNetwork)
    plain = source.network()
    to_device(plain, torch.device("cpu"))
    plain.eval()
    x = plain.stem(stream.batch.images)
    for macro in plain.macros:
        x = macro(x)
    for mode in (False, True):
        found = frozen_features(final.train(mode), stream.batch.images)
        assert torch.equal(found, x)
    torch.testing.assert_close(frozen_features(final, stream.batch.images[:1]), x[:1])
    tuned = [m for m in final.modules() if isinstance(m, RoutedBlock)]
    pairs = [
        (a, b)
        for block in tuned
        for a, b in zip(block.frozen.parameters(), block.tuned.parameters(), strict=True)
    ]
    assert any(not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "network",
    ["timm:resnet18", pytest.param("timm:vit_tiny_patch16_224", marks=pytest.mark.slow)],
)
def test_losses_fall(network: str, source_of: Callable[[str], Source]) -> None:
    stream, losses = stream_of(network, 12), []
    one = method("spottune", lr=0.005, head_lr=0.01)
    final = built(one, source_of(network))

    def loss() -> float:
        with torch.no_grad():
            return float(one.loss(final.train(), stream.batch))

    losses = [loss()]
    final = trained(one, final, stream)
    losses.append(loss())
    assert losses[1] < 0.7 * losses[0]


def test_a_transformer_that_resumes_ends_with_the_same_bits(
    source_of: Callable[[str], Source], tmp_path: Path
) -> None:
    network, fabric = "timm:vit_tiny_patch16_224", Compute("cpu", "32").fabric()
    source, one, streams = source_of(network), method("spottune"), [stream_of(network, 3)]

    def report(facts: object) -> None:
        pass

    kept = Checkpoints(tmp_path, {}, 3600, 2)
    whole = train(one, built(one, source), streams, fabric, 0, report, kept).state_dict()
    resume = kept.latest()
    assert resume is not None
    assert resume.step == 2
    again = train(one, built(one, source), streams, fabric, 0, report, None, resume).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("network", NORMALISED)
def test_bn_source_keeps_statistics_that_other_libraries_layers_normalise_by(
    network: str, source_of: Callable[[str], Source]
) -> None:
    source, stream = source_of(network), stream_of(network, 3)
    for bn in ("source", "batch"):
        one = method("fine-tuning", bn=bn)
        final = trained(one, built(one, source), stream)
        start = source.network()
        pairs = zip(batch_norms(start), batch_norms(final), strict=True)
        same = [
            torch.equal(getattr(a, name), getattr(b, name))
            for a, b in pairs
            for name in ("running_mean", "running_var", "num_batches_tracked")
        ]
        assert all(same) if bn == "source" else not any(same)


@pytest.mark.parametrize("network", ["timm:vit_tiny_patch16_224", "timm:convnext_atto"])
def test_bn_changes_nothing_where_there_is_none(
    network: str, source_of: Callable[[str], Source]
) -> None:
    finals = []
    for bn in ("source", "batch"):
        one = method("fine-tuning", bn=bn)
        start = built(one, source_of(network))
        finals.append(trained(one, start, stream_of(network, 1)).state_dict())
    assert all(torch.equal(finals[0][name], tensor) for name, tensor in finals[1].items())


@pytest.mark.parametrize(("name", "network"), REFUSED)
def test_methods_that_refuse_say_why(name: str, network: str) -> None:
    reason = find(name).refusal(Source(Architecture(network), 1000))
    assert REFUSED[name, network] in reason
    assert network in reason


@pytest.mark.parametrize("name", ["spottune", "spottune-global-k", "random-policy"])
@pytest.mark.parametrize(("fixed", "routed"), [(None, 8), (0, 11), (1, 10), (4, 3)])
def test_fixed_stages_are_the_sources(
    name: str, fixed: int | None, routed: int, source_of: Callable[[str], Source]
) -> None:
    source = source_of("timm:mobilenetv3_small_050")
    one = method(name, fixed=fixed)
    network = built(one, source)
    blocks = [m for m in network.modules() if isinstance(m, RoutedBlock)]
    always = 3 if name == "random-policy" else 0
    assert len(blocks) + always == routed
    first = list(network.get_submodule("macros").children())[: 2 if fixed is None else fixed]
    plain = [m for macro in first for m in macro.children()]
    assert all(isinstance(m, Block) for m in plain)
    assert not any(p.requires_grad for m in plain for p in m.parameters())


@pytest.mark.parametrize("name", ["spottune", "spottune-global-k", "random-policy"])
def test_fixed_is_at_most_all_stages_but_one(name: str, source_of: Callable[[str], Source]) -> None:
    source = source_of("timm:mobilenetv3_small_050")
    with pytest.raises(UsageError, match=r"fixed=5: a timm:mobile.* has 5 stages .* at most 4"):
        method(name, fixed=5).build(source, [TASK])
    with pytest.raises(UsageError, match="fixed: Input should be greater than or equal to 0"):
        method(name, fixed=-1)


def test_fixed_is_in_the_json_where_it_is_set() -> None:
    kind = find("spottune")
    recipe = apply(kind.recipes, {"fixed": 0}, "spottune", SUITE)
    assert recipe.as_json()["fixed"] == 0
    assert from_json(kind.recipes, recipe.as_json(), "spottune") == recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fine-tuning", "spottune", "bn-adapt", "lp-ft", "scratch-plus"])
def test_methods_conform_on_a_network_of_timm(name: str) -> None:
    check_method(name, suite="fine-grained", network="timm:resnet18")
