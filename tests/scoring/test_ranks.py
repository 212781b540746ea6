"""Ranks that admit ties: their intervals, and which runs the diagram joins."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from decathlon.common.errors import ResultError, UsageError
from decathlon.results.records import write_record
from decathlon.scoring.board import Board, board_of
from decathlon.scoring.columns import cells, columns_of, default_keys, notes_of
from decathlon.scoring.entries import read_entries
from decathlon.scoring.figures.plot import FigureRequest, ranks
from decathlon.scoring.ranks import holm, joined
from decathlon.scoring.render.dispatch import text_of
from decathlon.suites.fine_grained import SUITE as FINE_GRAINED
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.making import bits_with, fine_grained, make_record

AddRuns = Callable[..., None]
DOMAINS = ("aircraft", "dtd", "svhn")


def shown(board: Board) -> dict[str, str]:
    lines = cells(board, columns_of(board, ["rank_ci"]))
    return {row.label: line[0].text for row, line in zip(board.rows, lines, strict=True)}


def test_equal_runs_share_their_ranks_and_a_better_one_has_its_own(
    results: Path, add_runs: AddRuns
) -> None:
    add_runs("best", dict.fromkeys(DOMAINS, (90, 100)))
    board = board_of(results)
    assert board.ranks == {}  # there is nothing to rank it among
    assert "rank_ci" not in default_keys(board)
    assert "rank" not in json.loads(text_of(board, "json"))["rows"][-1]
    for name in ("twin", "other-twin"):
        add_runs(name, dict.fromkeys(DOMAINS, (80, 100)))
    board = board_of(results)
    assert shown(board) | {"best": "1-1", "twin": "2-3", "other-twin": "2-3"} == shown(board)
    assert shown(board)["SpotTune"] == "-"
    assert default_keys(board)[-2:] == ["ci", "rank_ci"]
    rows = {row["label"]: row for row in json.loads(text_of(board, "json"))["rows"]}
    assert rows["twin"]["rank"] == {"low": 2, "high": 3}
    assert rows["SpotTune"]["rank"] is None
    assert "rank_low,rank_high" in text_of(board, "csv")
    (note,) = [note for note in notes_of(board, ["rank_ci"]) if note.startswith("Ranks")]
    assert "by S among the runs" in note
    assert note.endswith("Published rows have no predictions to draw from, and no rank.")


def test_ranks_are_paired_on_images(results: Path) -> None:
    """Right wherever another is, and on a few more images: better, though intervals overlap."""
    a = bits_with(300, 400)
    b = [bit and i >= 16 for i, bit in enumerate(a)]
    for name, bits in (("base", bits_with(200, 400, seed=5)), ("a", a), ("b", b)):
        write_record(results, make_record(name, "dtd", bits, official=False))
    board = board_of(results, baseline="base")
    intervals = {row.label: row.ci for row in board.rows}
    assert intervals["a"] is not None
    assert intervals["b"] is not None
    assert intervals["a"][0] < intervals["b"][1]
    assert board.ranks == {"a": (1, 1), "b": (2, 2), "base": (3, 3)}


def test_without_a_score_runs_with_most_domains_are_ranked(results: Path) -> None:
    for name, accuracy, spread in (("good", 80.0, 0), ("poor", 60.0, 1), ("worse", 59.9, 2)):
        fine_grained(results, name, {"cubs": accuracy, "flowers": accuracy}, spread)
    fine_grained(results, "short", {"flowers": 99.0})
    board = board_of(results, suite=FINE_GRAINED)
    assert board.ranks == {"good": (1, 1), "poor": (2, 3), "worse": (2, 3)}
    notes = notes_of(board, ["rank_ci"])
    assert any("short: no rank, for lack of domains that others have." in note for note in notes)
    assert any("by mean accuracy" in note for note in notes)


def test_runs_on_subsets_are_ranked_among_themselves(results: Path, add_runs: AddRuns) -> None:
    for name, share in (("a", 90), ("b", 70)):
        add_runs(name, dict.fromkeys(DOMAINS, (share, 100)))
        add_runs(name, dict.fromkeys(DOMAINS, (share - 30, 100)), subset="10shot")
    ranks = board_of(results).ranks
    assert ranks == {"a": (1, 1), "b": (2, 2), "a [10shot]": (1, 1), "b [10shot]": (2, 2)}


def test_holm_stops_at_the_first_that_is_kept() -> None:
    # In order: 0.005 <= 0.05 / 4, 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2.
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.03], 0.05) == [True]


@pytest.fixture
def chain(results: Path) -> Path:
    """Each run is like its neighbours, but the first and the third differ."""
    for seed, (name, correct) in enumerate((("first", 860), ("middle", 830), ("third", 800))):
        for domain in DOMAINS:
            bits = bits_with(correct, 1000, seed=seed)
            write_record(results, make_record(name, domain, bits, official=False))
    return results


def test_groups_hold_every_pair_that_cannot_be_told_apart(chain: Path) -> None:
    entries = read_entries(chain, "test", SUITE)
    runs = [entries[name] for name in ("first", "middle", "third")]
    e_max = {"dtd": 0.4}  # one domain: differences of 3 points are no more than chance
    assert joined(runs, ["dtd"], e_max, None, SUITE) == [(0, 1), (1, 2)]
    assert joined([runs[0], runs[2]], ["dtd"], e_max, None, SUITE) == []
    assert joined([runs[0], runs[0]], ["dtd"], e_max, None, SUITE) == [(0, 1)]


def bars(drawn: Figure) -> list[list[float]]:
    """The ranks that the bars of a diagram join."""
    (axes,) = drawn.axes
    return [
        [float(x) for x in line.get_xdata()]
        for line in axes.get_lines()
        if line.get_marker() == "o"
    ]


def request(results: Path, *names: str) -> FigureRequest:
    return FigureRequest(results, SUITE, "test", "base", names)


def test_the_diagram_joins_runs_at_their_mean_ranks(results: Path, add_runs: AddRuns) -> None:
    correct = {"base": (50, 52, 54), "b": (88, 84, 91), "a": (86, 89, 92), "c": (60, 66, 65)}
    for seed, (name, counts) in enumerate(correct.items()):
        for domain, count in zip(DOMAINS, counts, strict=True):
            bits = bits_with(count, 100, seed=seed)
            write_record(results, make_record(name, domain, bits, official=False))
    write_record(results, make_record("b", "ucf101", bits_with(9, 10), official=False))
    drawn = ranks(request(results))
    (axes,) = drawn.axes
    assert axes.get_xlabel() == "mean rank over 3 domains, test split"
    table = np.array(list(correct.values()))
    expected = stats.rankdata(-table, axis=0).mean(axis=1)
    said = [text.get_text() for text in axes.texts]
    for name, rank in zip(correct, expected, strict=True):
        assert said[said.index(name) - 1] == f"{rank:.2f}"
    # The mean ranks are those of Friedman's test, which has no ties to correct here.
    count, k = len(DOMAINS), len(correct)
    found = sum(float(said[said.index(name) - 1]) ** 2 for name in correct)
    friedman = 12 * count / (k * (k + 1)) * (found - k * (k + 1) ** 2 / 4)
    assert friedman == pytest.approx(stats.friedmanchisquare(*table).statistic, abs=0.1)
    assert bars(drawn) == [pytest.approx([expected[2], expected[1]])]


def test_ranks_need_runs_with_a_domain_in_common(results: Path, add_runs: AddRuns) -> None:
    add_runs("base", {"dtd": (30, 50), "svhn": (30, 50)}, official=False)
    with pytest.raises(ResultError, match="two runs of the test split"):
        ranks(request(results))
    add_runs("a", {"dtd": (40, 50)}, official=False)
    add_runs("b", {"svhn": (40, 50)}, official=False)
    with pytest.raises(ResultError, match="leave out those that lack domains with --name"):
        ranks(request(results))
    assert bars(ranks(request(results, "base", "a"))) == []
    add_runs("a", {"dtd": (20, 50)}, official=False, subset="1shot")
    with pytest.raises(UsageError, match="name runs on one of these only"):
        ranks(request(results, "base", "a", "a [1shot]"))
    assert bars(ranks(request(results, "base", "a"))) == []
