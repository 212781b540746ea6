"""Imports networks of the authors' codes, of torchvision and of timm as weights of ours."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from decathlon.common.errors import DataError, UsageError
from decathlon.common.files import sha256
from decathlon.models.networks import Architecture, find
from decathlon.models.reference import mapping, named_networks, torchvision_names
from decathlon.models.reference.named_layers import Layers, as_layers, is_state_dict, plain
from decathlon.models.reference.pickles import CheckpointError, Described
from decathlon.models.reference.torch_files import Checkpoint, read_checkpoint
from decathlon.models.residual import ResidualNetwork
from decathlon.models.weights import (
    SUFFIX,
    check_sound,
    read_safetensors,
    write_source,
    write_weights,
    written_by_us,
)

_NETWORK = ("net", "state_dict", "model")
"""Keys under which a checkpoint may have its network; the authors' codes use the first."""

_POLICY = "agent"
_NOTHING = re.compile(r"(?!)")
_UNUSED_COPY = re.compile(r"parallel_blocks\.")
_OTHER_DOMAINS = re.compile(r".*\.?(bns|parallel_conv|end_bns|linears)\.\d+\.")


@dataclass(frozen=True)
class ImportSummary:
    """What was imported.

    Attributes:
        path: The file written.
        structure: ``plain``, ``series``, ``parallel`` or ``spottune`` of the authors' networks;
            the name of others.
        width: Factor on all channel numbers.
        blocks: Residual blocks in each macro block.
        num_classes: Classes of the head.
        num_tasks: Domains that the checkpoint has heads for.
        num_values: Numbers in all tensors written.
        messages: Notes for the user.
    """

    path: Path
    structure: str
    width: float
    blocks: tuple[int, ...]
    num_classes: int
    num_tasks: int
    num_values: int
    messages: tuple[str, ...]

    def __str__(self) -> str:
        """Returns a line about the network, and one for each message."""
        blocks = "+".join(map(str, self.blocks))
        first = (
            f"{self.path}: {self.structure} network of width {self.width:g}, {blocks} residual"
            f" blocks, {self.num_classes} classes, {self.num_values:,} values"
        )
        return "\n".join((first, *self.messages))


def import_weights(
    source: Path, target: Path, task: int = 0, network: str | None = None
) -> ImportSummary:
    """Converts a checkpoint of the authors' codes, torchvision or timm; nothing in it is executed.

    Supports networks of srebuffi/residual_adapters (plain, series, parallel; any width, number
    of blocks and classes) and SpotTune's network with its policy (gyhui14/spottune): whole
    modules as the authors save them, wrapped in DataParallel or not, and state dicts. Of
    torchvision's ResNets of bottlenecks, state dicts of any width and number of classes. Of timm's
    networks, and others that are named, state dicts of any number of classes.
    :func:`decathlon.load_model` reads the result; all but SpotTune can also be a source network.

    Args:
        source: The checkpoint, in torch's old or new format; a state dict also as safetensors.
        target: The safetensors file to write.
        task: Number of the domain to import, if the network has several.
        network: Name of the network; None to recognise it.

    Raises:
        DataError: The checkpoint is missing, damaged, of another network, or names
            anything but tensors, plain values and these networks' modules.
        UsageError: There is no such task or network, or source and target are the same file.
    """
    if network is not None:
        find(network)  # a wrong name is reported before the file is read
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target}: is the checkpoint itself; name another file to write")
    layers, policy = _read(source)
    facts = _facts(source, task, network)
    try:
        if network is not None:
            return _import_named(layers, source, target, facts, network)
        if torchvision_names.recognises(layers):
            return _import_torchvision(layers, source, target, facts, task)
        if policy is None:
            return _import_residual(layers, source, target, facts, task)
        return _import_spottune(layers, policy, source, target, facts, task)
    except CheckpointError as error:
        raise DataError(f"{source}: {error}") from None


def _facts(source: Path, task: int, network: str | None) -> dict[str, Any]:
    """Returns what the header says of the file, and how it was read."""
    named = {} if network is None else {"network": network}
    return {"imported": {"file": source.name, "sha256": sha256(source), "task": task, **named}}


def is_imported(source: Path, target: Path, task: int = 0, network: str | None = None) -> bool:
    """Returns whether a file already holds what importing a checkpoint would write.

    Raises:
        UsageError: The file exists and holds something else.
        UnreadableError: The file exists and the system denies reading it.
    """
    if not target.exists() or not os.access(source, os.R_OK) or target.samefile(source):
        return False  # import_weights reports what is wrong
    found = (written_by_us(target) or {}).get("imported")
    if found is not None:
        held = (found["sha256"], found["task"], found.get("network"))
        if held == (sha256(source), task, network):
            return True
    what = "another checkpoint, task or network" if found is not None else "something else"
    raise UsageError(
        f"{target}: exists already, and is of {what}; name another file to write, or overwrite it"
        " with --force"
    )


def _read(source: Path) -> tuple[Layers, Layers | None]:
    """Reads the network of a file, and SpotTune's policy if it has one.

    Raises:
        DataError: The file is missing, damaged, or has no network.
    """
    try:
        if source.suffix != SUFFIX:
            return _parts(read_checkpoint(source))
        header, tensors = read_safetensors(source)
    except CheckpointError as error:
        raise DataError(f"{source}: {error}") from None
    except DataError:
        if (cut := torchvision_names.cut_short(source)) is not None:
            raise DataError(f"{source}: {cut}") from None
        raise
    if header is not None:
        raise DataError(f"{source}: is a weights file of decathlon already; use it as it is")
    return plain(tensors), None


def _parts(checkpoint: Checkpoint) -> tuple[Layers, Layers | None]:
    """Finds the network and SpotTune's policy, if it has one."""
    root = checkpoint.root
    if isinstance(root, Described) or is_state_dict(root):
        return as_layers(checkpoint, root), None
    if isinstance(root, dict):
        for key in _NETWORK:
            if key in root:
                network = as_layers(checkpoint, root[key])
                policy = root.get(_POLICY)
                return network, None if policy is None else as_layers(checkpoint, policy)
    raise CheckpointError(
        "holds no network: expected is one under 'net' (and SpotTune's policy under 'agent'),"
        " a whole module, or a state dict"
    )


def _import_residual(
    layers: Layers, source: Path, target: Path, facts: Mapping[str, Any], task: int
) -> ImportSummary:
    if any(name.startswith("parallel_blocks.") for name in layers.tensors):
        raise CheckpointError("holds SpotTune's network without its policy ('agent')")
    architecture, classes = mapping.residual(layers)
    if not 0 <= task < len(classes):
        raise UsageError(f"{source}: has tasks 0 to {len(classes) - 1}, not {task}")
    with torch.device("meta"):
        network = architecture.build(classes[task])
    place = mapping.residual_place(architecture.adapters, task)
    others = _OTHER_DOMAINS if len(classes) > 1 else _NOTHING
    tensors = mapping.move(layers, place, network, others)
    absent = mapping.complete(network, tensors)
    check_sound(source, tensors)
    network.load_state_dict(tensors, assign=True)
    write_source(target, network, architecture, facts)
    messages = []
    if len(classes) > 1:
        messages.append(f"it has {len(classes)} domains' tensors; taken were those of task {task}")
    if absent:
        messages.append(f"{absent} convolutions have no adapter; theirs are zero, adding nothing")
    structure = "plain" if architecture.adapters == "none" else architecture.adapters
    return ImportSummary(
        target,
        structure,
        architecture.width,
        architecture.blocks,
        num_classes=classes[task],
        num_tasks=len(classes),
        num_values=sum(tensor.numel() for tensor in tensors.values()),
        messages=tuple(messages),
    )


def _import_named(
    layers: Layers, source: Path, target: Path, facts: Mapping[str, Any], name: str
) -> ImportSummary:
    if facts["imported"]["task"]:
        raise UsageError(f"{source}: files of '{name}' have one task, 0")
    network, tensors = named_networks.fitted(layers, name)
    check_sound(source, tensors)
    network.load_state_dict(tensors, assign=True)
    architecture = Architecture(name)
    write_source(target, network, architecture, facts)
    return ImportSummary(
        target,
        name,
        architecture.width,
        architecture.blocks,
        num_classes=network.head.out_features,
        num_tasks=1,
        num_values=sum(tensor.numel() for tensor in tensors.values()),
        messages=(),
    )


def _import_torchvision(
    layers: Layers, source: Path, target: Path, facts: dict[str, Any], task: int
) -> ImportSummary:
    if task:
        raise UsageError(f"{source}: torchvision's networks have one task, 0, not {task}")
    architecture, num_classes = torchvision_names.described(layers)
    with torch.device("meta"):
        network = architecture.build(num_classes)
    place = torchvision_names.place(layers, network)
    tensors = mapping.move(layers, place, network, _NOTHING)
    mapping.complete(network, tensors)
    check_sound(source, tensors)
    network.load_state_dict(tensors, assign=True)
    weights, *notes = torchvision_names.which(source, facts["imported"]["sha256"])
    facts["imported"]["weights"] = weights
    write_source(target, network, architecture, facts)
    return ImportSummary(
        target,
        architecture.name,
        architecture.width,
        architecture.blocks,
        num_classes,
        num_tasks=1,
        num_values=sum(tensor.numel() for tensor in tensors.values()),
        messages=(f"weights: {weights}", *notes),
    )


def _import_spottune(
    layers: Layers,
    policy: Layers,
    source: Path,
    target: Path,
    facts: Mapping[str, Any],
    task: int,
) -> ImportSummary:
    if task:
        raise UsageError(f"SpotTune's network has one task, 0, not {task}")
    architecture, num_classes = mapping.routed(layers)
    policy_architecture, _ = mapping.routed(policy)
    network = _routed_network(architecture, policy_architecture, num_classes)
    tensors = mapping.move(layers, mapping.routed_place("frozen", "tuned"), network, _NOTHING)
    tensors |= mapping.move(
        policy, mapping.routed_place("branch", None, "policy."), network, _UNUSED_COPY
    )
    mapping.complete(network, tensors)
    check_sound(source, tensors)
    header = {
        **facts,
        "kind": "imported",
        "method": "spottune",
        "architecture": architecture.as_json(),
        "policy": policy_architecture.as_json(),
        "num_classes": num_classes,
    }
    write_weights(target, header, tensors)
    unused = any(_UNUSED_COPY.match(name) for name in policy.tensors)
    message = "the policy's second copy of its blocks is never used, and was left out"
    return ImportSummary(
        target,
        "spottune",
        architecture.width,
        architecture.blocks,
        num_classes,
        num_tasks=1,
        num_values=sum(tensor.numel() for tensor in tensors.values()),
        messages=(message,) if unused else (),
    )


def _routed_network(
    architecture: Architecture, policy: Architecture, num_classes: int
) -> ResidualNetwork:
    """Builds a network without numbers that has the names and shapes of SpotTune's tensors."""
    with torch.device("meta"):
        network = architecture.build(num_classes)
        blocks = [block for _, block in network.blocks()]
        for block in blocks:
            block.frozen = block.tuned = block.branch
            del block.branch
        network.policy = policy.build(2 * len(blocks))
    return network
