"""bf16: which devices multiply it, and how the others compute the same.

A processor without bf16 instructions gets from torch a convolution written for none in
particular, tens of times slower than one in 32 bits (pytorch/pytorch issues 118499, 146508
and 183815). What bf16 hardware computes is the product of rounded numbers, summed in 32
bits and rounded again; that is done here with the 32-bit product, at its speed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from decathlon.training.patches import convolution_backward

aten = torch.ops.aten
PRODUCTS = {
    *(aten.convolution, aten.convolution_backward, aten.conv1d, aten.conv2d, aten.conv3d),
    *(aten.conv_transpose1d, aten.conv_transpose2d, aten.conv_transpose3d),
    *(aten.linear, aten.matmul, aten.mm, aten.addmm, aten.bmm, aten.baddbmm),
}
"""Operations that multiply. Without a graph they arrive whole (conv2d), else as their parts."""


def multiplies_bf16(accelerator: str) -> bool:
    """Tells whether a GPU since Ampere, or a processor with AVX512-BF16 or AMX, is there.

    Args:
        accelerator: ``cpu``, ``cuda`` or ``mps``.
    """
    if accelerator == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if accelerator != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    # torch 2.6 to 2.8, at least, have no other.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def described(precision: Precision) -> str:
    """Names a precision; two of one name give the same results but for the last bits."""
    how = " by products in 32 bits" if isinstance(precision, RoundedBf16) else ""
    return f"{precision.precision}{how}"


class RoundedBf16(MixedPrecision):
    """bf16-mixed whose products are those of bf16 hardware, computed in 32 bits."""

    def __init__(self, device: str) -> None:
        super().__init__("bf16-mixed", device)

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """Computes in bf16 where torch's autocast does."""
        with super().forward_context(), RoundedProducts():
            yield

    def backward(self, tensor: Tensor, model: nn.Module | None, *args: Any, **kwargs: Any) -> None:
        """Takes the gradients of a loss."""
        with RoundedProducts():
            super().backward(tensor, model, *args, **kwargs)


class RoundedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Where this is in force, products of bf16 numbers are taken in 32 bits and rounded."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls an operation, on wider copies of its bf16 tensors if it is a product."""
        kwargs = kwargs or {}
        if func.overloadpacket not in PRODUCTS or not _bf16(args):
            return func(*args, **kwargs)
        if func.overloadpacket is aten.convolution_backward:
            out = convolution_backward(*args)
        else:
            out = func(*tree_map_only(Tensor, _widened, args), **kwargs)
        return tree_map_only(Tensor, lambda t: t.to(torch.bfloat16), out)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype is torch.bfloat16 else tensor


def _bf16(args: Any) -> bool:
    return any(isinstance(arg, Tensor) and arg.dtype is torch.bfloat16 for arg in args)
