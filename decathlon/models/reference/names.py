"""The allow-list: every name that a checkpoint of the authors' codes may contain.

Each name stands for something inert: a tensor to be read later, a plain container, or the
description of a module. Any other name is refused.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from decathlon.models.reference.pickles import (
    CheckpointError,
    Described,
    Name,
    Opaque,
    as_key,
    shown,
)

MODULES = {
    # srebuffi/residual_adapters models.py (the same file is in gyhui14/spottune)
    "models": ("ResNet", "BasicBlock", "conv_task", "conv1x1"),
    # gyhui14/spottune
    "spottune_models": ("ResNet", "BasicBlock", "DownsampleB"),
    "agent_net": ("ResNet", "BasicBlock", "DownsampleB"),
    # torch's layers in these networks
    "torch.nn.modules.activation": ("ReLU", "Threshold"),
    "torch.nn.modules.batchnorm": ("BatchNorm2d",),
    "torch.nn.modules.container": ("ModuleList", "Sequential"),
    "torch.nn.modules.conv": ("Conv2d",),
    "torch.nn.modules.linear": ("Linear",),
    "torch.nn.modules.pooling": ("AdaptiveAvgPool2d", "AvgPool2d"),
    "torch.nn.parallel.data_parallel": ("DataParallel",),
}
"""Classes that become :class:`Described`, by module."""

_SAME_NAMES = ("float", "double", "half", "long", "int", "short", "bool")
STORAGES: dict[str, torch.dtype] = {
    **{f"{name.title()}Storage": getattr(torch, name) for name in _SAME_NAMES},
    "BFloat16Storage": torch.bfloat16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
}
"""Types of the numbers in a storage; those of ``torch.cuda`` are read into main memory."""

_NUMBERS = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "u8": "Q", "u4": "I", "b1": "?"}
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class Storage:
    """A one-dimensional run of numbers outside the pickle, or a part of it.

    Attributes:
        key: Its name in the file.
        dtype: Type of its numbers.
        start: Index of the first number.
        size: Number of numbers.
    """

    key: str
    dtype: torch.dtype
    start: int
    size: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all its numbers."""
        return self.size * self.dtype.itemsize


@dataclass(frozen=True)
class StoredTensor(Opaque):
    """A tensor as a view of a storage.

    Attributes:
        storage: The storage.
        offset: Position of the first number in it.
        shape: Its shape.
        strides: Steps along each dimension, in numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _NumberType(Opaque):
    code: str


def _fitting(function: Callable[..., Any], name: str) -> Name:
    """Returns a name whose call takes as many arguments as ``function`` does."""
    parameters = function.__code__.co_argcount
    fewest = parameters - len(function.__defaults__ or ())

    def make(arguments: tuple[Any, ...]) -> Any:
        if not fewest <= len(arguments) <= parameters:
            raise CheckpointError(f"is damaged: {name} is called with {len(arguments)} arguments")
        return function(*arguments)

    return Name(name, make)


def is_size(value: object) -> bool:
    """Returns whether a value can be a count: an int from 0 to 2^63 - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _sizes(value: Any) -> tuple[int, ...]:
    if (
        not isinstance(value, tuple)
        or len(value) > _MAX_DIMENSIONS
        or not all(is_size(v) for v in value)
    ):
        raise CheckpointError("is damaged: a tensor's shape, strides or offset are no numbers")
    return value


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _requires_grad: Any = None,
    _hooks: Any = None,
    _metadata: Any = None,
) -> StoredTensor:
    """Describes a tensor; one that reaches beyond its storage, or repeats it, is refused."""
    if not isinstance(storage, Storage):
        raise CheckpointError(f"is damaged: a tensor is made of {shown(storage)}")
    (offset,), shape, strides = _sizes((offset,)), _sizes(shape), _sizes(strides)
    count = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=False))
    if len(shape) != len(strides) or count > storage.size or (count and last >= storage.size):
        raise CheckpointError("is damaged: a tensor does not fit into its storage")
    return StoredTensor(storage, offset, shape, strides)


def _parameter(data: Any, _requires_grad: Any = None, _hooks: Any = None, _: Any = None) -> Any:
    if not isinstance(data, StoredTensor):
        raise CheckpointError(f"is damaged: a parameter is made of {shown(data)}")
    return data


def _dict(items: Any = ()) -> dict[Any, Any]:
    """Makes an ordered dict; Python 2 gives its items as a list of pairs."""
    if not isinstance(items, list | tuple) or not all(
        isinstance(item, list | tuple) and len(item) == 2 for item in items
    ):
        raise CheckpointError("is damaged: an ordered dict is not made of pairs")
    return {as_key(key): value for key, value in items}


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, list | tuple):
        raise CheckpointError(f"is damaged: a set is made of {shown(items)}")
    return {as_key(item) for item in items}


def _encode(text: Any, encoding: Any) -> bytes:
    """Decodes bytes as Python 3 writes them for Python 2; here only a single number's."""
    if not isinstance(text, str) or len(text) > 64 or encoding != "latin1":
        raise CheckpointError(f"is refused: it encodes {shown(text)} as {shown(encoding)}")
    return text.encode("latin1", "replace")


def _number_type(code: Any, _align: Any = None, _copy: Any = None) -> _NumberType:
    if not isinstance(code, str) or code not in _NUMBERS:
        raise CheckpointError(f"is refused: it has numbers of the type {shown(code)}")
    return _NumberType(code)


def _number(kind: Any, data: Any) -> float | int | bool:
    """Reads a numpy scalar: the authors' code saves an accuracy as one."""
    raw = data.encode("latin1", "replace") if isinstance(data, str) else data
    if not isinstance(kind, _NumberType) or not isinstance(raw, bytes):
        raise CheckpointError("is damaged: a number of numpy's is not one")
    form = "<" + _NUMBERS[kind.code]
    if len(raw) != struct.calcsize(form):
        raise CheckpointError("is damaged: a number of numpy's has the wrong length")
    number: float | int | bool = struct.unpack(form, raw)[0]
    return number


def _backend() -> None:
    """Stands for the ``_backend`` of modules before torch 1.0, which is not needed."""


def _module(name: str) -> Name:
    def make(arguments: tuple[Any, ...]) -> Described:
        if arguments:
            raise CheckpointError(f"is damaged: a {name} is made with arguments")
        return Described(name)

    return Name(name, make)


_CALLS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": _dict,
    "__builtin__ set": _set,
    "builtins set": _set,
    "_codecs encode": _encode,
    "numpy dtype": _number_type,
    "numpy.core.multiarray scalar": _number,
    "numpy._core.multiarray scalar": _number,
    "torch Size": _sizes,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "torch.nn.parameter Parameter": _parameter,
    "torch.autograd.variable Variable": _parameter,
    "torch.nn.backends.thnn _get_thnn_function_backend": _backend,
}


def _allowed() -> dict[str, Name]:
    names = {
        f"{module} {name}": _module(f"{module}.{name}")
        for module, classes in MODULES.items()
        for name in classes
    }
    names |= {text: _fitting(call, text.replace(" ", ".")) for text, call in _CALLS.items()}
    for module in ("torch", "torch.cuda"):
        names |= {f"{module} {kind}": Name(f"{module}.{kind}") for kind in STORAGES}
    return names


ALLOWED = _allowed()
"""All names by ``"module name"``."""
