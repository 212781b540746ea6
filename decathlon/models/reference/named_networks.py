"""Files of networks that the user names: their tensors under our names."""

import torch
from torch import Tensor

from decathlon.common.errors import listed
from decathlon.models.networks import Architecture, find
from decathlon.models.reference import lite0_names
from decathlon.models.reference.mapping import COUNTER
from decathlon.models.reference.named_layers import Layers
from decathlon.models.reference.pickles import CheckpointError, shown
from decathlon.models.residual import ResidualNetwork

FEW = 3
"""Tensors that a message lists of each kind."""


def fitted(layers: Layers, name: str) -> tuple[ResidualNetwork, dict[str, Tensor]]:
    """Names the tensors of a file as in the network that the user named.

    Args:
        layers: The file's tensors.
        name: The network.

    Returns:
        (the network on the meta device, with as many classes as the file has; its tensors).

    Raises:
        CheckpointError: The file is of another network. It has to have all tensors of the network
            and no others.
    """
    family, tensors = find(name), layers.tensors
    ours = Architecture(name).names_in_files()
    if lite0_names.recognises(tensors):
        tensors = lite0_names.translated(tensors)
    found = {ours[theirs]: tensor for theirs, tensor in tensors.items() if theirs in ours}
    head = found.get("head.weight")
    num_classes = len(head) if head is not None and head.dim() and len(head) else 1
    with torch.device("meta"):
        network = Architecture(name).build(num_classes)
    wanted = network.state_dict()
    missing, unfit = [], []
    for theirs, key in ours.items():
        tensor, place = found.get(key), wanted[key]
        if tensor is None:
            if key.endswith(COUNTER):
                found[key] = torch.tensor(0)  # old files have none, and nothing depends on it
            else:
                missing.append(theirs)
        elif tensor.shape != place.shape:
            unfit.append(f"{theirs} {list(tensor.shape)}, here {list(place.shape)}")
        elif place.is_floating_point() and not tensor.is_floating_point():
            unfit.append(f"{theirs} of type {tensor.dtype}")
    faults = {
        "lacking": missing,
        "in excess": [shown(theirs) for theirs in tensors if theirs not in ours],
        "of another shape or type": unfit,
    }
    if any(faults.values()):
        lines = [f"  {kind}: {listed(those, most=FEW)}" for kind, those in faults.items() if those]
        if family.names is None:
            lines.append(
                "  to have the authors' and torchvision's files recognised, omit --network"
            )
        raise CheckpointError("\n".join([f"does not hold the weights of {name}:", *lines]))
    return network, {key: tensor.to(wanted[key].dtype) for key, tensor in found.items()}
