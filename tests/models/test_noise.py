"""Keyed noise: uniform, independent, and a function of key and image alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from decathlon.models.noise import _BITS, _inside_unit, keyed_uniform

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(key=INT64, ids=st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_noise_of_an_image_does_not_depend_on_its_batch(key: int, ids: list[int]) -> None:
    whole = keyed_uniform(key, torch.tensor(ids), 5)
    alone = torch.cat([keyed_uniform(key, torch.tensor([i]), 5) for i in ids])
    assert torch.equal(whole, alone)
    assert ((whole > 0) & (whole < 1)).all()


def test_noise_is_uniform() -> None:
    drawn = keyed_uniform(42, torch.arange(100_000) + 10_200_001, 4)
    counts = torch.histc(drawn, 100, 0, 1)
    expected = drawn.numel() / 100
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    assert chi2 < 160  # 99 degrees of freedom: above 160 once in 10,000


def test_neighbouring_images_keys_and_columns_are_uncorrelated() -> None:
    ids = torch.arange(100_000)
    a, b = keyed_uniform(1, ids, 2), keyed_uniform(2, ids, 2)
    series = torch.stack([a[:-1, 0], a[1:, 0], a[:-1, 1], b[:-1, 0]])
    off = torch.corrcoef(series).fill_diagonal_(0).abs().max().item()
    assert off < 0.015  # five standard errors


def test_different_keys_give_different_noise() -> None:
    ids = torch.arange(10)
    assert not torch.equal(keyed_uniform(1, ids, 3), keyed_uniform(2, ids, 3))


def test_the_largest_and_smallest_numbers_give_finite_gumbel_noise() -> None:
    extremes = _inside_unit(torch.tensor([0, 1, 2**_BITS - 2, 2**_BITS - 1]))
    assert ((extremes > 0) & (extremes < 1)).all()
    assert torch.isfinite(-torch.log(-torch.log(extremes))).all()
    assert len(extremes.unique()) == 4
