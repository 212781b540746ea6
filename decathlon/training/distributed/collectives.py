"""Broadcast, all-gather and all-reduce of JSON values and tensors, without pickles.

torch's own collectives for objects pickle them; these send JSON and safetensors. All ranks have
to make the same call at the same point. With a world size of 1, nothing is sent.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor

from decathlon.models.processes import current_group, meet, num_processes, rank


def broadcast(value: Any) -> Any:
    """Returns rank 0's JSON value on every rank; the values of other ranks are ignored."""
    return json.loads(_broadcast(json.dumps(value).encode())) if num_processes() > 1 else value


def all_gather(value: Any) -> list[Any]:
    """Returns the JSON values of all ranks, in the order of ranks, on every rank."""
    if num_processes() == 1:
        return [value]
    return [json.loads(text) for text in _all_gather(json.dumps(value).encode())]


def all_reduce_max(value: int) -> int:
    """Returns the highest value of all ranks, on every rank."""
    if num_processes() == 1:
        return value
    tensor = torch.tensor([value], device=_device())
    meet(dist.all_reduce, tensor, dist.ReduceOp.MAX)
    return int(tensor)


def waits_for_gpu() -> bool:
    """Returns whether a collective has to wait until the GPU has done all its queued work."""
    return num_processes() > 1 and _device().type == "cuda"


def broadcast_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns rank 0's tensors by name, on every rank, in main memory."""
    return load(_broadcast(_packed(tensors))) if num_processes() > 1 else dict(tensors)


def all_gather_tensors(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Returns the tensors of all ranks, in the order of ranks, on every rank."""
    if num_processes() == 1:
        return [dict(tensors)]
    return [load(content) for content in _all_gather(_packed(tensors))]


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Serialises tensors; those that share memory are copied."""
    return save({n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()})


def _device() -> torch.device:
    """Returns the device that the current group's backend sends from."""
    nccl = dist.get_backend(current_group()) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).to(_device())


def _bytes(content: Tensor) -> bytes:
    return content.cpu().numpy().tobytes()


def _broadcast(content: bytes) -> bytes:
    length = torch.tensor([len(content)], device=_device())
    meet(dist.broadcast, length, 0)
    sent = _tensor(content) if rank() == 0 else length.new_empty(int(length), dtype=torch.uint8)
    meet(dist.broadcast, sent, 0)
    return _bytes(sent)


def _all_gather(content: bytes) -> list[bytes]:
    own = torch.tensor([len(content)], device=_device())
    lengths = [torch.empty_like(own) for _ in range(num_processes())]
    meet(dist.all_gather, lengths, own)
    sent = own.new_zeros(int(torch.cat(lengths).max()), dtype=torch.uint8)
    sent[: len(content)] = _tensor(content)
    found = [torch.empty_like(sent) for _ in lengths]
    meet(dist.all_gather, found, sent)
    return [_bytes(t[: int(n)]) for t, n in zip(found, lengths, strict=True)]
