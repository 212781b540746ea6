"""The coordinates of small charts."""

from itertools import pairwise

import pytest

from decathlon.scoring.site import charts


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0, 100, ["0", "20", "40", "60", "80", "100"]),
        (57.1, 59.4, ["57", "57.5", "58", "58.5", "59", "59.5"]),
        (0, 3899, ["0", "1000", "2000", "3000", "4000"]),
        (99.99, 99.99, ["99", "100"]),
    ],
)
def test_axes_end_at_round_numbers(low: float, high: float, texts: list[str]) -> None:
    axis = charts.Axis(low, high)
    assert [text for _, text in axis.ticks] == texts
    places = [x for x, _ in axis.ticks]
    assert (places[0], places[-1]) == (charts.EDGE, charts.STRIP - charts.EDGE)
    assert places[0] <= axis.x(low) <= axis.x(high) <= places[-1]


def test_a_strip_has_its_interval_and_the_best() -> None:
    drawn = charts.strip(charts.Axis(0, 100, 124), 50, (40, 60), 100)
    assert drawn == {"width": 124, "x": 62, "ends": [52, 72], "best": 112}


def test_a_curve_falls_from_top_to_bottom() -> None:
    (panel,) = charts.curves({"dtd": [(1, 4.0), (2, 2.0), (3, 0.0)], "svhn": []})
    wide, high = charts.PANEL
    assert panel["line"] == f"4.0,4.0 {wide / 2:.1f},{high / 2:.1f} {wide - 4:.1f},{high - 4:.1f}"
    assert panel["text"] == "4 in epoch 1, 0 in epoch 3"


def test_one_epoch_is_a_point() -> None:
    (panel,) = charts.curves({"dtd": [(1, 4.0)]})
    assert panel["end"] == (4.0, 4.0)


def mark(label: str, size: float, value: float) -> charts.Mark:
    return charts.Mark(label, f"{label}.html", size, value, None, own=False)


def test_only_rows_that_no_smaller_one_reaches_have_names() -> None:
    marks = [mark("a", 1, 500), mark("worse", 2, 400), mark("b", 2, 2000), mark("c", 10, 3000)]
    drawn = charts.tradeoff([*marks, mark("lost", 12, 2900)], from_zero=True)
    assert [name["text"] for name in drawn["names"]] == ["c", "b", "a"]
    assert len(drawn["points"]) == 5
    by_label = {point["label"]: point for point in drawn["points"]}
    assert by_label["c"]["y"] < by_label["b"]["y"] < by_label["a"]["y"] < drawn["base"]
    assert by_label["a"]["x"] < by_label["b"]["x"] == by_label["worse"]["x"] < by_label["c"]["x"]
    assert drawn["x_ticks"][0][0] == by_label["a"]["x"]


def test_names_do_not_cover_each_other() -> None:
    marks = [mark(f"row {i}", 1 + i / 10, 3000 + i) for i in range(8)]
    drawn = charts.tradeoff(marks, from_zero=True)
    heights = sorted(name["y"] for name in drawn["names"])
    assert drawn["names"][0]["text"] == "row 7"
    assert all(b - a >= charts.LINE for a, b in pairwise(heights))


def test_ranks_begin_at_one() -> None:
    drawn = charts.ranks([("a", "a.html", (1, 2)), ("b", "b.html", (1, 3))])
    assert drawn["rows"][0]["ends"][0] == charts.EDGE
    assert drawn["rows"][1]["ends"][1] == drawn["width"] - charts.EDGE
