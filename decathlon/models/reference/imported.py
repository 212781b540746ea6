"""SpotTune's released network as it is stored after an import, and read again.

It differs from what the method ``spottune`` stores: there is no source file that the
frozen branches are shared with, so everything is kept in one file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from decathlon.common.errors import DataError
from decathlon.models.resnet import Architecture
from decathlon.models.routing import RoutedNetwork
from decathlon.models.weights import check_fit, naming, read_weights, write_weights

KIND = "imported"


def released_spottune(
    architecture: Architecture, policy: Architecture, num_classes: int
) -> RoutedNetwork:
    """Builds the network of gyhui14/spottune, with new weights.

    All blocks are routed and paths are mixed after the activation
    (``spottune_models.py``, lines 108-122). The convolutions of the frozen path have no
    gradient; the stem and all batch normalisations have (``main.py``, 239-246).

    Args:
        architecture: Of the network.
        policy: Of the policy network.
        num_classes: Classes of the head.
    """
    base = architecture.build(num_classes)
    for _, block in base.blocks():
        for layer in block.branch.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.requires_grad_(False)
    network = RoutedNetwork(base, policy, 0, True)
    network.policy = policy.build(2 * network.num_routed)
    return network


def write_imported(
    path: Path,
    architecture: Architecture,
    policy: Architecture,
    num_classes: int,
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> None:
    """Writes the tensors of a :func:`released_spottune` network.

    Args:
        path: The file to write.
        architecture: Of the network.
        policy: Of the policy network.
        num_classes: Classes of the head.
        header: Further facts.
        tensors: The network's state.
    """
    facts = {
        **header,
        "kind": KIND,
        "method": "spottune",
        "architecture": architecture.as_json(),
        "policy": policy.as_json(),
        "num_classes": num_classes,
    }
    write_weights(path, facts, tensors)


def read_imported(path: Path) -> RoutedNetwork:
    """Reads what :func:`write_imported` wrote.

    Returns:
        The network, in evaluation mode.

    Raises:
        DataError: The file is missing, damaged, or does not fit the network it names.
    """
    header, tensors = read_weights(path)
    if header["kind"] != KIND:
        raise DataError(f"{path}: is no imported SpotTune network, but of '{header['kind']}'")
    with naming(path, "; import it again"):
        architecture = Architecture.from_json(header["architecture"])
        policy = Architecture.from_json(header["policy"])
        num_classes = int(header["num_classes"])
        # On "meta" nothing is allocated or drawn: the file's tensors become the network's.
        with torch.device("meta"):
            network = released_spottune(architecture, policy, num_classes)
    check_fit(path, network.state_dict(), tensors)
    network.load_state_dict(tensors, assign=True)
    return network.eval()
