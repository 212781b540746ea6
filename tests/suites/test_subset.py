"""Subsets of training images: sizes, nesting, and what they depend on."""

import numpy as np
import pytest

from decathlon.common.errors import UsageError
from decathlon.suites.subset import Subset

LABELS = np.repeat(np.arange(5), [3, 10, 29, 80, 1])
IDS = np.random.default_rng(0).permutation(1000)[: len(LABELS)].astype(np.int64)


def ids(subset: Subset) -> set[int]:
    return set(IDS[subset.of(LABELS, IDS)].tolist())


def test_shots_are_images_of_each_class() -> None:
    taken = Subset(shots=10).of(LABELS, IDS)
    assert np.bincount(LABELS[taken]).tolist() == [3, 10, 10, 10, 1]
    assert (np.diff(taken) > 0).all()


def test_a_fraction_of_each_class_is_rounded_half_up_and_at_least_one() -> None:
    taken = Subset(fraction=0.25).of(LABELS, IDS)
    assert np.bincount(LABELS[taken]).tolist() == [1, 3, 7, 20, 1]
    assert len(Subset(fraction=1.0).of(LABELS, IDS)) == len(LABELS)


def test_smaller_subsets_are_parts_of_larger_ones() -> None:
    assert ids(Subset(shots=2)) < ids(Subset(shots=5)) < ids(Subset(shots=10))
    assert ids(Subset(fraction=0.1)) < ids(Subset(fraction=0.25))


def test_another_draw_gives_other_images() -> None:
    assert ids(Subset(shots=5)) != ids(Subset(shots=5, draw=1))


def test_the_order_of_the_images_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(IDS))
    taken = Subset(shots=5).of(LABELS[order], IDS[order])
    assert set(IDS[order][taken].tolist()) == ids(Subset(shots=5))


@pytest.mark.parametrize(
    ("subset", "name"),
    [
        (Subset(shots=10), "10shot"),
        (Subset(fraction=0.25), "25pct"),
        (Subset(fraction=0.125, draw=2), "12.5pct.d2"),
    ],
)
def test_its_name_tells_its_size_and_draw(subset: Subset, name: str) -> None:
    assert str(subset) == name


@pytest.mark.parametrize("fraction", [1 / 3, 0.33333333, 0.0012345678, 1e-9, 0.29, 0.9999999])
def test_subsets_of_one_name_have_the_same_images(fraction: float) -> None:
    labels, every = np.zeros(30_000, np.int64), np.arange(30_000)
    subset = Subset(fraction=fraction)
    named = Subset.named(str(subset))
    assert named == subset
    assert np.array_equal(named.of(labels, every), subset.of(labels, every))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"shots": 1, "fraction": 0.5}, {"shots": 0}, {"fraction": 0.0}, {"fraction": 1.5},
     {"fraction": float("nan")}, {"shots": 1, "draw": -1}],
)  # fmt: skip
def test_what_is_no_subset_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Subset(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subset", "name", "words"),
    [
        (Subset(shots=10), "10shot", "10 images per class"),
        (Subset(shots=1, draw=2), "1shot.d2", "1 image per class"),
        (Subset(fraction=0.25), "25pct", "25 % of the training images"),
        (Subset(fraction=0.005, draw=1), "0.5pct.d1", "0.5 % of the training images"),
    ],
)
def test_a_name_gives_its_subset(subset: Subset, name: str, words: str) -> None:
    assert (str(subset), subset.in_words) == (name, words)
    assert Subset.named(name) == subset
    assert Subset.named(name).size == name.partition(".d")[0]


@pytest.mark.parametrize(
    "name", ["", "shot", "0shot", "101pct", "1.2.3pct", "5shot.d", "5shot.d-1", "../5shot"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        Subset.named(name)
