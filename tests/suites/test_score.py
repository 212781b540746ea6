"""The score against exact fractions, and its properties."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import decathlon
from decathlon.common.errors import UsageError
from decathlon.suites.score import domain_points, points, slope
from decathlon.suites.visual_decathlon import BASELINE, DOMAINS, SCORE, decathlon_score

counts = st.integers(1, 50_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
all_counts = st.fixed_dictionaries({}, optional=dict.fromkeys(DOMAINS, counts))


def exact(wrong: dict[str, tuple[int, int]]) -> Fraction:
    total = Fraction(0)
    for name, (k, n) in wrong.items():
        limit = 2 * (100 - Fraction(str(BASELINE[name]))) / 100
        total += 1000 / limit**2 * max(Fraction(0), limit - Fraction(k, n)) ** 2
    return total


@given(all_counts)
def test_equals_the_formula_in_exact_fractions(wrong: dict[str, tuple[int, int]]) -> None:
    score = decathlon_score({name: k / n for name, (k, n) in wrong.items()})
    assert score == pytest.approx(float(exact(wrong)), abs=1e-8)


def test_fine_tuning_baseline_scores_2500() -> None:
    errors = {name: 1 - percent / 100 for name, percent in BASELINE.items()}
    assert decathlon.decathlon_score(errors) == pytest.approx(2500, abs=1e-9)
    assert all(p == pytest.approx(250) for p in domain_points(errors, SCORE.e_max).values())


def test_perfect_scores_exactly_10000_and_nothing_scores_0() -> None:
    assert decathlon_score(dict.fromkeys(DOMAINS, 0.0)) == 10_000
    assert decathlon_score(dict.fromkeys(DOMAINS, 1.0)) == 0
    assert decathlon_score({}) == 0


@given(st.sampled_from(list(DOMAINS)), st.floats(0, 1), st.floats(0, 1))
def test_falls_in_every_error_and_is_0_from_e_max_on(name: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert decathlon_score({name: low}) >= decathlon_score({name: high})
    limit = SCORE.e_max[name]
    assert decathlon_score({name: min(1.0, max(limit, high))}) == 0
    if high < limit and low < high - 1e-9:
        assert decathlon_score({name: low}) > decathlon_score({name: high})


@given(st.permutations(list(DOMAINS)), st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_does_not_depend_on_the_order_of_domains(order: list[str], errors: list[float]) -> None:
    given_errors = dict(zip(DOMAINS, errors, strict=True))
    shuffled = {name: given_errors[name] for name in order}
    assert decathlon_score(shuffled) == decathlon_score(given_errors)


@given(st.sampled_from(list(DOMAINS)), st.floats(0, 1))
def test_slope_is_the_derivative_per_accuracy_point(name: str, share: float) -> None:
    limit = SCORE.e_max[name]
    error, step = share * limit, 1e-7
    rise = (points(error - step, limit) - points(error + step, limit)) / (2 * step)
    assert slope(error, limit) == pytest.approx(rise / 100, rel=1e-3, abs=2e-3 / limit**2)


@pytest.mark.parametrize("error", [-0.01, 1.01, math.nan, math.inf, 57.0])
def test_refuses_what_is_no_share(error: float) -> None:
    with pytest.raises(UsageError, match=r"error of dtd is .* outside \[0, 1\]"):
        decathlon_score({"dtd": error})


def test_refuses_an_unknown_domain_and_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown domain 'vgg_flowers', did you mean"):
        decathlon_score({"vgg_flowers": 0.1})


def test_own_e_max_replaces_the_official_one() -> None:
    assert decathlon_score({"own": 0.1}, {"own": 0.2}) == pytest.approx(250)
    with pytest.raises(UsageError, match="unknown domain 'dtd'"):
        decathlon_score({"dtd": 0.1}, {"own": 0.2})
    for limit in (0.0, math.nan, -1.0, math.inf):
        with pytest.raises(UsageError, match="has to be above 0"):
            decathlon_score({"own": 0.1}, {"own": limit})
