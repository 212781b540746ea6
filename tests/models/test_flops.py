"""Floating-point operations, by hand."""

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from decathlon.models.flops import count_flops


def test_a_multiply_add_counts_as_two() -> None:
    assert count_flops(lambda: linear(torch.ones(5, 3), torch.ones(7, 3))) == 2 * 5 * 3 * 7


def test_attention_counts_on_every_device() -> None:
    """torch does not count its fused attention on a CPU."""
    for device in ("cpu", "meta"):
        x = torch.ones(1, 2, 10, 4, device=device)
        with torch.inference_mode():
            counted = count_flops(lambda x=x: scaled_dot_product_attention(x, x, x))
        assert counted == 2 * (2 * 2 * 10 * 10 * 4)  # queries by keys, and shares by values
