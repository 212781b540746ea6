"""Lists the tensors and layers of described networks and of state dicts by dotted name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from decathlon.models.reference.names import StoredTensor
from decathlon.models.reference.pickles import CheckpointError, Described, shown
from decathlon.models.reference.torch_files import Checkpoint

WRAPPER = "module."
"""DataParallel's prefix of every name."""

MAX_LAYERS = 20_000
MAX_TENSORS = 100_000
MAX_NAME = 300
"""Names grow with the depth of modules, so this bounds the depth too."""

_GROUPS = ("_parameters", "_buffers", "_modules")


@dataclass
class Layers:
    """A network of a checkpoint.

    Attributes:
        kind: Class of the network, or None where only a state dict was saved.
        tensors: By dotted name.
        facts: Plain attributes of each layer (kernel size, eps, ...) by dotted name;
            empty for a state dict.
    """

    kind: str | None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


def as_layers(checkpoint: Checkpoint, value: Any) -> Layers:
    """Lists the tensors and layers of a described module or of a state dict.

    DataParallel wrappers are removed.

    Args:
        checkpoint: The file that the value is from.
        value: A ``Described`` module, or a dict of tensors.

    Raises:
        CheckpointError: It is neither.
    """
    if isinstance(value, Described):
        while value.name.endswith(".DataParallel"):
            value = _children(value, "_modules").get("module")
            if not isinstance(value, Described):
                raise CheckpointError("is damaged: a DataParallel in it wraps no module")
        layers = Layers(value.name)
        _walk(checkpoint, layers, value, "")
        return layers
    if is_state_dict(value):
        if len(value) > MAX_TENSORS or any(len(name) > MAX_NAME for name in value):
            raise CheckpointError("is refused: its state dict has too many or too long names")
        return plain({name: checkpoint.tensor(stored) for name, stored in value.items()})
    raise CheckpointError(f"has {shown(value)} where a network or its state dict is expected")


def plain(tensors: dict[str, Tensor]) -> Layers:
    """Returns the network of a state dict, without DataParallel's prefix."""
    while tensors and all(name.startswith(WRAPPER) for name in tensors):
        tensors = {name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items()}
    return Layers(None, tensors)


def is_state_dict(value: Any) -> bool:
    """Returns whether a value is a dict of at least one tensor by name."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, StoredTensor) for k, v in value.items())
    )


def _children(module: Described, group: str) -> dict[str, Any]:
    children = module.state.get(group, {})
    if not isinstance(children, dict) or not all(isinstance(name, str) for name in children):
        raise CheckpointError(f"is damaged: {group} of a {module.name} is no dict of names")
    return children


def _walk(checkpoint: Checkpoint, layers: Layers, module: Described, prefix: str) -> None:
    """Adds a module and its submodules; a module that contains itself is refused."""
    if len(layers.facts) >= MAX_LAYERS or len(prefix) > MAX_NAME:
        raise CheckpointError("is refused: its modules are nested without end")
    facts = {name: v for name, v in module.state.items() if name not in _GROUPS}
    layers.facts[prefix.removesuffix(".")] = facts
    for group in ("_parameters", "_buffers"):
        for name, stored in _children(module, group).items():
            if isinstance(stored, StoredTensor):
                if len(layers.tensors) >= MAX_TENSORS or len(name) > MAX_NAME:
                    raise CheckpointError("is refused: its modules have tensors without end")
                layers.tensors[prefix + name] = checkpoint.tensor(stored)
            elif stored is not None:
                raise CheckpointError(f"is damaged: {shown(prefix + name)} is no tensor")
    for name, child in _children(module, "_modules").items():
        if isinstance(child, Described):
            _walk(checkpoint, layers, child, f"{prefix}{name}.")
        elif child is not None:
            raise CheckpointError(f"is damaged: {shown(prefix + name)} is no module")
