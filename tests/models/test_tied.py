"""Tensors that share memory are written and counted once, and share memory again when read."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from decathlon.common.errors import TrialError
from decathlon.method.base import Batch, Group, Method, Phase, Task
from decathlon.method.stored import count_parameters
from decathlon.models.layers import freeze
from decathlon.models.networks import Architecture
from decathlon.models.tied import distinct, ties
from decathlon.models.weights import Source, bits_of, read_weights, write_weights
from decathlon.testing import check_method

TASK = Task("dtd", 4, 16)


def test_what_shares_memory_is_written_once(tmp_path: Path) -> None:
    whole = torch.randn(6, 4)
    image = torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    mask = torch.rand(9, 9) > 0.5
    tensors = {
        "row": whole[2],
        "whole": whole,
        "turned": whole.T,
        "again": whole,
        "image": image,
        "image too": image,
        "part of image": image[:, 1],
        "mask": mask,
        "mask too": mask,
        "alone": torch.randn(3),
        "empty": torch.empty(0),
    }
    path = tmp_path / "x.safetensors"
    write_weights(path, {"kind": "method"}, tensors)
    _, found = read_weights(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert set(ties(tensors)) == {"row", "turned", "again", "image too", "mask too"}
    for name in ("row", "turned", "again"):
        assert (
            found[name].untyped_storage().data_ptr() == found["whole"].untyped_storage().data_ptr()
        )
    assert found["mask too"] is found["mask"]
    numbers = sum(bits_of(tensor) for tensor in distinct(tensors).values()) // 8
    assert path.stat().st_size < numbers + 1500


def test_files_without_shared_memory_are_as_before(tmp_path: Path) -> None:
    write_weights(tmp_path / "x.safetensors", {"kind": "method"}, {"a": torch.zeros(3)})
    assert "tied" not in read_weights(tmp_path / "x.safetensors")[0]


class Tied(Method):
    """Uses one new layer at two places, under two names, and two frozen names of one tensor."""

    def build(self, source: Source, tasks: Sequence[Task]) -> nn.Module:
        network = source.network(tasks[0].num_classes)
        features = network.head.in_features
        network.mix = nn.Linear(features, features)
        network.mix_again = network.mix
        network.other = nn.Linear(features, features, bias=False)
        network.other.weight = network.mix.weight
        network.same_stem = network.stem
        freeze(network.stem)
        network.register_buffer("table", torch.arange(12.0).view(3, 4))
        network.register_buffer("row", network.table[1])
        return network

    def logits(self, network: nn.Module, batch: Batch) -> Tensor:
        x = network.features(batch.images)
        out: Tensor = network.head(x + network.other(network.mix_again(network.mix(x))))
        return out


class TwiceInAGroup(Tied):
    """Lists a parameter under each of its names."""

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        named = network.named_parameters(remove_duplicate=False)
        return [Phase(1.0, [self.sgd([p for _, p in named], tasks)])]


class InTwoGroups(Tied):
    """Would take two steps at a time with one parameter."""

    def phases(self, network: nn.Module, tasks: Sequence[Task]) -> list[Phase]:
        other = Group(list(network.other.parameters()), 0.1)
        return [Phase(1.0, [self.sgd(network.parameters(), tasks), other])]


@pytest.mark.parametrize("method", [Tied, TwiceInAGroup])
def test_methods_with_tied_weights_conform(method: type[Method]) -> None:
    check_method(method)


def test_a_parameter_in_two_groups_is_refused() -> None:
    with pytest.raises(TrialError, match="lists a parameter twice"):
        check_method(InTwoGroups)


def test_tied_weights_count_once() -> None:
    source = Source(Architecture(width=0.25), 6)
    method = Tied()
    network = method.build(source, [TASK])
    counted = count_parameters(method, network, source)
    plain = Method()
    alone = count_parameters(plain, plain.build(source, [TASK]), source)
    features = network.head.in_features
    stem = sum(p.numel() for p in network.stem.parameters())
    extra = features * features + features + 12 - stem
    assert counted.domain - alone.domain == 32 * extra
    assert counted.shared == 32 * stem
    assert counted.head == alone.head
