"""Tensors that share memory: written once, counted once, and the same tensor after reading.

A parameter that is registered under two names is one tensor; so is a contiguous tensor and a
view of a part of it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def ties(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Finds the tensors whose numbers all belong to another one.

    Args:
        tensors: By name.

    Returns:
        By name of such a tensor, JSON values for :func:`tie`: ``of``, the other one's name; for
        a view of a part also ``offset``, ``shape`` and ``stride``.
    """
    groups: dict[Any, list[str]] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        if storage and tensor.numel():
            groups.setdefault((storage, tensor.device, tensor.dtype), []).append(name)
    found = {}
    for names in groups.values():
        kept: list[str] = []
        for name in sorted(names, key=lambda name: -tensors[name].numel()):
            for other in kept:
                if (tie := _tie(tensors[name], tensors[other])) is not None:
                    found[name] = {"of": other, **tie}
                    break
            else:
                kept.append(name)
    return found


def distinct(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors without those that are parts of others."""
    tied = ties(tensors)
    return {name: tensor for name, tensor in tensors.items() if name not in tied}


def tie(tensors: dict[str, Tensor], tied: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds the tensors that :func:`ties` found, as views of those they belong to, in place.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: They do not fit.
    """
    for name, facts in tied.items():
        other = tensors[facts["of"]]
        if "shape" in facts:
            shape, stride = facts["shape"], facts["stride"]
            tensors[name] = torch.as_strided(
                other, shape, stride, other.storage_offset() + facts["offset"]
            )
        else:
            tensors[name] = other


def _tie(tensor: Tensor, other: Tensor) -> dict[str, Any] | None:
    """Says how a tensor lies in another of the same storage; None if parts of it do not."""
    offset = tensor.storage_offset() - other.storage_offset()
    if offset == 0 and (tensor.shape, tensor.stride()) == (other.shape, other.stride()):
        return {}
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    end = offset + 1 + sum((size - 1) * stride for size, stride in steps)
    if offset < 0 or end > other.numel() or not other.is_contiguous():
        return None
    return {"offset": offset, "shape": list(tensor.shape), "stride": list(tensor.stride())}
