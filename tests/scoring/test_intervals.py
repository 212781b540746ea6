"""Intervals: against scipy's Beta, by simulated coverage, paired and not."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from decathlon.common.errors import ResultError, UsageError
from decathlon.results.records import pack_bits, write_record
from decathlon.scoring import intervals
from decathlon.scoring.board import board_of
from decathlon.scoring.compare import compare
from decathlon.scoring.entries import read_entries
from decathlon.scoring.notes import interval_note
from decathlon.suites.visual_decathlon import DOMAINS, SCORE, SUITE, decathlon_score
from tests.scoring.making import bits_with, everywhere, make_record

AddRuns = Callable[..., None]


@pytest.mark.parametrize(("correct", "total"), [(0, 7), (1, 2), (45, 60), (1830, 1880), (7, 7)])
def test_one_record_has_jeffreys_posterior(correct: int, total: int) -> None:
    bits = np.array([bits_with(correct, total)], dtype=np.uint8)
    drawn = 1 - intervals.draw_errors(bits, np.random.default_rng(1), 20_000)[0]
    beta = stats.beta(correct + 0.5, total - correct + 0.5)
    assert stats.kstest(drawn, beta.cdf).pvalue > 0.001


@pytest.mark.parametrize("row", [0, 1, 2])
def test_each_of_several_records_keeps_its_posterior(row: int) -> None:
    bits = np.array([bits_with(k, 40, seed=k) for k in (10, 30, 39)], dtype=np.uint8)
    drawn = 1 - intervals.draw_errors(bits, np.random.default_rng(2), 20_000)[row]
    correct = int(bits[row].sum())
    beta = stats.beta(correct + 0.5, 40 - correct + 0.5)
    assert stats.kstest(drawn, beta.cdf).pvalue > 0.001


def test_records_of_the_same_images_are_drawn_together() -> None:
    a = bits_with(300, 400)
    b = [not bit if i < 8 else bit for i, bit in enumerate(a)]
    bits = np.array([a, b], dtype=np.uint8)
    drawn = intervals.draw_errors(bits, np.random.default_rng(3), 20_000)
    gap = drawn[0] - drawn[1]
    change = np.array(a, dtype=float) - np.array(b, dtype=float)
    paired = np.sqrt((change**2).sum()) / 400
    assert gap.std() == pytest.approx(paired, rel=0.15)
    assert gap.std() < drawn[0].std() / 2


def test_more_than_eight_records_at_once() -> None:
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2, size=(20, 30), dtype=np.uint8)
    drawn = intervals.draw_errors(bits, rng, 4000)
    expected = (30 - bits.sum(axis=1) + 0.5) / 31
    assert drawn.mean(axis=1) == pytest.approx(expected, abs=0.01)


def test_intervals_of_s_cover_the_truth() -> None:
    """Draws data from known accuracies; 95 % of the intervals have to hold the true S.

    One domain lies beyond E_max and one near its end: where S is clipped and steep.
    """
    truth = {"dtd": 0.55, "gtsrb": 0.985, "svhn": 0.96, "daimlerpedcls": 0.86, "aircraft": 0.18}
    sizes = {"dtd": 300, "gtsrb": 500, "svhn": 400, "daimlerpedcls": 300, "aircraft": 200}
    true_score = decathlon_score({name: 1 - share for name, share in truth.items()})
    rng = np.random.default_rng(5)
    repeats, inside = 400, 0
    for _ in range(repeats):
        counts = {n: (int(rng.binomial(sizes[n], truth[n])), sizes[n]) for n in truth}
        (low, high), _ = intervals.count_intervals(counts, SCORE.e_max)
        inside += low <= true_score <= high
    # The standard error of a coverage of 95 % over 400 repeats is 1.1 %.
    assert 0.92 <= inside / repeats <= 0.985


def test_intervals_are_the_same_each_time(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", everywhere(80, 100))
    first = board_of(results).rows[-1].ci
    add_runs("another", everywhere(30, 100))
    rows = {row.label: row for row in board_of(results).rows}
    assert rows["mine"].ci == first


def test_intervals_narrow_with_more_images(results: Path, add_runs: AddRuns) -> None:
    add_runs("few", {"dtd": (30, 50)}, official=False)
    few = build_interval(results, "few")
    more = results.parent / "more"
    bits = [bit for _ in range(16) for bit in bits_with(30, 50)]
    write_record(more, make_record("many", "dtd", bits))
    many = build_interval(more, "many")
    assert many == pytest.approx(few / 4, rel=0.15)


def build_interval(results: Path, name: str) -> float:
    trials = read_entries(results, "test", SUITE)[name]
    drawn = intervals.draw([trials], SCORE.e_max)[0]
    low, high = intervals.interval(drawn.accuracy["dtd"])
    return high - low


def test_board_interval_is_that_of_the_counts(results: Path, add_runs: AddRuns) -> None:
    counts = {"dtd": (1316, 1880), "svhn": (25_511, 26_032)}
    add_runs("mine", counts)
    row = board_of(results).rows[-1]
    (low, high), accuracy = intervals.count_intervals(counts, SCORE.e_max)
    assert row.ci == (pytest.approx(low, rel=0.02), pytest.approx(high, rel=0.02))
    assert row.accuracy_ci is not None
    assert row.accuracy_ci["dtd"] == pytest.approx(accuracy["dtd"], abs=0.15)


def test_seeds_are_resampled_from_five_on(results: Path, add_runs: AddRuns) -> None:
    for seed in range(5):
        counts = {"dtd": (600 + 60 * seed, 1000)}
        add_runs("five", counts, seed=seed)
        if seed < 4:
            add_runs("four", counts, seed=seed)
    trials = read_entries(results, "test", SUITE)
    four, five = intervals.draw([trials["four"], trials["five"]], SCORE.e_max)
    # The mean of five seeds spread by 84.9 images per mille has a standard error of 3.8 points.
    assert five.accuracy["dtd"].std() > 3.0
    assert four.accuracy["dtd"].std() < 1.2
    note = interval_note(board_of(results).rows)
    assert note is not None
    assert "Fewer than 5 seeds (four): they cover the choice of images only." in note


def test_baseline_is_redrawn_in_pairs(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (600, 1000)}, official=False)
    add_runs("mine", {"dtd": (600, 1000)}, official=False)
    add_runs("other", {"dtd": (600, 1000)}, official=False, seed=9)
    rows = {row.label: row for row in board_of(results, baseline="base").rows}
    # The baseline's error over its own E_max is 1/2 whatever images are drawn.
    assert rows["base"].ci == (pytest.approx(250), pytest.approx(250))
    widths = {name: row.ci[1] - row.ci[0] for name, row in rows.items() if row.ci}
    # The same predictions move with the baseline, others do not.
    assert widths["mine"] < 0.2 * widths["other"]


def test_ten_thousand_draws_of_ten_official_domains_take_under_a_second(results: Path) -> None:
    rng = np.random.default_rng(6)
    for name, domain in DOMAINS.items():
        bits = (rng.random(domain.sizes[2]) < 0.8).tolist()
        write_record(results, make_record("mine", name, bits))
    trials = read_entries(results, "test", SUITE)["mine"]
    began = time.process_time()
    drawn = intervals.draw([trials], SCORE.e_max)[0]
    assert time.process_time() - began < 1
    assert drawn.score.shape == (10_000,)


def test_comparison_of_equal_predictions_is_zero(results: Path, add_runs: AddRuns) -> None:
    add_runs("mine", everywhere(80, 100))
    found = compare("mine", "mine", results)
    assert found.score.difference == 0
    assert found.score.ci == (0, 0)
    assert found.score.probability == 0.5
    assert "within noise" in found.notes[0]


def test_comparison_finds_a_consistent_gain_that_unpaired_intervals_miss(results: Path) -> None:
    weak = bits_with(1316, 1880)
    gains = [i for i, bit in enumerate(weak) if not bit][:47]
    strong = [bit or i in gains for i, bit in enumerate(weak)]
    write_record(results, make_record("weak", "dtd", weak))
    write_record(results, make_record("strong", "dtd", strong))
    found = compare("strong", "weak", results)
    assert found.score.probability > 0.999
    assert not found.score.within_noise
    assert found.accuracy["dtd"].difference == pytest.approx(2.5)
    low, high = found.accuracy["dtd"].ci
    assert 1.3 < low < 2.5 < high < 3.9
    rows = {row.label: row for row in board_of(results).rows}
    assert rows["weak"].ci is not None
    assert rows["strong"].ci is not None
    assert rows["weak"].ci[1] > rows["strong"].ci[0]


def test_comparison_turns_round(results: Path, add_runs: AddRuns) -> None:
    add_runs("a", everywhere(80, 100), seed=0)
    add_runs("b", everywhere(70, 100), seed=1)
    one, two = compare("a", "b", results).score, compare("b", "a", results).score
    assert one.difference == -two.difference
    assert one.probability == pytest.approx(1 - two.probability, abs=0.02)


def test_comparison_is_on_common_domains_and_says_so(results: Path, add_runs: AddRuns) -> None:
    add_runs("a", {"dtd": (40, 50), "svhn": (49, 50)})
    add_runs("b", {"dtd": (30, 50), "gtsrb": (49, 50)})
    found = compare("a", "b", results)
    assert list(found.accuracy) == ["dtd"]
    assert found.score.a == pytest.approx(decathlon_score({"dtd": 0.2}))
    assert "a lacks gtsrb: left out for both." in found.notes
    assert "b lacks svhn: left out for both." in found.notes


def test_comparison_with_a_baseline(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (30, 50)}, official=False)
    add_runs("a", {"dtd": (40, 50)}, official=False)
    with pytest.raises(ResultError, match="--baseline NAME"):
        compare("a", "base", results)
    found = compare("a", "base", results, baseline="base")
    assert found.score.b == pytest.approx(250)
    assert found.score.a == pytest.approx(1000 * 0.75**2)


def test_comparison_refuses_what_cannot_be_paired(results: Path, add_runs: AddRuns) -> None:
    add_runs("a", {"dtd": (40, 50)}, data={"test": "1" * 64})
    add_runs("b", {"dtd": (40, 50)}, data={"test": "2" * 64})
    with pytest.raises(ResultError, match=r"predictions\.json is missing"):
        compare("a", "b", results)
    with pytest.raises(UsageError, match=r"no test results of 'c'.*published rows"):
        compare("a", "c", results)
    add_runs("d", {"svhn": (40, 50)})
    with pytest.raises(ResultError, match="no domain with known test labels in common"):
        compare("a", "d", results)


def test_other_shards_of_the_same_images_can_be_paired(
    results: Path, add_runs: AddRuns, add_predictions: Callable[..., None]
) -> None:
    for name, digest, first in (("a", "1", 100), ("b", "2", 100), ("c", "3", 900)):
        add_runs(name, {"dtd": (40, 50)}, data={"test": digest * 64})
        add_predictions(name, "dtd", [(first + i, 1) for i in range(1880)])
    assert compare("a", "b", results).score.difference == 0
    with pytest.raises(ResultError, match="evaluated on different images"):
        compare("a", "c", results)


def test_bits_survive_packing() -> None:
    bits = bits_with(13, 29)
    record = make_record("mine", "dtd", bits)
    assert intervals.bits_of(record).tolist() == [int(bit) for bit in bits]
    assert record.correctness == pack_bits(bits)


def test_drawing_block_by_block_changes_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many records make many groups of images; how many are drawn at once plays no part."""
    bits = np.random.default_rng(0).integers(0, 2, (9, 600), dtype=np.uint8)
    whole = intervals.draw_errors(bits, np.random.default_rng(1), 50)
    monkeypatch.setattr(intervals, "BLOCK", 7)
    parts = intervals.draw_errors(bits, np.random.default_rng(1), 50)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
