"""Domains that lack a split: every command works on what is there, or says what is missing."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from decathlon.common.errors import DataError
from decathlon.data.manifest import read_manifest
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.sheet import show
from decathlon.data.reading.store import open_store
from decathlon.results.records import find_records, read_record
from decathlon.running.config import RunConfig
from decathlon.running.display import PlainLines
from decathlon.running.dry_run import preview
from decathlon.running.execution import execute
from decathlon.running.pretraining import Pretraining, pretrain
from decathlon.running.resolve import resolve
from decathlon.running.source_training import SourceRecipe
from decathlon.running.splits import notes_on_splits
from decathlon.running.survey import survey
from decathlon.scoring.board import board_of
from decathlon.suites.base import SPLITS
from decathlon.training.device import Compute
from tests.data.official import Official, encoded, picture

COMBINATIONS = [c for n in (1, 2, 3) for c in combinations(SPLITS, n)]
OWN = [c for c in COMBINATIONS if "train" in c]


def birds(tmp_path: Path, splits: tuple[str, ...]) -> Path:
    """A user's own domain, prepared, that has some splits."""
    rng = np.random.default_rng(1)
    for split in splits:
        for kind in ("crow", "owl"):
            folder = tmp_path / "birds" / split / kind
            folder.mkdir(parents=True)
            for k in range(3):
                (folder / f"{k}.jpg").write_bytes(encoded(picture(rng, 72, 72)))
    prepare(None, tmp_path / "data", folders={"birds": tmp_path / "birds"}, jobs=0)
    return tmp_path / "data"


def annotated(tmp_path: Path, domain: str, splits: tuple[str, ...]) -> Path:
    """An official domain whose annotations have some splits, prepared."""
    made = Official(tmp_path / "archives")
    made.add(domain)
    for split in {*SPLITS} - {*splits}:
        made.notes.pop(f"{domain}_{split}" + "_stripped" * (split == "test"))
    prepare(made.write(), tmp_path / "data", jobs=0)
    return tmp_path / "data"


@pytest.mark.parametrize("kind", ["own", "annotated"])
@pytest.mark.parametrize("splits", COMBINATIONS, ids="+".join)
def test_what_is_there_can_be_used_and_what_is_not_is_told(
    tmp_path: Path, splits: tuple[str, ...], kind: str
) -> None:
    if kind == "own" and "train" not in splits:
        with pytest.raises(DataError, match="has no folder train"):
            birds(tmp_path, splits)
        return
    name = "birds" if kind == "own" else "dtd"
    data = birds(tmp_path, splits) if kind == "own" else annotated(tmp_path, "dtd", splits)
    remarks = verify(data).remarks
    assert bool(remarks) == (len(splits) < 3)
    assert remarks == (read_manifest(data) or pytest.fail("no manifest")).remarks
    store = open_store(data)
    for split in SPLITS:
        if split in splits:
            assert show(store, name, split, 9, tmp_path / "sheet.png")
        else:
            with pytest.raises(DataError, match=f"{name} has no split '{split}'"):
                show(store, name, split, 9, tmp_path / "sheet.png")


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("splits", OWN, ids="+".join)
def test_a_run_works_or_says_which_split_is_missing(
    tmp_path: Path, splits: tuple[str, ...], split: str
) -> None:
    data = birds(tmp_path, splits)
    store = open_store(data)
    runs = resolve(
        RunConfig(
            methods=("scratch",),
            data=data,
            results=tmp_path / "r",
            split=split,
            settings=("epochs=1", "batch_size=4", "width=0.1"),
            compute=Compute("cpu", "32"),
        )
    )
    preview(survey(runs))
    failures = execute(survey(runs), PlainLines())
    notes = notes_on_splits(store, ["birds"], split)
    if split not in splits:
        assert [failure.code for failure in failures] == [DataError.exit_code]
        assert f"birds has no split '{split}' in" in failures[0].reason
        assert notes == []
        return
    assert failures == []
    (path,) = find_records(tmp_path / "r")
    record = read_record(path)
    alone = split == "test" and "val" not in splits
    assert record.trained_on == ("train" if alone or split == "val" else "train+val")
    assert sorted(record.data) == sorted({*record.trained_on.split("+"), split})
    assert bool(notes) == alone
    board = board_of(tmp_path / "r", split=split, baseline="scratch")
    assert any("trained on train alone" in note for note in board.notes) == alone


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("splits", COMBINATIONS, ids="+".join)
def test_pretraining_works_or_says_which_split_is_missing(
    tmp_path: Path, splits: tuple[str, ...], split: str
) -> None:
    store = open_store(annotated(tmp_path, "imagenet12", splits))

    out = tmp_path / "source.safetensors"
    recipe, compute = SourceRecipe(epochs=1, batch_size=4), Compute("cpu", "32")
    config = Pretraining(store, out, recipe=recipe, width=0.1, split=split, compute=compute)
    if {"train", split} <= {*splits}:
        pretrain(config, lambda facts: None)
        assert out.is_file()
    else:
        with pytest.raises(DataError, match="imagenet12 has no split"):
            pretrain(config, lambda facts: None)
