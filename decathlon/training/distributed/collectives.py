"""Messages between the processes of a data-parallel training: JSON and tensors as bytes.

torch's own messages of objects are pickles; these are not. With one process, each is its
own sender. All processes have to call the same function at the same point.
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
    """Returns the first process's JSON value, in all processes; what others give is ignored."""
    return json.loads(_broadcast(json.dumps(value).encode())) if num_processes() > 1 else value


def all_gather(value: Any) -> list[Any]:
    """Returns the JSON values of all processes, in their order, in all of them."""
    if num_processes() == 1:
        return [value]
    return [json.loads(text) for text in _all_gather(json.dumps(value).encode())]


def all_reduce_max(value: int) -> int:
    """Returns the highest of the values that the processes give, in all of them."""
    if num_processes() == 1:
        return value
    tensor = torch.tensor([value], device=_device())
    meet(dist.all_reduce, tensor, dist.ReduceOp.MAX)
    return int(tensor)


def waits_for_gpu() -> bool:
    """Returns whether a message has to wait for all that a GPU has been given to do."""
    return num_processes() > 1 and _device().type == "cuda"


def broadcast_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the first process's tensors by name, in all processes, on the CPU."""
    return load(_broadcast(_packed(tensors))) if num_processes() > 1 else dict(tensors)


def all_gather_tensors(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Returns the tensors of all processes, in their order, in all of them."""
    if num_processes() == 1:
        return [dict(tensors)]
    return [load(content) for content in _all_gather(_packed(tensors))]


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Turns tensors into bytes; those that are one in memory become several."""
    plain = {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}
    return save(plain)


def _device() -> torch.device:
    """Returns where the current group's messages have to be."""
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
