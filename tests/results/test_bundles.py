"""Several folders and bundles read as one results folder."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.errors import ResultError
from decathlon.results.bundles import gathered
from decathlon.results.card import Card
from decathlon.results.published import published_rows
from decathlon.results.records import find_records, read_placed, write_record
from decathlon.scoring.entries import read_entries
from decathlon.suites.visual_decathlon import SUITE
from tests.scoring.making import make_record


def card(label: str = "smith", **fields: Any) -> Card:
    values: dict[str, Any] = {"label": label, "suite": SUITE.name, "split": "test"}
    values |= {"method": "mine", "code": None, "settings": {"epochs": 1}, "selection": None}
    values |= {"subset": "", "crop": "image", "routing": None, "network": None, "source": None}
    return Card(**values | {"decathlon": "1"} | fields)


def bundle(path: Path, label: str, name: str = "mine", domain: str = "dtd") -> Path:
    record = make_record(name, domain, [True, False])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("card.json", json.dumps(card(label).as_json()))
        archive.writestr(f"results/{record.folder}/record.json", record.model_dump_json())
    return path


def names(results: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in find_records(results):
        record = read_placed(results, path)
        found.setdefault(record.name, []).append(record.domain)
    return found


def test_one_folder_is_yielded_as_it_is(results: Path) -> None:
    with gathered([results]) as found:
        assert found.results is results
        assert not found.bundles
    with gathered([results / "absent"]) as found:
        assert found.results == results / "absent"


def test_bundles_have_names_of_their_own(results: Path, tmp_path: Path) -> None:
    write_record(results, make_record("mine", "dtd", [True, True]))
    write_record(results, make_record("Smith", "dtd", [True, True]))
    zips = [
        bundle(tmp_path / f"{number}.zip", label)
        for number, label in enumerate(("smith", "SMITH", "../a\n/b", "published", ".", "é" * 150))
    ]
    with gathered([zips[0], results, *zips[1:]]) as found:
        kept = found.results
        there = names(found.results)
        assert list(found.bundles) == [
            "smith (2)",
            "SMITH (3)",
            "_a__b",
            "bundle published",
            "bundle",
            "é" * 95,
        ]
        second = found.bundles["SMITH (3)"]
        assert (second.path, second.card.label, second.name) == (zips[1], "SMITH", "mine")
        assert there.keys() == {"mine", "Smith", *found.bundles}
        assert len(read_entries(found.results, "test", SUITE)) == 8
    assert not kept.exists()
    assert names(results).keys() == {"mine", "Smith"}


def test_folders_share_a_name_unless_they_hold_the_same_trial(tmp_path: Path) -> None:
    for folder, domains in (("a", ["dtd"]), ("b", ["svhn"]), ("c", ["dtd", "ucf101"])):
        for domain in domains:
            write_record(tmp_path / folder, make_record("mine", domain, [True, False]))
            write_record(tmp_path / folder, make_record(folder, domain, [True, False]))
    with gathered([tmp_path / folder for folder in "abc"]) as found:
        assert names(found.results) == {
            "a": ["dtd"],
            "b": ["svhn"],
            "c": ["dtd", "ucf101"],
            "mine": ["dtd", "svhn"],
            "mine (2)": ["dtd", "ucf101"],
        }


def test_published_rows_of_a_folder_stay_in_force(tmp_path: Path) -> None:
    zipped = bundle(tmp_path / "a.zip", "a")
    plain, own = tmp_path / "plain", tmp_path / "own"
    plain.mkdir()
    (own / "published").mkdir(parents=True)
    with gathered([plain, zipped]) as found:
        assert published_rows(found.results) == published_rows()
    with gathered([plain, own, zipped]) as found:
        assert published_rows(found.results) == []
        assert published_rows(found.results, SUITE) == []
    row = published_rows()[0].model_dump_json()
    (own / "published" / "one.json").write_text(row)
    with gathered([own, plain]) as found:
        assert [one.label for one in published_rows(found.results)] == [published_rows()[0].label]


def test_messages_name_what_was_given(results: Path, tmp_path: Path) -> None:
    write_record(results, make_record("mine", "dtd", [True, True], seed=1, predictions="0" * 64))
    zipped = bundle(tmp_path / "a.zip", "smith")
    with pytest.raises(ResultError) as caught, gathered([results, zipped]) as found:
        read_entries(found.results, "test", SUITE)
    assert f"{results}/mine/dtd/test/seed1/predictions.json: missing" in str(caught.value)
    assert str(found.results) not in str(caught.value)
    text = f"smith/dtd/test/seed0: x; {found.results}/smith/dtd/test/seed0/p, smith/dtd/test/seed01"
    origin = f"{zipped}: results/mine/dtd/test/seed0"
    assert found.told(text) == f"{origin}: x; {origin}/p, smith/dtd/test/seed01"
    assert found.told(f"{found.results} is empty") == f"{results} and {zipped} is empty"


def test_messages_tell_names_apart_that_end_alike(tmp_path: Path) -> None:
    for folder, name in (("a", "tuning"), ("b", "no-tuning")):
        write_record(tmp_path / folder, make_record(name, "dtd", [True, False]))
    with gathered([tmp_path / "a", tmp_path / "b"]) as found:
        told = found.told(f"{found.results}/no-tuning/dtd/test/seed0/p, tuning/dtd/test/seed0")
        assert (
            told == f"{tmp_path}/b/no-tuning/dtd/test/seed0/p, {tmp_path}/a/tuning/dtd/test/seed0"
        )


def test_folders_of_bundles_are_read(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    for label in ("one", "two"):
        bundle(bundles / f"{label}.zip", label)
    (bundles / "README.md").write_text("Bundles.")
    with gathered([bundles]) as found:
        assert names(found.results).keys() == {"one", "two"}
    results = tmp_path / "results"
    write_record(results, make_record("mine", "dtd", [True, True]))
    with gathered([results, bundles]) as found:
        assert names(found.results).keys() == {"mine", "one", "two"}
    bundle(results / "copy.zip", "copy")  # beside the records that it was made from
    with gathered([results]) as found:
        assert found.results is results


def test_a_record_in_the_wrong_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("card.json", json.dumps(card().as_json()))
        text = make_record("other", "dtd", [True]).model_dump_json()
        archive.writestr("results/mine/dtd/test/seed0/record.json", text)
    with pytest.raises(ResultError) as caught, gathered([path]):
        pass
    start = f"{path}: results/mine/dtd/test/seed0/record.json: name, domain"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("links", {"paper": "javascript:alert(1)"}, "links.paper"),
        ("links", {"paper": "https://"}, "links.paper"),
        ("links", {"paper": "https://x.org/a b"}, "links.paper"),
        ("label", "", "label"),
        ("authors", ["x" * 201], "authors.0"),
        ("split", "train", "split"),
        ("settings", {"lr": 1e400}, "Infinity"),
        ("other", 1, "other"),
        ("schema", 2, "schema"),
    ],
)
def test_a_card_that_is_not_valid(tmp_path: Path, field: str, value: Any, problem: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("card.json", json.dumps(card().as_json() | {field: value}))
        record = make_record("mine", "dtd", [True])
        archive.writestr(f"results/{record.folder}/record.json", record.model_dump_json())
    with pytest.raises(ResultError) as caught, gathered([path]):
        pass
    assert str(caught.value).startswith(f"{path}: card.json: ")
    assert problem in str(caught.value)
