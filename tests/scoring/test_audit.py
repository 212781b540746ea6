"""Records against their predictions, and predictions against the labels."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.errors import DataError, ResultError, UsageError
from decathlon.common.files import sha256, write_json
from decathlon.data.manifest import read_manifest, write_manifest
from decathlon.data.reading.answers import open_answers
from decathlon.data.sources.test_labels import LabelsFile, read_labels
from decathlon.results.records import pack_bits, trial_folder, write_record
from decathlon.scoring.board import board_of
from decathlon.scoring.compare import compare
from decathlon.scoring.figures.plot import plot
from decathlon.scoring.submit import submit
from decathlon.suites.visual_decathlon import DOMAINS, SUITE
from tests.scoring.making import make_record

OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "labels_test.zip"
Change = Callable[[dict[str, Any]], None]


def edit(path: Path, change: Change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def honest(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Honest results of two names on two domains of prepared data; one in ten is wrong."""
    results = tmp_path_factory.mktemp("audit") / "results"
    answers = open_answers(tiny)
    for name, every in (("a", 10), ("b", 3)):
        for domain in ("dtd", "svhn"):
            key = answers.key(domain, "test")
            assert key is not None
            assert key.category_ids is not None
            wrong = {
                c: key.categories[0] if c != key.categories[0] else key.categories[1]
                for c in key.categories.tolist()
            }
            said, bits = [], []
            for place, (image, category) in enumerate(
                zip(key.image_ids.tolist(), key.category_ids.tolist(), strict=True)
            ):
                bits.append(bool(place % every))
                chosen = category if bits[-1] else int(wrong[category])
                said.append({"image_id": image, "category_id": chosen})
            path = results / trial_folder(name, domain, "test", 0) / "predictions.json"
            write_json(path, said, indent=None)
            record = make_record(
                name,
                domain,
                bits,
                official=False,
                num_classes=len(key.categories),
                data=dict(key.digests),
                predictions=sha256(path),
            )
            write_record(results, record)
    return results


@pytest.fixture
def results(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "results"))


def record_of(results: Path, name: str = "a") -> Path:
    return results / name / "dtd" / "test" / "seed0" / "record.json"


def test_honest_records_agree_with_data_and_labels(tiny: Path, results: Path) -> None:
    labels = tiny.parent / "archives" / "labels_test.zip"
    found = LabelsFile(labels, read_labels(labels, SUITE))
    for answers in (open_answers(tiny), found):
        notes = board_of(results, baseline="a", answers=answers).notes
        assert any("counts of 4 records are what the predictions give" in n for n in notes)
        notes = compare("a", "b", results, baseline="b", answers=answers).notes
        assert any("counts of 4 records are what the predictions give" in n for n in notes)


def all_right(value: dict[str, Any]) -> None:
    value["correct"] = value["total"]
    value["correctness"] = pack_bits([True] * value["total"])


def moved_bits(value: dict[str, Any]) -> None:
    bits = [True] * value["correct"] + [False] * (value["total"] - value["correct"])
    value["correctness"] = pack_bits(bits)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (all_right, ["correct: is 12, the predictions give 10", "correctness: 2 of its bits"]),
        (moved_bits, ["correctness: "]),
        (lambda value: value.update(num_classes=99), ["num_classes: is 99, has to be 12"]),
        (lambda value: value.update(official=True), ["official: is true"]),
        (lambda value: value["data"].update(train="0" * 64), ["data.train: is 000000000000..."]),
        (lambda value: value["data"].update(test="0" * 64), ["data.test: is 000000000000..."]),
    ],
)
def test_a_record_that_states_something_else_is_named(
    tiny: Path, results: Path, change: Change, said: list[str]
) -> None:
    edit(record_of(results), change)
    edit(record_of(results, "b"), change)  # records of other data do not go on one board
    answers = open_answers(tiny)
    calls: list[Callable[[], object]] = [
        lambda: board_of(results, baseline="a", answers=answers),
        lambda: compare("a", "b", results, baseline="a", answers=answers),
    ]
    for call in calls:
        with pytest.raises(ResultError, match=r"disagree with .*data") as caught:
            call()
        assert caught.value.exit_code == 4
        assert all(f"a/dtd/test/seed0: {text}" in str(caught.value) for text in said)
        assert "svhn" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[0].update(image_id=5), ["1 image ids have no", "1 image ids are of no"]),
        (lambda rows: rows[0].update(rows[1]), ["predicted more than once", "have no prediction"]),
        (lambda rows: rows[0].update(category_id=7), ["1 predictions name no category", "7"]),
        (lambda rows: rows.pop(), ["11 predictions, but 12 in the record"]),
    ],
)
def test_predictions_that_do_not_fit_the_labels_are_named(
    tiny: Path, results: Path, change: Callable[[list[dict[str, int]]], None], said: list[str]
) -> None:
    path = record_of(results).with_name("predictions.json")
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))
    edit(record_of(results), lambda value: value.update(predictions=sha256(path)))
    with pytest.raises(ResultError, match="disagree") as caught:
        board_of(results, baseline="a", answers=open_answers(tiny))
    assert all(text in str(caught.value) for text in said)


def test_what_cannot_be_checked_is_said(tiny: Path, results: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny, tmp_path / "data"))
    manifest = read_manifest(data)
    assert manifest is not None
    kept = {name: entry for name, entry in manifest.domains.items() if name != "svhn"}
    write_manifest(data, manifest.model_copy(update={"domains": kept}))
    notes = board_of(results, baseline="a", answers=open_answers(data)).notes
    assert any("counts of 2 records" in note for note in notes)
    assert any(f"Not checked: svhn; not in {data}" in note for note in notes)
    with pytest.raises(DataError, match="no prepared data folder"):
        open_answers(tmp_path)


def test_a_record_from_before_labels_were_filled_in_is_no_fraud(tiny: Path, results: Path) -> None:
    unknown = {"correct": None, "total": None, "correctness": None}
    edit(record_of(results), lambda value: value.update(unknown))
    edit(record_of(results), lambda value: value["data"].update(test="0" * 64))
    board_of(results, baseline="b", answers=open_answers(tiny))


def test_changed_or_missing_predictions_are_refused_everywhere(
    results: Path, tmp_path: Path
) -> None:
    path = record_of(results).with_name("predictions.json")
    calls: list[Callable[[], object]] = [
        lambda: board_of(results, baseline="a"),
        lambda: compare("a", "b", results, baseline="a"),
        lambda: plot("tradeoff", results, tmp_path / "x.svg", baseline="a"),
        lambda: submit(results, "a", tmp_path / "x.zip"),
    ]
    for said in ("was changed after its record was written", "missing"):
        path.write_text(path.read_text() + " ") if said != "missing" else path.unlink()
        for call in calls:
            with pytest.raises(ResultError, match=rf"predictions\.json: {said}") as caught:
                call()
            assert caught.value.exit_code == 4


def test_records_without_a_digest_are_read_and_counted(results: Path, tiny: Path) -> None:
    edit(record_of(results), lambda value: value.update(predictions=None))
    text = "1 of 4 records carry no digest of their predictions"
    assert any(text in note for note in board_of(results, baseline="a").notes)
    answers = open_answers(tiny)
    assert not any(text in n for n in board_of(results, baseline="a", answers=answers).notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "calls its data official, but has 12 classes; the official dtd has 47"),
        ({"num_classes": 47}, "calls its data official, but has 12 test images"),
    ],
)
def test_what_cannot_be_official_needs_a_baseline(
    results: Path, change: dict[str, Any], said: str
) -> None:
    for name in ("a", "b"):
        shutil.rmtree(results / name / "svhn")
        edit(record_of(results, name), lambda value: value.update(change, official=True))
    with pytest.raises(ResultError, match=said) as caught:
        board_of(results)
    assert "--baseline NAME" in str(caught.value)
    with pytest.raises(ResultError, match=said):
        compare("a", "b", results)
    board_of(results, baseline="a")
    assert not submit(results, "a", results / "x.zip").official


def test_the_commands_check_without_torch(tiny: Path, results: Path) -> None:
    program = (
        "import sys, decathlon.cli as cli\n"
        "sys.argv = ['decathlon', *sys.argv[1:]]\n"
        "try:\n    cli.main()\nexcept SystemExit as done:\n    code = done.code\n"
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("score", results, "--baseline", "a", "--data", tiny)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Checked against" in done.stdout
    edit(record_of(results), all_right)
    labels = tiny.parent / "archives" / "labels_test.zip"
    for option, place in (("--data", tiny), ("--labels", labels)):
        done = run("score", results, "--baseline", "a", option, place)
        assert done.returncode == 4
        assert "correct: is 12, the predictions give 10" in done.stderr
        done = run("compare", "a", "b", results, "--baseline", "a", option, place)
        assert done.returncode == 4
    assert run("score", results, "--data", tiny, "--labels", labels).returncode == 2
    assert run("score", results, "--split", "val", "--labels", labels).returncode == 2
    assert run("score", results, "--data", tiny.parent).returncode == 3


def test_official_labels_are_known_by_their_content(tmp_path: Path) -> None:
    if not OFFICIAL.exists():
        pytest.skip("the official labels_test.zip is not at ../shared/data")
    assert all(domain.labels_sha256 for domain in DOMAINS.values())
    assert all(label.official for label in read_labels(OFFICIAL, SUITE).values())
    with zipfile.ZipFile(OFFICIAL) as archive:
        value = json.loads(archive.read("dtd_test.json"))
    value["annotations"].reverse()
    (tmp_path / "dtd_test.json").write_text(json.dumps(value, indent=1))
    assert read_labels(tmp_path, SUITE)["dtd"].official
    value["annotations"][0]["category_id"] = value["annotations"][-1]["category_id"]
    (tmp_path / "dtd_test.json").write_text(json.dumps(value))
    assert not read_labels(tmp_path, SUITE)["dtd"].official


def test_labels_of_the_test_split_check_no_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of the test split"):
        LabelsFile(tmp_path, {}).key("dtd", "val")
