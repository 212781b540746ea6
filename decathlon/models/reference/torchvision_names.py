"""Torchvision's ResNets of bottlenecks: names of their tensors, and the published weights.

Torchvision's names on the left, ours on the right:

    conv1, bn1                      stem.conv1, stem.bn1
    layer<m>.<b>.LAYER              macros.<m-1>.<b>.branch.LAYER
    layer<m>.<b>.downsample.<i>     macros.<m-1>.<b>.shortcut.<i>
    fc                              head
"""

import re
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from decathlon.models.networks import Architecture, find
from decathlon.models.reference.mapping import COUNTER, Place, macro_blocks, num_rows
from decathlon.models.reference.named_layers import Layers
from decathlon.models.reference.pickles import CheckpointError
from decathlon.models.torchvision_resnet import STEM_CHANNELS

UNKNOWN = "unknown (none of the published files has this SHA-256)"
_IN_BLOCK = re.compile(r"macros\.(\d+)\.(\d+)\.(branch|shortcut)\.(.+)", re.ASCII)
_FILE = re.compile(r"resnet\d+-([0-9a-f]{8})\.pth", re.ASCII)


@dataclass(frozen=True)
class Published:
    """A published file.

    Attributes:
        name: What it is.
        sha256: Its digest, or the beginning of it that torchvision's file name has.
        file: Its usual name, if that is of this file alone.
        size: Bytes; 0 where no source gives them.
    """

    name: str
    sha256: str
    file: str = ""
    size: int = 0


# File names: torchvision.models.resnet, and pytorch/vision issue 607 for the older ones. Full
# digests and the size: public lists of checkpoints, and the model card of timm/resnet50.tv_in1k.
PUBLISHED = (
    Published(
        "torchvision's ResNet50_Weights.IMAGENET1K_V1",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "resnet50-0676ba61.pth",
        102_530_333,
    ),
    Published(
        "torchvision's ResNet101_Weights.IMAGENET1K_V1",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
    ),
    Published("torchvision's ResNet50_Weights.IMAGENET1K_V1 (older file)", "19c8e357"),
    Published("torchvision's ResNet101_Weights.IMAGENET1K_V1 (older file)", "5d3b4d8f"),
    Published("torchvision's ResNet50_Weights.IMAGENET1K_V2", "11ad3fa6"),
    Published("torchvision's ResNet101_Weights.IMAGENET1K_V2", "cd907fc2"),
    Published(
        "timm's resnet50.tv_in1k (torchvision's ResNet50_Weights.IMAGENET1K_V1)",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
)


def recognises(layers: Layers) -> bool:
    """Returns whether the tensors have the names of torchvision's ResNets."""
    return "layer1.0.conv1.weight" in layers.tensors


def described(layers: Layers) -> tuple[Architecture, int]:
    """Recognises a ResNet of bottlenecks: (architecture, number of classes).

    Raises:
        CheckpointError: It is another network.
    """
    if "layer1.0.conv3.weight" not in layers.tensors:
        raise CheckpointError(
            "is a ResNet of basic blocks, such as ResNet-18 and ResNet-34; import it as timm's, by"
            " --network timm:resnet18 or another name"
        )
    channels, blocks = macro_blocks(layers, "conv1", r"layer(\d+)\.(\d+)\.", 1)
    name = "resnet101" if blocks == find("resnet101").blocks else "resnet50"
    return Architecture(name, channels / STEM_CHANNELS, blocks), num_rows(layers, "fc")


def place(layers: Layers, network: nn.Module) -> Place:
    """Returns the mapping of layers' names to those of a network of ours.

    Raises:
        CheckpointError: A tensor of the network is missing.
    """
    for name in network.state_dict():
        if (theirs := _theirs(name)) not in layers.tensors and not name.endswith(COUNTER):
            raise CheckpointError(f"lacks the tensor {theirs} of torchvision's network")
    return {_theirs(name): name for name, _ in network.named_modules()}.get


def _theirs(name: str) -> str:
    """Returns torchvision's name of a layer or tensor of ours."""
    if match := _IN_BLOCK.fullmatch(name):
        macro, block, part, rest = match.groups()
        return f"layer{int(macro) + 1}.{block}.{'downsample.' * (part == 'shortcut')}{rest}"
    return re.sub(r"^head\b", "fc", name.removeprefix("stem."))


def which(path: Path, sha256: str) -> tuple[str, ...]:
    """Says which published weights a file holds: (their name, notes for the user).

    Args:
        path: The file.
        sha256: Its digest.
    """
    for known in PUBLISHED:
        if sha256.startswith(known.sha256):
            return (known.name,)
    if (match := _FILE.fullmatch(path.name)) is None:
        return (UNKNOWN,)
    note = (
        f"{path.name}: the SHA-256 of the published file of this name begins with {match[1]}, that"
        f" of this one with {sha256[:8]}; download it again if you did not make it yourself"
    )
    return UNKNOWN, note


def cut_short(path: Path) -> str | None:
    """Returns by how much the download of a published file is cut short; None if it is not."""
    size = path.stat().st_size if path.is_file() else 0
    for known in PUBLISHED:
        if known.file == path.name and 0 < size < known.size:
            return f"is cut short: it has {size} of {known.size} bytes; download it again"
    return None
