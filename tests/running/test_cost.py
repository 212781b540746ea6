"""What a trial costs: in its record, and on the board."""

import json
from pathlib import Path

import pytest
import torch

from decathlon.results.records import find_records, read_record
from decathlon.running.cost import PeakMemory
from decathlon.running.execution import execute
from decathlon.running.survey import survey
from decathlon.scoring.board import board_of
from decathlon.scoring.columns import cells, columns_of, notes_of
from decathlon.scoring.render.dispatch import text_of
from tests.running.test_runs import Listener, wanted


def resnet26(channels: int, side: int, classes: int) -> int:
    """Operations of a ResNet-26 by arithmetic: three macro blocks of four blocks of two 3x3s."""
    total = 9 * 3 * channels * side**2
    for _ in range(3):
        side, before, channels = side // 2, channels, 2 * channels
        total += 9 * (before + 7 * channels) * channels * side**2
    return 2 * (total + channels * classes)


def shown(results: Path) -> tuple[dict[str, list[str]], list[str]]:
    """What the columns of costs say of each row, and the notes."""
    keys, board = ["flops", "memory"], board_of(results, baseline="fine-tuning")
    lines = cells(board, columns_of(board, keys))
    texts = [[cell.text for cell in line] for line in lines]
    return dict(zip((row.label for row in board.rows), texts, strict=True)), notes_of(board, keys)


def test_records_tell_what_a_trial_cost(tiny: Path, tiny_source: Path, tmp_path: Path) -> None:
    runs = [wanted(tiny, tiny_source, tmp_path, name) for name in ("fine-tuning", "spottune")]
    assert execute(survey(runs), Listener()) == []
    records = {record.name: record for record in map(read_record, find_records(tmp_path))}
    plain, routed = (records[name].cost for name in ("fine-tuning", "spottune"))
    assert plain is not None
    assert routed is not None
    assert plain.flops is not None
    assert routed.flops is not None
    assert plain.flops == resnet26(8, 64, records["fine-tuning"].num_classes)
    # Each image takes one path through each block, after a policy network of a fifth of its size.
    assert 1.1 < routed.flops / plain.flops < 1.3
    for cost in (plain, routed):
        assert cost.peak_memory is None or 50e6 < cost.peak_memory < 50e9

    texts, notes = shown(tmp_path)
    memory = "-" if routed.peak_memory is None else f"{routed.peak_memory / 1e6:.0f}"
    assert texts["spottune"] == [f"{routed.flops / 1e9:.3f}", memory]
    assert sum(note.startswith(("GFLOPs", "peak MB")) for note in notes) == 2

    rows = json.loads(text_of(board_of(tmp_path, baseline="fine-tuning"), "json"))["rows"]
    assert routed.model_dump() in [row["cost"] for row in rows]

    # As earlier versions wrote it: finished all the same, and without a cost to show.
    path = tmp_path / records["spottune"].folder / "record.json"
    old = json.loads(path.read_text())
    del old["cost"]
    path.write_text(json.dumps(old))
    assert {state.state for state in survey(runs)} == {"done"}
    assert "cost" not in read_record(path).model_dump()
    texts, notes = shown(tmp_path)
    assert texts["spottune"] == ["-", "-"]
    assert "Records of earlier versions do not tell what a trial cost." in notes


def test_a_peak_is_that_of_the_trial_alone() -> None:
    device = torch.device("cpu")
    before = torch.ones(20_000_000)
    del before
    memory = PeakMemory(device)
    low = memory.read()
    if low is None:
        pytest.skip("the system does not tell")
    block = torch.ones(10_000_000)
    del block
    high = memory.read()
    assert high is not None
    assert 35e6 < high - low < 60e6
