"""Figures: what they show, in files that are whole and equal for equal results."""

import itertools
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from decathlon.common.errors import ResultError, UsageError
from decathlon.common.files import write_json, write_text
from decathlon.scoring.board import board_of
from decathlon.scoring.entries import read_entries
from decathlon.scoring.figures import boards, curves, diagram, policies, style, sweeps
from decathlon.scoring.figures.plot import KINDS, plot
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.making import everywhere

AddRuns = Callable[..., None]
DOMAINS = ("aircraft", "dtd", "svhn")
IMAGES = ["00"] * 12 + ["01"] * 25 + ["11"] * 13
HOSTILE = "$x^{<script>$"


@pytest.fixture
def plotted(results: Path, add_runs: AddRuns) -> Path:
    """Two names on three domains; one of them routes images."""
    for name, correct in (("fine-tuning", 30), ("spottune", 35)):
        add_runs(name, dict.fromkeys(DOMAINS, (correct, 50)), official=False)
        for domain in DOMAINS:
            folder = results / name / domain / "test" / "seed0"
            log = [{"epoch": e, "loss": 2.0 / e} for e in (1, 2, 3)]
            write_text(folder / "log.jsonl", "".join(json.dumps(facts) + "\n" for facts in log))
            if name == "spottune":
                write_json(folder / "routing.json", {"blocks": 2, "images": IMAGES})
    return results


@pytest.fixture
def swept(results: Path, add_runs: AddRuns) -> Path:
    """Three points of a sweep of two settings, one of which the records lack at its default."""
    for lr, bn in ((0.001, "batch"), (0.01, "source"), (0.1, "batch")):
        recipe = {"epochs": 1, "lr": lr} | ({"bn": bn} if bn != "batch" else {})
        accuracy = {"dtd": (30, 50), "svhn": (round(100 * lr) + 20, 50)}
        facts = {"method": "fine-tuning", "split": "val", "official": False}
        add_runs(f"fine-tuning+bn={bn}+lr={lr}", accuracy, recipe=recipe, **facts)
    return results


def test_a_sweep_has_a_panel_for_each_setting(swept: Path, tmp_path: Path) -> None:
    entries = list(read_entries(swept, "val", SUITE).values())
    points = sweeps.points_of(entries, SUITE)
    assert [point.settings for point in points] == [
        {"lr": 0.001, "bn": "batch"},
        {"lr": 0.1, "bn": "batch"},
        {"lr": 0.01, "bn": "source"},
    ]
    assert points[1].accuracy == pytest.approx({"dtd": 60, "svhn": 60, "mean": 60})
    rates, norms = sweeps.sweep(points, SUITE).axes
    assert (rates.get_xscale(), norms.get_xscale()) == ("log", "linear")
    assert [tick.get_text() for tick in rates.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [tick.get_text() for tick in norms.get_xticklabels()] == ["batch", "source"]
    out = tmp_path / "sweep.svg"
    plot("sweep", swept, out)
    assert {"lr", "bn", "DTD", "SVHN", "mean", "accuracy on val (%)"} <= set(texts(out))
    first = out.read_bytes()
    plot("sweep", swept, out)
    assert out.read_bytes() == first
    with pytest.raises(UsageError, match="did you mean 'fine-tuning'"):
        plot("sweep", swept, out, names=["fine-tunin"])


def test_a_sweep_without_points_is_said(plotted: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="has no points of a sweep"):
        plot("sweep", plotted, tmp_path / "sweep.svg")


def texts(path: Path) -> list[str]:
    return [e.text or "" for e in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


# See test_a_sweep_has..., test_subsets.py, and test_routing.py of tests/running.
OTHERS = ("data", "routing", "sweep")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in OTHERS])
def test_every_figure_is_a_whole_svg_with_text(kind: str, plotted: Path, tmp_path: Path) -> None:
    out = tmp_path / f"{kind}.svg"
    plot(kind, plotted, out, baseline="fine-tuning")
    said = texts(out)
    expected = {
        "policy": ["Airc.", "DTD", "SVHN", "26", "76", "routed block"],
        "usage": ["Airc.", "images", "fine-tuned blocks used by an image"],
        "tradeoff": ["spottune", "fine-tuning", "#par (plain networks)", "S, test split"],
        "curves": ["spottune", "fine-tuning", "epoch", "DTD"],
        "ranks": ["spottune", "fine-tuning", "1.00", "mean rank over 3 domains, test split"],
        "domains": ["spottune", "accuracy - fine-tuning (points)", "SVHN"],
    }
    assert set(expected[kind]) <= set(said)
    first = out.read_bytes()
    plot(kind, plotted, out, baseline="fine-tuning")
    assert out.read_bytes() == first
    assert list(tmp_path.glob("*.part")) == []


def test_a_png_is_a_png(plotted: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy.png"
    plot("policy", plotted, out)
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_decisions_are_read_as_recorded(plotted: Path) -> None:
    found = policies.decisions_of(plotted, read_entries(plotted, "test", SUITE)["spottune"], SUITE)
    assert list(found) == ["aircraft", "dtd", "svhn"]
    assert found["dtd"].tolist() == [[int(digit) for digit in image] for image in IMAGES]
    assert found["dtd"].mean(axis=0) == pytest.approx([0.26, 0.76])
    assert np.bincount(found["dtd"].sum(axis=1, dtype=np.int64)).tolist() == [12, 25, 13]


def test_names_are_neither_mathematics_nor_markup(
    results: Path, add_runs: AddRuns, tmp_path: Path
) -> None:
    add_runs(HOSTILE, {"dtd": (40, 50)})
    out = tmp_path / "tradeoff.svg"
    plot("tradeoff", results, out)
    assert HOSTILE in texts(out)
    assert "SpotTune" in texts(out)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"blocks": 2}',
        '{"blocks": 2, "images": []}',
        '{"blocks": 2, "images": ["012"]}',
        '{"blocks": 2, "images": ["0a"]}',
        '{"blocks": 2, "images": [7]}',
        json.dumps({"blocks": 2, "images": [["0", "1"]] * 50}),
        json.dumps({"blocks": 2.0, "images": IMAGES}),
        json.dumps({"blocks": True, "images": ["1"] * 50}),
        json.dumps({"blocks": 0, "images": [""] * 50}),
        json.dumps({"blocks": 2, "images": IMAGES[1:]}),
        json.dumps({"blocks": 1001, "images": ["1" * 1001] * 50}),
        "{",
        "[" * 5000,
    ],
)
def test_damaged_routing_is_refused(plotted: Path, tmp_path: Path, content: str) -> None:
    (plotted / "spottune" / "dtd" / "test" / "seed0" / "routing.json").write_text(content)
    with pytest.raises(ResultError, match=r"dtd/test/seed0/routing\.json: not a record"):
        plot("policy", plotted, tmp_path / "x.svg")
    assert list(tmp_path.glob("x*")) == []


def test_a_damaged_log_is_refused(plotted: Path, tmp_path: Path) -> None:
    path = plotted / "spottune" / "dtd" / "test" / "seed0" / "log.jsonl"
    path.write_text('{"epoch": 1, "loss": 1}\n{"epoch": 2}\n')
    with pytest.raises(ResultError, match=r"log\.jsonl: line 2"):
        plot("curves", plotted, tmp_path / "x.svg")


def test_what_cannot_be_plotted(plotted: Path, tmp_path: Path, add_runs: AddRuns) -> None:
    out = tmp_path / "x.svg"
    with pytest.raises(UsageError, match="unknown figure 'polcy', did you mean 'policy'"):
        plot("polcy", plotted, out)
    with pytest.raises(UsageError, match=r"written as \.svg or \.png"):
        plot("policy", plotted, tmp_path / "x.gif")
    with pytest.raises(UsageError, match="no test results of 'spotune'"):
        plot("policy", plotted, out, names=["spotune"])
    with pytest.raises(ResultError, match=r"'fine-tuning' has no routing\.json"):
        plot("policy", plotted, out, names=["fine-tuning"])
    with pytest.raises(UsageError, match="no results beside those of 'fine-tuning'"):
        plot("domains", plotted, out, names=["fine-tuning"])
    with pytest.raises(UsageError, match="no test results of 'base'"):
        plot("domains", plotted, out, baseline="base")
    with pytest.raises(ResultError, match="no results of the val split"):
        plot("curves", plotted, out, split="val")
    assert not out.exists()


def test_two_routed_names_ask_which(plotted: Path, tmp_path: Path, add_runs: AddRuns) -> None:
    add_runs("second", {"dtd": (40, 50)}, official=False)
    folder = plotted / "second" / "dtd" / "test" / "seed0"
    write_json(folder / "routing.json", {"blocks": 2, "images": IMAGES})
    with pytest.raises(UsageError, match="second, spottune have policies: name one"):
        plot("policy", plotted, tmp_path / "x.svg")
    plot("policy", plotted, tmp_path / "x.svg", names=["second"])
    assert "DTD" in texts(tmp_path / "x.svg")
    assert "SVHN" not in texts(tmp_path / "x.svg")


LONG = "-with-a-long-name-for-a-variant-of-a-method-in-a-longer-study-of-variants"
OWN = ("birds-of-the-northern-hemisphere", "dtd", *(f"own-{n}" for n in range(8)))


def boxes(drawn: Figure) -> list[tuple[str, Bbox]]:
    """Text and box of all that is written, in pixels."""
    with style.styled():
        drawn.draw_without_rendering()
        shown = [t for t in drawn.findobj(Text) if t.get_visible() and t.get_text().strip()]
        renderer = style.renderer_of(drawn)
        return [(t.get_text(), Text.get_window_extent(t, renderer)) for t in shown]


def cover(a: Bbox, b: Bbox) -> bool:
    return a.x0 < b.x1 - 1 and b.x0 < a.x1 - 1 and a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1


def check_text(drawn: Figure) -> None:
    """Checks that no text lies outside the figure or over other text."""
    written = boxes(drawn)
    width, height = drawn.bbox.width, drawn.bbox.height
    for text, box in written:
        assert box.x0 > -1, text
        assert box.y0 > -1, text
        assert box.x1 < width + 1, text
        assert box.y1 < height + 1, text
    for (first, a), (second, b) in itertools.combinations(written, 2):
        assert not cover(a, b), (first, second)


SHORT_NAMES = ((1, 1), (1, 10), (2, 1), (2, 2), (9, 1), (9, 10), (10, 2), (24, 1), (24, 10))
LONG_NAMES = ((1, 1), (2, 2), (9, 1), (10, 10), (24, 2))


@pytest.mark.parametrize(
    ("num_methods", "num_domains", "long"),
    [*((*size, "") for size in SHORT_NAMES), *((*size, LONG) for size in LONG_NAMES)],
)
def test_no_text_is_cut_or_covered(
    num_methods: int, num_domains: int, long: str, results: Path, add_runs: AddRuns
) -> None:
    names = [f"method-{n:02d}{long}" for n in range(num_methods)]
    domains = OWN[:num_domains] if long else OWN[1 : num_domains + 1]
    for place, name in enumerate(names):
        add_runs(name, dict.fromkeys(domains, (10 + place, 50)), official=False)
        for domain in domains:
            folder = results / name / domain / "test" / "seed0"
            log = [{"epoch": e, "loss": (2.0 + place) / e} for e in range(1, 6)]
            write_text(folder / "log.jsonl", "".join(json.dumps(facts) + "\n" for facts in log))
            write_json(folder / "routing.json", {"blocks": 8, "images": ["01" * 4, "1" * 8] * 25})
    trials = read_entries(results, "test", SUITE)
    check_text(boards.tradeoff(board_of(results, baseline=names[0])))
    check_text(curves.curves(results, list(trials.values()), SUITE))
    check_text(policies.policy(results, trials[names[0]], SUITE))
    check_text(policies.usage(results, trials[names[0]], SUITE))
    if num_methods > 1:
        check_text(boards.domains(trials, names[0], SUITE))
        rows = sorted(board_of(results, baseline=names[0]).rows, key=lambda row: row.mean_rank or 0)
        check_text(diagram.diagram(rows, [range(num_methods)] * 3, "mean rank", "joined"))


@pytest.mark.parametrize("all_rows", [False, True])
def test_names_lie_on_nothing_and_keep_the_order_of_their_points(
    all_rows: bool, results: Path, add_runs: AddRuns
) -> None:
    for place in range(12):
        add_runs(f"mine-{place}", everywhere(70 + 2 * place, 100))
    board = board_of(results, all_rows=all_rows)
    drawn = boards.tradeoff(board)
    check_text(drawn)
    (axes,) = drawn.axes
    names = [t for t in axes.texts if isinstance(t, Annotation)]
    assert len(names) == sum(bool(row.params_ratio) for row in board.rows)
    renderer = style.renderer_of(drawn)
    covered = [line.get_window_extent(renderer).padded(1) for line in axes.get_lines()]
    columns: dict[float, list[tuple[float, float]]] = {}
    for name in names:
        box = Text.get_window_extent(name, renderer)
        assert not [other for other in covered if cover(box, other)], name.get_text()
        if name.arrowprops is None:  # right above or below its point
            continue
        column = box.x0 if name.get_horizontalalignment() == "left" else -box.x1
        columns.setdefault(round(column), []).append((name.xy[1], box.y0))
    assert len(columns) > 2
    for column in columns.values():
        places = [y for _, y in sorted(column)]
        assert places == sorted(places)


def test_looks_can_be_told_apart() -> None:
    looks = [style.look(place) for place in range(24)]
    assert len({(look.ink, look.marker) for look in looks}) == 24
    assert len({(look.ink, look.line) for look in looks}) == 24
    assert len({(look.ink, look.marker) for look in map(style.look, range(64))}) == 64


def test_curves_and_their_legend_have_one_look_for_each_method(
    results: Path, add_runs: AddRuns
) -> None:
    for place in range(10):
        add_runs(f"m{place}", {"dtd": (40, 50)})
        folder = results / f"m{place}" / "dtd" / "test" / "seed0"
        write_text(folder / "log.jsonl", '{"epoch": 1, "loss": 1.0}\n')
    drawn = curves.curves(results, list(read_entries(results, "test", SUITE).values()), SUITE)
    (legend,) = drawn.legends
    handles = [handle for handle in legend.legend_handles if isinstance(handle, Line2D)]
    assert len({(h.get_color(), h.get_marker()) for h in handles}) == 10
    assert [t.get_text() for t in legend.get_texts()] == [f"m{place}" for place in range(10)]


def test_tradeoff_shows_only_the_names_asked_for(
    results: Path, add_runs: AddRuns, tmp_path: Path
) -> None:
    for name in ("spottune", "mine", "other"):
        add_runs(name, everywhere(80, 100))
    out = tmp_path / "x.svg"
    plot("tradeoff", results, out, names=["mine"])
    assert {"mine", "published", "SpotTune", "DAN"} <= set(texts(out))
    assert not {"other", "spottune"} & set(texts(out))
    plot("tradeoff", results, out, names=["spottune", "other"])
    assert {"spottune", "other"} <= set(texts(out))
    assert "mine" not in texts(out)
    with pytest.raises(UsageError, match="no test results of 'othr', did you mean 'other'"):
        plot("tradeoff", results, out, names=["othr"])


def test_a_png_says_which_characters_it_cannot_show(
    results: Path, add_runs: AddRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_runs("\U00013000", {"dtd": (40, 50)})
    plot("tradeoff", results, tmp_path / "x.svg")
    assert capsys.readouterr().err == ""
    plot("tradeoff", results, tmp_path / "x.png")
    assert "no installed font has \U00013000, drawn as boxes" in capsys.readouterr().err
