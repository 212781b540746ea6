"""Counts of floating-point operations."""

from collections.abc import Callable

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(work: Callable[[], object]) -> int:
    """Counts the operations of convolutions and matrix products, a multiply-add as two.

    The count is the same on every device. torch does not count its fused attention on a CPU and
    sees nothing of compiled code, so attention is computed as two products, and nothing compiled.

    Args:
        work: What to count, such as a forward pass.
    """
    plain = torch.compiler.set_stance("force_eager")
    with plain, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())
