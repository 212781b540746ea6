"""A check of a bundle finds everything that differs, and nothing where nothing does."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.results.records import pack_bits
from decathlon.results.selection import Selection
from decathlon.scoring.bundling.writing import write_bundle
from tests.scoring.bundling.conftest import add, doctored
from tests.scoring.making import unpacked

TRIAL = "results/mine/dtd/test/seed0"
RECORD, PREDICTIONS = f"{TRIAL}/record.json", f"{TRIAL}/predictions.json"
Members = dict[str, bytes]
Change = Callable[[Members], None]


def check(
    path: Path, labels: Path | None = None
) -> tuple[str, dict[str, list[str]], dict[str, Any]]:
    """Returns the verdict, what differs by point, and all that JSON holds."""
    command = ["check-bundle", str(path), "--format", "json"]
    command += ["--labels", str(labels)] if labels else []
    done = CliRunner().invoke(app, command)
    assert done.exit_code in (0, 4), done.output
    value = json.loads(done.output)
    assert (done.exit_code == 4) == (value["verdict"] == "unverified")
    found = {p["name"]: p["differences"] for p in value["points"] if p["state"] == "differs"}
    assert all(found.values())
    return value["verdict"], found, value


def states(value: dict[str, Any]) -> dict[str, str]:
    return {point["name"]: point["state"] for point in value["points"]}


def test_the_table_wraps_what_was_found(bundle: Path) -> None:
    done = CliRunner().invoke(app, ["check-bundle", str(bundle)], env={"COLUMNS": "80"})
    lines = [line.split() for line in done.output.splitlines()]
    assert ["seeds", "holds", "0,", "1"] in lines
    assert ["domains", "holds", "3", "of", "10;"] in [line[:5] for line in lines]


def edit(member: str, **fields: Any) -> Change:
    """Returns a change of fields of one JSON member; ``recipe__epochs`` is within ``recipe``."""

    def change(members: Members) -> None:
        value = json.loads(members[member])
        for field, new in fields.items():
            *outer, last = field.split("__")
            place = value
            for key in outer:
                place = place[key]
            place[last] = new
        members[member] = json.dumps(value).encode()

    return change


def _one_prediction(members: Members) -> None:
    value = json.loads(members[PREDICTIONS])
    value[7]["category_id"] = 40_000_001 + (value[7]["category_id"] - 40_000_000) % 4
    members[PREDICTIONS] = json.dumps(value).encode()


def _with_digest(members: Members) -> None:
    digest = hashlib.sha256(members[PREDICTIONS]).hexdigest()
    edit(RECORD, predictions=digest)(members)


def _one_more(members: Members) -> None:
    value = json.loads(members[RECORD])
    bits = unpacked(value["correctness"], value["total"])
    bits[bits.index(False)] = True
    edit(RECORD, correct=sum(bits), correctness=pack_bits(bits))(members)


def _twice(members: Members) -> None:
    value = json.loads(members[PREDICTIONS])
    value[3]["image_id"] = value[4]["image_id"]
    members[PREDICTIONS] = json.dumps(value).encode()


def _fewer(members: Members) -> None:
    members[PREDICTIONS] = json.dumps(json.loads(members[PREDICTIONS])[1:]).encode()


def _without(*names: str) -> Change:
    def change(members: Members) -> None:
        for name in [one for one in members if any(part in one for part in names)]:
            del members[name]

    return change


def _routing(members: Members) -> None:
    members[f"{TRIAL}/routing.json"] = b'{"blocks": 8, "images": ["01101100"]}'


def both(*changes: Change) -> Change:
    def change(members: Members) -> None:
        for one in changes:
            one(members)

    return change


TUNED = {"space": {"lr": [1]}, "sampler": "grid", "trials": 1, "rule": "r", "split": "val"}
ATTACKS: dict[str, tuple[Change, str, str]] = {
    "a prediction": (_one_prediction, "files", "dtd/test/seed0: predictions.json: has the digest"),
    "a digest": (edit(RECORD, predictions="0" * 64), "files", "the record says 000000000000..."),
    "an image twice": (_twice, "files", "1 image ids are predicted more than once: 40000104"),
    "fewer predictions": (_fewer, "files", "19 predictions, but 20 in the record"),
    "no predictions": (_without(PREDICTIONS), "files", "predictions.json: cannot be read"),
    "routing": (_routing, "files", "routing.json: not a record of routing"),
    "a log": (lambda m: m.update({f"{TRIAL}/log.jsonl": b"{}\n"}), "files", "log.jsonl: line 1"),
    "a record": (edit(RECORD, correct=3), "records", "correctness does not hold 3 ones"),
    "no record": (edit(RECORD, seed="x"), "records", "seed: Input should be a valid integer"),
    "another place": (edit(RECORD, seed=5), "records", "the record says it belongs in mine/dtd"),
    "another suite": (edit(RECORD, suite="other"), "records", "is of other on test, the others"),
    "a setting": (edit(RECORD, recipe__epochs=2), "setup", "dtd/test/seed0 and 1 more: epochs 2"),
    "a source": (edit(RECORD, source="6" * 64), "setup", "source 666666"),
    "trained on test": (edit(RECORD, trained_on="train+val+test"), "training", "is 'train+val+t"),
    "trained on less": (edit(RECORD, trained_on="train"), "training", "has to be 'train+val'"),
    "nothing trained": (
        edit(RECORD, trained=False, trained_on="", data={"test": "1"}),
        "training",
        "source domain only (imagenet12)",
    ),
    "a shard unknown": (edit(RECORD, data={"test": "1"}), "training", "data has digests of test"),
    "another shard": (edit(RECORD, data__train="1" * 64), "data", "dtd/test/seed0 1111"),
    "no longer official": (edit(RECORD, official=True), "data", "calls its data official, but"),
    "more classes": (edit(RECORD, num_classes=5), "data", "num_classes is 4, that of dtd/test/"),
    "chosen otherwise": (
        edit(RECORD, selection=TUNED | {"chosen": {"lr": 1}}), "selection", "lr was chosen as 1",
    ),
    "chosen by domain": (
        edit(RECORD, selection=TUNED | {"chosen": {"lr.dtd": 1}}), "selection", "lr.dtd was chosen",
    ),
    "a domain of a seed": (_without("svhn/test/seed1"), "seeds", "seed 1: has no record of svhn"),
    "code": (edit(RECORD, code__sha256="0" * 64), "code", "the records name decathlon"),
    "card: settings": (edit("card.json", settings__epochs=9), "card", "settings.epochs is 9"),
    "card: method": (edit("card.json", method="x"), "card", 'method is "x" on the card'),
    "card: suite": (edit("card.json", suite="fine-grained"), "card", 'suite is "fine-grained"'),
    "card: split": (edit("card.json", split="val"), "card", 'split is "val" on the card, "test"'),
    "card: source": (edit("card.json", source="6" * 64), "card", 'source is "666666'),
    "card: code": (edit("card.json", code=None), "card", "code is not set on the card"),
    "card: network": (edit("card.json", network__width=9.0), "card", "network.width is 9.0 on the"),
    "card: chosen": (edit("card.json", chosen={"x": {"lr": 1}}), "card", "chosen.x is"),
    "card: selection": (edit("card.json", selection=TUNED | {"chosen": {}}), "card", "selection"),
    "card: subset": (edit("card.json", subset="5shot"), "card", 'subset is "5shot" on the card'),
}  # fmt: skip
"""One change each, the point that finds it without labels, and what it says."""


def test_an_honest_bundle(bundle: Path, labels: Path) -> None:
    verdict, found, value = check(bundle)
    assert (verdict, found) == ("complete", {})
    assert states(value)["labels"] == "unchecked"
    verdict, found, value = check(bundle, labels)
    assert (verdict, found) == ("verified", {})
    assert value["schema"] == 1
    assert value["suite"] == "visual-decathlon"
    assert value["score"] is None  # the data is not official
    # 16 of 20 images of each domain, of seed 1 on two domains too: every 6th of 20 is 4.
    assert value["mean"] == pytest.approx(80)
    unchecked = {name for name, state in states(value).items() if state == "unchecked"}
    assert unchecked == {"#par"}


@pytest.mark.parametrize("name", ATTACKS)
def test_each_change_is_found(bundle: Path, name: str) -> None:
    change, point, text = ATTACKS[name]
    verdict, found, _ = check(doctored(bundle, change))
    assert verdict == "unverified"
    assert any(text in one for one in found[point]), found
    assert not any("decathlon-" in one for ones in found.values() for one in ones)


def test_all_changes_are_listed(bundle: Path) -> None:
    names = ["a prediction", "another shard", "a domain of a seed", "card: method", "card: source"]
    _, found, _ = check(doctored(bundle, both(*(ATTACKS[name][0] for name in names))))
    assert found.keys() == {"files", "data", "seeds", "card"}
    assert len(found["card"]) == 2


def test_the_labels_find_what_was_made_to_fit(bundle: Path, labels: Path) -> None:
    doctored(bundle, both(_one_prediction, _with_digest))
    assert check(bundle)[0] == "complete"
    verdict, found, value = check(bundle, labels)
    assert verdict == "unverified"
    assert found.keys() == {"labels", "mean accuracy"}
    assert "dtd/test/seed0: correct: is 16, the predictions give 15" in found["labels"]
    # Of five seeds and domains with 16 of 20 each, one has 15: dtd has 77.5 % on average.
    assert value["mean"] == pytest.approx((77.5 + 80 + 80) / 3)


def test_the_labels_find_counts_that_are_too_high(bundle: Path, labels: Path) -> None:
    assert check(doctored(bundle, _one_more))[0] == "complete"
    _, found, _ = check(bundle, labels)
    assert "dtd/test/seed0: correct: is 17, the predictions give 16" in found["labels"]
    assert found["mean accuracy"] == ["80.83 by the records, 80.00 by predictions and labels"]


def test_labels_that_lack_a_domain_verify_nothing(bundle: Path, labels: Path) -> None:
    doctored(labels, _without("svhn"))
    verdict, found, value = check(bundle, labels)
    assert (verdict, found) == ("complete", {})
    (text,) = [point["text"] for point in value["points"] if point["name"] == "labels"]
    assert (
        text == f"60 predictions of 3 records recomputed; not those of svhn: no labels in {labels}"
    )


def test_results_without_labels_are_scored_by_given_ones(
    results: Path, tmp_path: Path, labels: Path
) -> None:
    unknown = {"correct": None, "total": None, "correctness": None}
    add(results, "blind", "dtd", **unknown)
    path = write_bundle(results, "blind", tmp_path / "a.zip").path
    verdict, found, value = check(path)
    assert (verdict, found, value["mean"]) == ("complete", {}, None)
    verdict, found, value = check(path, labels)
    assert (verdict, found, value["mean"]) == ("verified", {}, pytest.approx(80))


def test_settings_are_not_chosen_on_the_split_that_is_reported(
    results: Path, tmp_path: Path
) -> None:
    chosen = Selection(**TUNED | {"chosen": {"lr": 1}})
    fields = {"recipe": {"lr": 1}, "selection": chosen, "trained_on": "train"}
    add(results, "tuned", "dtd", split="val", data={"train": "1" * 64, "val": "2" * 64}, **fields)
    path = write_bundle(results, "tuned", tmp_path / "a.zip", split="val").path
    assert check(path)[1] == {
        "selection": ["dtd/val/seed0: settings were chosen on val, which is reported"]
    }


def test_a_method_that_is_not_installed_is_not_compared(results: Path, tmp_path: Path) -> None:
    code = {"distribution": "theirs", "version": "1", "sha256": "1" * 64}
    add(results, "theirs", "dtd", method="theirs")
    path = write_bundle(results, "theirs", tmp_path / "a.zip").path
    changes = both(
        edit("results/theirs/dtd/test/seed0/record.json", code=code), edit("card.json", code=code)
    )
    verdict, found, value = check(doctored(path, changes))
    assert (verdict, found) == ("complete", {})
    assert states(value)["code"] == "unchecked"


def test_nothing_but_invalid_records(bundle: Path) -> None:
    def change(members: Members) -> None:
        for name in members:
            if name.endswith("record.json"):
                members[name] = b'{"format": 2}'

    verdict, found, value = check(doctored(bundle, change))
    assert verdict == "unverified"
    assert len(found["records"]) == 5
    assert states(value).keys() == {"records"}
