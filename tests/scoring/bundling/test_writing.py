"""Bundles: what is in them, and that equal input gives equal bytes."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from decathlon.common.errors import ResultError, UsageError
from decathlon.results.bundles import gathered
from decathlon.results.card import Card, read_card
from decathlon.results.selection import Selection
from decathlon.scoring.bundling.writing import Authorship, write_bundle
from decathlon.scoring.entries import read_entries
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.bundling.conftest import AUTHORS, add


def card_in(path: Path) -> Card:
    with zipfile.ZipFile(path) as archive:
        return read_card(archive.read("card.json"), "card.json")


def test_a_bundle_holds_one_row(results: Path, tmp_path: Path) -> None:
    add(results, "other", "dtd")
    (results / "mine/dtd/test/seed0/failed.json").write_text("{}")
    done = write_bundle(results, "mine", tmp_path / "a.zip", AUTHORS)
    trials = [f"results/mine/{d}/test/seed{s}" for d in ("dtd", "svhn") for s in (0, 1)]
    files = ("record.json", "predictions.json", "log.jsonl")
    kept = "results/mine/imagenet12/test/seed0"
    wanted = {"card.json", *(f"{trial}/{file}" for trial in trials for file in files)}
    wanted |= {f"{kept}/record.json", f"{kept}/predictions.json"}
    with zipfile.ZipFile(done.path) as archive:
        assert set(archive.namelist()) == wanted
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        for name in wanted - {"card.json"}:
            assert archive.read(name) == (tmp_path / name).read_bytes()
    card = card_in(done.path)
    assert (card.label, card.authors, card.bibtex) == (
        "Smith",
        ("A. Smith", "B. Jones"),
        "@misc{smith}",
    )
    assert card.links == {"paper": "https://example.org/p"}
    assert (card.suite, card.split, card.method) == (SUITE.name, "test", "fine-tuning")
    assert card.settings == {"epochs": 1}
    assert card.source == "5" * 64
    assert not done.left_out


def test_equal_input_gives_equal_bytes(results: Path, tmp_path: Path) -> None:
    first = write_bundle(results, "mine", tmp_path / "a.zip", AUTHORS).path.read_bytes()
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(results, copy, copy_function=shutil.copyfile)
    assert write_bundle(copy, "mine", tmp_path / "b.zip", AUTHORS).path.read_bytes() == first


def test_the_card_holds_nothing_of_this_machine(results: Path, tmp_path: Path) -> None:
    card = card_in(write_bundle(results, "mine", tmp_path / "a.zip").path)
    assert card.label == "mine"
    assert not card.authors
    assert str(tmp_path) not in json.dumps(card.as_json())


def test_a_seed_that_does_not_count_is_left_out(results: Path, tmp_path: Path) -> None:
    add(results, "mine", "dtd", seed=2)
    done = write_bundle(results, "mine", tmp_path / "a.zip")
    assert [str(record.folder) for record in done.left_out] == ["mine/dtd/test/seed2"]
    assert len(done.records) == 5


def test_a_row_of_several_is_found_by_its_label(results: Path, tmp_path: Path) -> None:
    add(results, "mine", "dtd", seed=3, recipe={"epochs": 2})
    add(results, "mine", "svhn", seed=3, recipe={"epochs": 2})
    with pytest.raises(UsageError, match="2 setups"):
        write_bundle(results, "mine", tmp_path / "a.zip")
    done = write_bundle(results, "mine [epochs 2]", tmp_path / "a.zip")
    assert {record.seed for record in done.records if record.trained} == {3}
    assert done.card.settings == {"epochs": 2}
    with pytest.raises(UsageError, match="no test results of 'my'"):
        write_bundle(results, "my", tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_what_was_chosen_stands_by_trial(results: Path, tmp_path: Path) -> None:
    for domain, lr in (("dtd", 0.1), ("svhn", 0.2)):
        chosen = Selection(
            space={"lr": [0.1, 0.2]}, sampler="grid", trials=2, rule="best", chosen={"lr": lr}
        )
        add(results, "tuned", domain, recipe={"epochs": 1, "lr": lr}, selection=chosen)
    card = write_bundle(results, "tuned", tmp_path / "a.zip").card
    assert card.settings == {"epochs": 1}
    assert card.chosen == {"dtd/test/seed0": {"lr": 0.1}, "svhn/test/seed0": {"lr": 0.2}}
    assert card.selection is not None
    assert card.selection.trials == 2


def test_what_does_not_fit_on_a_card_is_refused(results: Path, tmp_path: Path) -> None:
    said = Authorship("x" * 201, ("",), "ftp://example.org", "b" * 20_001)
    with pytest.raises(UsageError) as caught:
        write_bundle(results, "mine", tmp_path / "a.zip", said)
    for field in ("label", "authors.0", "links.paper", "bibtex"):
        assert f"  {field}: " in str(caught.value)


def test_predictions_have_to_be_there(results: Path, tmp_path: Path) -> None:
    add(results, "old", "dtd", predictions=None)
    (results / "old/dtd/test/seed0/predictions.json").unlink()
    with pytest.raises(ResultError, match=r"seed0/predictions\.json: missing"):
        write_bundle(results, "old", tmp_path / "a.zip")
    with pytest.raises(UsageError, match=r"no weights\.safetensors of 'mine'; leave out"):
        write_bundle(results, "mine", tmp_path / "a.zip", weights=True)
    assert not (tmp_path / "a.zip").exists()


def test_a_bundle_is_the_row_that_it_was_made_from(results: Path, bundle: Path) -> None:
    (own,) = read_entries(results, "test", SUITE).values()
    with gathered([bundle]) as found:
        (other,) = read_entries(found.results, "test", SUITE).values()
    assert other.name == "Smith"
    assert other.mean_errors() == own.mean_errors()
    assert other.setup.facts == own.setup.facts
