"""Figures: what they show, in files that are whole and equal for equal results."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from decathlon.errors import ResultError, UsageError
from decathlon.files import write_json, write_text
from decathlon.scoring.figures import routing
from decathlon.scoring.figures.plot import KINDS, plot
from decathlon.scoring.trials import read_trials

AddRuns = Callable[..., None]
DOMAINS = ("aircraft", "dtd", "svhn")
IMAGES = ["00", "01", "01", "11"]
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


def texts(path: Path) -> list[str]:
    return [e.text or "" for e in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_a_whole_svg_with_text(kind: str, plotted: Path, tmp_path: Path) -> None:
    out = tmp_path / f"{kind}.svg"
    plot(kind, plotted, out, baseline="fine-tuning")
    said = texts(out)
    expected = {
        "policy": ["Airc.", "DTD", "SVHN", "25", "75", "routed block"],
        "usage": ["Airc.", "images", "fine-tuned blocks used by an image"],
        "tradeoff": ["spottune", "fine-tuning", "#par (plain networks)", "S, test split"],
        "curves": ["spottune", "fine-tuning", "epoch", "DTD"],
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
    found = routing.decisions_of(plotted, read_trials(plotted, "test")["spottune"])
    assert list(found) == ["aircraft", "dtd", "svhn"]
    assert found["dtd"].tolist() == [[0, 0], [0, 1], [0, 1], [1, 1]]
    assert found["dtd"].mean(axis=0) == pytest.approx([0.25, 0.75])
    assert np.bincount(found["dtd"].sum(axis=1, dtype=np.int64)).tolist() == [1, 2, 1]


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
