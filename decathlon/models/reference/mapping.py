"""Where each tensor of the authors' networks belongs in ours.

Names on the left are those of srebuffi/residual_adapters ``models.py`` (T is the number of
the domain) and gyhui14/spottune ``spottune_models.py`` and ``agent_net.py``; an adapted
convolution holds the plain one.

    pre_layers_conv.UNIT            stem                   with CONV, BN = conv, bn
    layer<m>.<b>.conv1.UNIT         macros.<m-1>.<b>.branch                conv1, bn1
    layer<m>.<b>.conv2.1.UNIT       macros.<m-1>.<b>.branch                conv2, bn2
    end_bns.T.0                     tail.bn
    linears.T                       head
    UNIT: conv                      CONV
          bns.T                     BN
          parallel_conv.T.conv      CONV.adapter.conv      parallel
          bns.T.0.conv.0            CONV.adapter.bn        series
          bns.T.0.conv.1            CONV.adapter.conv      series
          bns.T.1                   BN                     series

    conv1, bn1                      stem.conv, stem.bn
    blocks.<m>.<b>.*                macros.<m>.<b>.frozen.* (the policy's: .branch.*)
    parallel_blocks.<m>.<b>.*       macros.<m>.<b>.tuned.*  (the policy's: never used, dropped)
    bn2.0, linear                   tail.bn, head
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from decathlon.models.adapters import Kind, adapted_convolutions
from decathlon.models.networks import Architecture
from decathlon.models.reference.named_layers import Layers
from decathlon.models.reference.pickles import CheckpointError, shown
from decathlon.models.resnet import BASE_CHANNELS

_UNIT = re.compile(r"(?:pre_layers_conv|layer(\d+)\.(\d+)\.conv(1|2\.1))\.(.+)", re.ASCII)
_SERIES = re.compile(r"\.bns\.\d+\.0\.conv\.", re.ASCII)
_ROUTED = re.compile(r"(parallel_blocks|blocks)\.(\d+)\.(\d+)\.(conv1|bn1|conv2\.1|bn2)", re.ASCII)
_FACTS = {
    nn.Conv2d: ("kernel_size", "stride", "padding", "dilation", "groups"),
    nn.BatchNorm2d: ("eps", "momentum", "affine", "track_running_stats"),
}
_MAX_MACROS, _MAX_CHANNELS = 6, 2048
COUNTER = "num_batches_tracked"

Place = Callable[[str], str | None]
"""Maps a layer's name in the checkpoint to ours; None for one that is not imported."""


def residual(layers: Layers) -> tuple[Architecture, tuple[int, ...]]:
    """Recognises a network of the residual adapters' code: (architecture, classes of each head).

    Raises:
        CheckpointError: It is none.
    """
    names = layers.tensors
    adapters: Kind = "none"
    if any(".parallel_conv." in name for name in names):
        adapters = "parallel"
    elif any(_SERIES.search(name) for name in names):
        adapters = "series"
    block = r"layer(\d+)\.(\d+)\."
    channels, blocks = macro_blocks(layers, "pre_layers_conv.conv", block, 1)
    architecture = Architecture(width=channels / BASE_CHANNELS, blocks=blocks, adapters=adapters)
    heads = sum(re.fullmatch(r"linears\.\d+\.weight", name) is not None for name in names)
    return architecture, tuple(num_rows(layers, f"linears.{task}") for task in range(max(1, heads)))


def routed(layers: Layers) -> tuple[Architecture, int]:
    """Recognises SpotTune's network or its policy: (architecture, rows of the last layer).

    Raises:
        CheckpointError: It is neither.
    """
    channels, blocks = macro_blocks(layers, "conv1", r"blocks\.(\d+)\.(\d+)\.", 0)
    return Architecture(width=channels / BASE_CHANNELS, blocks=blocks), num_rows(layers, "linear")


def macro_blocks(layers: Layers, stem: str, block: str, first: int) -> tuple[int, tuple[int, ...]]:
    """Infers (channels of the stem, blocks in each macro block) from tensors' names and shapes.

    Args:
        layers: The checkpoint's network.
        stem: Its first convolution.
        block: Pattern of the names inside a block, with groups for macro block and block.
        first: Number of the first macro block.

    Raises:
        CheckpointError: There is no such network.
    """
    channels = num_rows(layers, stem)
    counts: list[int] = []
    found = {tuple(map(int, m.groups())) for n in layers.tensors if (m := re.match(block, n))}
    for macro, index in sorted(found):
        if (macro, index) == (first + len(counts), 0):
            counts.append(1)
        elif (macro, index) == (first + len(counts) - 1, counts[-1] if counts else 0):
            counts[-1] += 1
        else:
            raise CheckpointError(f"lacks a residual block before number {macro}.{index}")
    if not 0 < len(counts) <= _MAX_MACROS or channels > _MAX_CHANNELS:
        raise CheckpointError(f"has {len(counts)} macro blocks that begin with {channels} channels")
    return channels, tuple(counts)


def num_rows(layers: Layers, layer: str) -> int:
    """Returns the rows of a layer's weights: its output channels, or classes of a head.

    Raises:
        CheckpointError: There is no such layer.
    """
    weight = layers.tensors.get(f"{layer}.weight")
    if weight is None or weight.dim() == 0 or not 0 < len(weight) <= 1 << 20:
        raise CheckpointError(
            f"has no layer '{layer}' with weights; recognised are the residual networks of the"
            " authors, plain or with series or parallel adapters, SpotTune with its policy, and"
            " torchvision's ResNets of bottlenecks; name any other network: --network timm:NAME"
        )
    return len(weight)


def residual_place(kind: Kind, task: int) -> Place:
    """Returns the mapping of layers' names for a network with adapters of a kind."""
    inside = {"conv": "conv{}", f"bns.{task}": "bn{}"}
    if kind == "parallel":
        inside[f"parallel_conv.{task}.conv"] = "conv{}.adapter.conv"
    elif kind == "series":
        inside[f"bns.{task}.0.conv.0"] = "conv{}.adapter.bn"
        inside[f"bns.{task}.0.conv.1"] = "conv{}.adapter.conv"
        inside[f"bns.{task}.1"] = "bn{}"

    def place(layer: str) -> str | None:
        if (match := _UNIT.fullmatch(layer)) is None:
            return {f"end_bns.{task}.0": "tail.bn", f"linears.{task}": "head"}.get(layer)
        macro, block, conv, rest = match.groups()
        if rest not in inside:
            return None
        if macro is None:
            return f"stem.{inside[rest].format('')}"
        return f"macros.{int(macro) - 1}.{int(block)}.branch.{inside[rest].format(conv[0])}"

    return place


def routed_place(frozen: str, tuned: str | None, prefix: str = "") -> Place:
    """Returns the mapping of layers' names for SpotTune's network or its policy.

    Args:
        frozen: Our name for ``blocks`` within a block.
        tuned: Our name for ``parallel_blocks``, or None to drop them.
        prefix: In front of all our names.
    """
    fixed = {"conv1": "stem.conv", "bn1": "stem.bn", "bn2.0": "tail.bn", "linear": "head"}

    def place(layer: str) -> str | None:
        if match := _ROUTED.fullmatch(layer):
            path, macro, block, part = match.groups()
            name = frozen if path == "blocks" else tuned
            part = part.removesuffix(".1")
            return name and f"{prefix}macros.{int(macro)}.{int(block)}.{name}.{part}"
        return fixed.get(layer) and f"{prefix}{fixed[layer]}"

    return place


def move(
    layers: Layers, place: Place, network: nn.Module, others: re.Pattern[str]
) -> dict[str, Tensor]:
    """Renames a checkpoint's tensors to those of a network of ours.

    Args:
        layers: The checkpoint's network.
        place: Maps its layers' names to ours.
        network: Ours, of the same structure; only its shapes and layers are used.
        others: Layers that are left out on purpose.

    Returns:
        Tensors by our names, weights as 32-bit floats.

    Raises:
        CheckpointError: A tensor is unknown or does not fit.
    """
    wanted = network.state_dict()
    moved = {}
    for name, tensor in layers.tensors.items():
        layer, _, part = name.rpartition(".")
        target = place(layer)
        if target is None and others.match(name):
            continue
        ours = f"{target}.{part}"
        if target is None or ours not in wanted:
            raise CheckpointError(f"has {shown(name)}, which is in none of the networks known here")
        if tensor.shape != wanted[ours].shape:
            raise CheckpointError(
                f"has {shown(name)} of shape {list(tensor.shape)}; in a network of its width and"
                f" blocks it is {list(wanted[ours].shape)}"
            )
        if wanted[ours].is_floating_point() and not tensor.is_floating_point():
            raise CheckpointError(f"has {shown(name)} with numbers of type {tensor.dtype}")
        _compare(layer, layers.facts.get(layer, {}), network.get_submodule(target))
        moved[ours] = tensor.to(wanted[ours].dtype)
    return moved


def complete(network: nn.Module, moved: dict[str, Tensor]) -> int:
    """Adds what old files lack: step counters, and adapters with zero weights.

    An adapter with zero weights adds nothing.

    Args:
        network: The network that the tensors are for.
        moved: Tensors by name; the missing ones are added.

    Returns:
        Number of convolutions without an adapter.

    Raises:
        CheckpointError: Another tensor is missing.
    """
    absent = 0
    for name, conv in adapted_convolutions(network):
        own = {f"{name}.adapter.{part}": value for part, value in conv.adapter.state_dict().items()}
        if not own.keys() & moved.keys():
            # W = 0; the variance then does not matter, as long as it is positive.
            fill = {part: float(part.endswith(("bn.weight", "running_var"))) for part in own}
            moved |= {part: torch.full(own[part].shape, fill[part]) for part in own}
            absent += 1
    wanted = network.state_dict()
    for name in wanted.keys() - moved.keys():
        if not name.endswith(COUNTER):
            raise CheckpointError(f"lacks the tensor that is called {name} here")
        moved[name] = torch.tensor(0)
    return absent


def _compare(layer: str, facts: Mapping[str, object], ours: nn.Module) -> None:
    """Checks that a layer computes what ours does; attributes it lacks have today's values."""
    for kind, names in _FACTS.items():
        for name in names if isinstance(ours, kind) else ():
            found, wanted = facts.get(name), getattr(ours, name)
            found = tuple(found) if isinstance(found, list) else found
            if found is not None and found != wanted:
                raise CheckpointError(
                    f"has a layer {shown(layer)} with {name} {shown(found)}, which is {wanted} in"
                    " the authors' networks"
                )
