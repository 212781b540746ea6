"""What a network consists of, for methods that need something of it.

A method's ``refusal`` asks here, so that it works on every network that has what it needs, whatever
the network is called. Networks are built without numbers, on torch's meta device.
"""

from dataclasses import replace
from functools import cache

import torch
from torch import nn

from decathlon.models.layers import batch_norms, is_foreign
from decathlon.models.networks import Architecture
from decathlon.models.residual import ResidualNetwork

SIDE = 64
"""Side of the images, in pixels, that a network without a size of its own is asked with."""


@cache
def outline(architecture: Architecture) -> ResidualNetwork:
    """Returns a plain network of an architecture without numbers, in evaluation mode.

    All callers share it: it must not be changed.
    """
    with torch.device("meta"):
        return replace(architecture, adapters="none").build(1).eval()


def lacks_batch_norms(architecture: Architecture) -> str:
    """Returns why a method that trains batch normalisations cannot; "" if it can."""
    if any(True for _ in batch_norms(outline(architecture))):
        return ""
    return f"a {architecture.name} has no batch normalisation that could be trained"


def lacks_convolutions(architecture: Architecture) -> str:
    """Returns why a method that changes all convolutions cannot adapt a network; "" if it can.

    Convolutions have to hold most of the weights, and to compute what torch's do.
    """
    network = outline(architecture)
    if reason := _foreign_convolutions(architecture):
        return reason
    held = sum(conv.weight.numel() for conv in _convolutions(network))
    total = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("head."))
    if 2 * held >= total:
        return ""
    return (
        f"the convolutions of a {architecture.name} hold {held:,} of its {total:,} parameters, and"
        " the others would stay as they are"
    )


def lacks_3x3_convolutions(architecture: Architecture) -> str:
    """Returns why residual adapters cannot adapt a network; "" if they can.

    Every residual block has to have a 3x3 convolution over all channels.
    """
    if reason := _foreign_convolutions(architecture):
        return reason
    for _, block in outline(architecture).blocks():
        if not any(c.kernel_size == (3, 3) and c.groups == 1 for c in _convolutions(block)):
            return (
                f"adapters stand at 3x3 convolutions over all channels, and blocks of a"
                f" {architecture.name} have none"
            )
    return ""


def stage_channels(architecture: Architecture) -> list[int] | None:
    """Returns the channels of each macro block's feature maps.

    None if a macro block does not return feature maps, N x C x H x W, but tokens.
    """
    network, size = outline(architecture), architecture.family.input
    side = SIDE if size is None else size.side
    found = []
    with torch.no_grad():
        x = network.stem(torch.empty(1, 3, side, side, device="meta"))
        for macro in network.macros:
            x = macro(x)
            if x.ndim != 4 or x.shape[2] != x.shape[3]:
                return None
            found.append(x.shape[1])
    return found


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _foreign_convolutions(architecture: Architecture) -> str:
    for conv in _convolutions(outline(architecture)):
        if is_foreign(conv):
            return (
                f"convolutions of a {architecture.name} are of the kind {type(conv).__name__},"
                " which may compute something else than torch's"
            )
    return ""
