"""Gradients of convolutions by patches, beside torch's own in double precision."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decathlon.training import patches
from decathlon.training.patches import convolution_backward, weight_gradient

pair = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)
aten = torch.ops.aten


@settings(max_examples=60, deadline=None)
@given(
    num_images=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 16]),
    kernel=pair,
    stride=pair,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)).map(list),
    dilation=pair,
    at_once=st.integers(1, 4),
    last=st.booleans(),
)
def test_a_weights_gradient_is_torchs(
    num_images: int,
    channels: int,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    at_once: int,
    last: bool,
) -> None:
    drawn = torch.Generator().manual_seed(num_images)
    images = torch.randn(num_images, channels, 9, 8, generator=drawn).bfloat16()
    if last:
        images = images.contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(4, channels, *kernel, dtype=torch.float64, requires_grad=True)
    out = torch.nn.functional.conv2d(images.double(), weight, None, stride, padding, dilation)
    towards = torch.randn(out.shape, generator=drawn)
    (expected,) = torch.autograd.grad(out, weight, towards.double())
    with pytest.MonkeyPatch.context() as patched:
        each = out[0, 0].numel() * weight[0].numel()
        patched.setattr(patches, "NUMBERS", at_once * each)
        found = weight_gradient(towards, images, weight.shape[2:], stride, padding, dilation)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [patches.FEWEST_CHANNELS, patches.FEWEST_CHANNELS - 1])
@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3)))
def test_the_gradients_that_are_wanted_are_torchs(channels: int, wanted: tuple[bool, ...]) -> None:
    drawn = torch.Generator().manual_seed(1)
    images = torch.randn(3, channels, 9, 9, generator=drawn).bfloat16()
    weight = torch.randn(6, channels, 3, 3, generator=drawn).bfloat16()
    gradient = torch.randn(3, 6, 5, 5, generator=drawn).bfloat16()
    how = ([6], [2, 2], [1, 1], [1, 1], False, [0, 0], 1, list(wanted))
    found = convolution_backward(gradient, images, weight, *how)
    exact = [one.double() for one in (gradient, images, weight)]
    for got, expected, needed in zip(
        found, aten.convolution_backward(*exact, *how), wanted, strict=True
    ):
        if needed:  # of a bias alone torch returns the weight's too
            torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)


def test_patches_are_written_for_a_few_images_at_a_time() -> None:
    """Of 64 images at ResNet-26's first macro block they would be 151 MB."""
    images = torch.zeros(64, 64, 32, 32, dtype=torch.bfloat16)
    gradient = torch.zeros(64, 8, 32, 32)
    with torch.profiler.profile(profile_memory=True) as seen:
        weight_gradient(gradient, images, torch.Size([3, 3]), [1, 1], [1, 1], [1, 1])
    largest = max(event.self_cpu_memory_usage for event in seen.events())
    padded = 64 * 64 * 34 * 34 * 2
    assert largest == max(padded, 2 * 32 * 32 * 9 * 64 * 4)
