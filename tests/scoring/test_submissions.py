"""Submissions: written, scored exactly, and refused with all problems at once."""

import gzip
import io
import json
import random
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decathlon.common import zipped
from decathlon.common.errors import DataError, ResultError, UsageError
from decathlon.data.sources.test_labels import read_labels
from decathlon.scoring import predictions
from decathlon.scoring.evaluate import evaluate, read_baseline_errors, read_submission
from decathlon.scoring.render import reports
from decathlon.scoring.submit import submit
from decathlon.suites.visual_decathlon import BASELINE, DOMAINS, SUITE

OFFICIAL = Path(__file__).parents[3] / "shared" / "data" / "labels_test.zip"
NUM_IMAGES, NUM_CLASSES = 20, 4
AddRuns = Callable[..., None]
Entry = dict[str, Any]


def first_ids(domain: str) -> tuple[int, int]:
    """The least image id and category id of a domain, in the official scheme."""
    base = (sorted(DOMAINS).index(domain) + 1) * 10_000_000
    return base + 200_000, base + 1


def truth(domain: str) -> list[tuple[int, int]]:
    image, category = first_ids(domain)
    return [(image + i, category + i % NUM_CLASSES) for i in range(NUM_IMAGES)]


def annotations(domain: str) -> dict[str, Any]:
    _, category = first_ids(domain)
    pairs = truth(domain)
    return {
        "images": [{"id": i, "file_name": f"data/{domain}/test/{i}.jpg"} for i, _ in pairs],
        "annotations": [{"id": i, "image_id": i, "category_id": c} for i, c in pairs],
        "categories": [{"id": category + k, "name": str(k)} for k in range(NUM_CLASSES)],
    }


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels_test.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for domain in DOMAINS:
            archive.writestr(f"{domain}_test.json", json.dumps(annotations(domain)))
    return path


def entries_of(domain: str, wrong: int = 0) -> list[Entry]:
    _, category = first_ids(domain)
    return [
        {
            "image_id": i,
            "category_id": category + (c - category + 1) % NUM_CLASSES if k < wrong else c,
        }
        for k, (i, c) in enumerate(truth(domain))
    ]


def zip_of(tmp_path: Path, content: Any, name: str = "results.json") -> Path:
    path = tmp_path / "submission.zip"
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, raw)
    return path


ERRORS = {name: 1 - percent / 100 for name, percent in BASELINE.items()}
"""The errors behind the official E_max, for labels that are not the official ones."""


def exact_points(domain: str, wrong: int, total: int) -> Fraction:
    limit = 2 * (1 - Fraction(str(BASELINE[domain])) / 100)
    return 1000 * max(Fraction(0), 1 - Fraction(wrong, total) / limit) ** 2


def test_planted_errors_give_the_score_computed_by_hand(tmp_path: Path, labels: Path) -> None:
    wrong = {name: k for k, name in enumerate(DOMAINS)}
    everything = [e for name in DOMAINS for e in entries_of(name, wrong[name])]
    rng = np.random.default_rng(0)
    shuffled = [everything[i] for i in rng.permutation(len(everything))]
    found = evaluate(zip_of(tmp_path, shuffled), labels, ERRORS)
    by_hand = sum(exact_points(name, wrong[name], NUM_IMAGES) for name in DOMAINS)
    assert found.score == pytest.approx(float(by_hand), abs=1e-9)
    assert found.accuracy["ucf101"] == pytest.approx(55)
    assert found.missing == ()


def test_perfect_is_10000(tmp_path: Path, labels: Path) -> None:
    everything = [e for name in DOMAINS for e in entries_of(name)]
    found = evaluate(zip_of(tmp_path, everything), labels, ERRORS)
    assert found.score == 10_000
    assert set(found.points.values()) == {1000.0}


def test_a_missing_domain_counts_0_and_is_listed(tmp_path: Path, labels: Path) -> None:
    most = [e for name in DOMAINS if name != "imagenet12" for e in entries_of(name)]
    found = evaluate(zip_of(tmp_path, most), labels, ERRORS)
    assert found.score == 9000
    assert found.missing == ("imagenet12",)
    assert found.points["imagenet12"] == 0
    assert "imagenet12" not in found.accuracy


def test_labels_may_be_a_folder(tmp_path: Path, labels: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (folder / "dtd_test.json").write_text(json.dumps(annotations("dtd")))
    (folder / "dtd_val.json").write_text("not read")
    assert list(read_labels(folder, SUITE)) == ["dtd"]
    assert evaluate(zip_of(tmp_path, entries_of("dtd")), folder, ERRORS).score == 1000


def test_all_problems_are_named_at_once(tmp_path: Path, labels: Path) -> None:
    _, dtd = first_ids("dtd")
    _, svhn = first_ids("svhn")
    entries: list[Any] = entries_of("dtd")[:-3] + entries_of("gtsrb") + entries_of("svhn")
    entries.append(entries[0] | {"category_id": dtd + 1})
    entries[1] = entries[1] | {"category_id": svhn}
    entries[2] = entries[2] | {"category_id": 7}
    entries += [{"image_id": 5, "category_id": dtd}, {"image_id": True, "category_id": 1}]
    entries += [{"image_id": "six", "category_id": 1}, [1, 2], None, {"image_id": 1.0}]
    with pytest.raises(ResultError) as caught:
        evaluate(zip_of(tmp_path, entries), labels)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    for part in (
        "5 entries are not",
        "1 image ids are predicted more than once",
        "dtd: 3 of 20 images have no prediction",
        "dtd: 1 predictions name a category of svhn",
        "dtd: 1 predictions name no known category: 7",
        "1 image ids are of no test image: 5",
    ):
        assert part in message
    assert len(message.splitlines()) == 7


@pytest.mark.parametrize(
    "entry",
    [
        {"image_id": 1},
        {"category_id": 1},
        {"image_id": 1, "category_id": "one"},
        {"image_id": 1, "category_id": "1.5"},
        {"image_id": 1, "category_id": 1.5},
        {"image_id": 1, "category_id": 2.0**53},
        {"image_id": 1, "category_id": "9" * 30},
        {"image_id": 1, "category_id": "-1"},
        {"image_id": 1, "category_id": None},
        {"image_id": -1, "category_id": 1},
        {"image_id": 2**63, "category_id": 1},
        {"image_id": False, "category_id": 1},
        "\x1b[31m",
    ],
)
def test_wrong_types_are_no_predictions(tmp_path: Path, entry: Any) -> None:
    found = read_submission(zip_of(tmp_path, [entry]))
    assert len(found.image_ids) == 0
    assert "the first is entry 0" in found.problems[0]
    assert "\x1b" not in found.problems[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"[{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"{}", "is an object, has to be a list"),
        (b"3", "is a number"),
        (b"[]", "there is no prediction in it"),
        (b'[{"image_id": NaN, "category_id": 1}]', "NaN is no number"),
        (b"[" * 900 + b"]" * 900, "entries are not|not JSON"),
        (b"[" * 2000 + b"]" * 2000, "1000 lists"),
        (b"[" + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]", "entries are not|not JSON"),
        (b"[" + b"9" * 10_000 + b"]", "not JSON"),
        (b"[" + b"{}," * 1_000_001 + b"{}]", "more than 1000000 entries"),
        (b"[" + b"[1, 2]," * 2000 + b"[1, 2]]", "no lists in them"),
        (gzip.compress(bytes(random.Random(0).randbytes(300_000))), "packed with gzip"),
    ],
)
def test_bad_content_is_one_message(
    tmp_path: Path, labels: Path, content: bytes, said: str
) -> None:
    with pytest.raises(ResultError, match=said) as raised:
        evaluate(zip_of(tmp_path, content), labels)
    assert len(str(raised.value)) < 1000


def test_what_is_no_archive(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(ResultError, match="cannot be read"):
        evaluate(tmp_path / "nowhere.zip", labels)
    with pytest.raises(ResultError, match="cannot be read"):
        evaluate(tmp_path, labels)
    whole = zip_of(tmp_path, entries_of("dtd")).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultError, match="not a zip archive"):
        evaluate(cut, labels)
    flipped = tmp_path / "flipped.zip"
    flipped.write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    with pytest.raises(ResultError, match="damaged"):
        evaluate(flipped, labels)


def certain(tmp_path: Path) -> dict[str, Path]:
    """The same predictions of dtd in forms that can have but one meaning."""
    entries = entries_of("dtd", wrong=5)
    text = json.dumps(entries)
    floats = [{key: float(value) for key, value in entry.items()} for entry in entries]
    texts = [{key: str(value) for key, value in entry.items()} for entry in entries]
    coco = {"images": [{"id": 1}], "annotations": entries, "categories": [{"id": 2}]}
    contents: dict[str, Any] = {
        "bare": text,
        "with a mark of UTF-8": "\ufeff" + text,
        "with decimal points": json.dumps(floats),
        "with text": json.dumps(texts),
        "with scores": json.dumps([entry | {"score": 0.5} for entry in entries]),
        "in an object": json.dumps({"results": entries}),
        "in an object of COCO": json.dumps(coco),
        "by domain": json.dumps({"dtd": entries[:9], "more": entries[9:]}),
        "in lists": json.dumps([entries[:9], entries[9:]]),
        "repeated": json.dumps(entries + entries[:3]),
        "from last to first": json.dumps(entries[::-1]),
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(content, encoding="utf-8")
    for name, inside in (("folder in zip", "mine/results.json"), ("other name", "mine.json")):
        paths[name] = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(paths[name], "w") as archive:
            archive.writestr(inside, text)
            archive.writestr("__MACOSX/mine/._results.json", b"\0")
    paths["folder"] = tmp_path / "folder"
    paths["folder"].mkdir()
    (paths["folder"] / "results.json").write_text(text)
    paths["UTF-16"] = tmp_path / "utf-16.json"
    paths["UTF-16"].write_text(text, encoding="utf-16")
    return paths


FORGIVEN = {
    "with decimal points": "taken as whole numbers",
    "with text": "taken as whole numbers",
    "in an object": "those under results",
    "in an object of COCO": "those under annotations",
    "by domain": "those under dtd, more",
    "in lists": "those of all 2 lists",
    "repeated": "3 entries are repeated and count once",
}


def test_what_can_have_but_one_meaning_is_taken_and_noted(tmp_path: Path, labels: Path) -> None:
    for name, path in certain(tmp_path).items():
        found = evaluate(path, labels, ERRORS)
        assert found.correct == {"dtd": 15}, name
        notes = [note for note in found.notes if "E_max" not in note]
        assert len(notes) == (name in FORGIVEN), name
        assert FORGIVEN.get(name, "") in "".join(notes)


def shifted(domain: str, images: int = 0, categories: int = 0, first: int | None = None) -> Any:
    """A domain's true predictions, with other ids."""
    change = categories if first is None else first - first_ids(domain)[1]
    return [
        {"image_id": image + images, "category_id": category + change}
        for image, category in truth(domain)
    ]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (shifted("dtd", first=0), "contiguous labels 0..3: add 40000001 to each"),
        (shifted("dtd", first=1), "contiguous labels 1..4: add 40000000 to each"),
        (
            [e for e in shifted("dtd", first=1) if e["category_id"] < 4],
            "contiguous labels: add 40000001 to each if they count from 0, 40000000 if from 1",
        ),
        (shifted("dtd", categories=1), "40000001..40000004: these look one too high, subtract 1"),
        (shifted("dtd", categories=-1), "these look one too low, add 1 to each"),
        (shifted("dtd", categories=77), "(the ids are 40000001..40000004)"),
        (shifted("dtd", images=1), "the ids look one too high: subtract 1"),
        (shifted("dtd", images=-1), "the ids look one too low: add 1"),
        (shifted("dtd", images=-first_ids("dtd")[0]), "they look like positions in a list"),
    ],
)
def test_ids_that_are_off_are_refused_with_what_they_look_like(
    tmp_path: Path, labels: Path, entries: Any, said: str
) -> None:
    with pytest.raises(ResultError) as caught:
        evaluate(zip_of(tmp_path, entries), labels, ERRORS)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("image_id,category_id\n1,2\n", "looks like CSV: a submission is JSON"),
        ('{"image_id": 1, "category_id": 2}\n{"image_id": 3, "category_id": 4}', "object a line"),
        ('{"1": 2, "3": 4}', "is an object of image ids and categories, it seems"),
        ('{"results": []}', "is an object, has to be a list"),
        ("null", "is null, has to be a list"),
        ("\x1f\x0b", "not JSON"),
        ("PK\3\4 cut", "not a zip archive, or a damaged one"),
    ],
)
def test_what_a_file_looks_like_is_said(
    tmp_path: Path, labels: Path, content: str, said: str
) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=said) as caught:
        evaluate(path, labels)
    assert caught.value.exit_code == 4


def test_other_than_the_official_labels_give_no_official_score(
    tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(zip_of(tmp_path, entries_of("dtd", wrong=5)), labels)
    assert (found.score, found.points, found.accuracy) == (None, {}, {"dtd": 75.0})
    assert "does not hold the official test labels of dtd" in found.notes[0]
    assert "--baseline-errors FILE" in found.notes[0]
    reports.render_submission(found)
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("S ")]
    assert line.split()[1:] == ["withheld"]
    assert "counts 0" not in said
    reports.render_submission(found, "json")
    assert json.loads(capsys.readouterr().out)["score"] is None


def test_errors_of_a_baseline_define_e_max(tmp_path: Path, labels: Path) -> None:
    path = zip_of(tmp_path, entries_of("dtd", wrong=5) + entries_of("svhn"))
    found = evaluate(path, labels, {"dtd": 0.5, "gtsrb": 0.2, "svhn": 0.0})
    assert found.points == {"dtd": 1000 * (1 - 0.25) ** 2, "gtsrb": 0.0}
    assert found.score == 1000 * (1 - 0.25) ** 2
    assert found.missing == ("gtsrb",)
    assert "in 2 domains: S is at most 2000" in found.notes[0]
    assert "svhn: no baseline error above 0, not part of S." in found.notes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"dtd": 55.5}', r"dtd is 55.5, outside \[0, 1\].*not a percentage"),
        ('{"dtd": -0.1}', "outside"),
        ('{"dtdd": 0.1}', "unknown domain 'dtdd', did you mean 'dtd'"),
        ('{"dtd": "0.1"}', "the error of dtd is not a number"),
        ('{"dtd": true}', "not a number"),
        ('{"dtd": NaN}', "NaN is no number"),
        ("{}", "not a JSON object with a domain"),
        ("[0.1]", "not a JSON object with a domain"),
        ("[" * 5000, "not JSON"),
    ],
)
def test_errors_of_a_baseline_are_checked(
    tmp_path: Path, labels: Path, content: str, said: str
) -> None:
    path = tmp_path / "errors.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        evaluate(zip_of(tmp_path, entries_of("dtd")), labels, read_baseline_errors(path))
    with pytest.raises(UsageError, match="cannot be read"):
        read_baseline_errors(tmp_path / "nowhere.json")


def test_an_archive_of_something_else(tmp_path: Path, labels: Path) -> None:
    path = zip_of(tmp_path, [], name="predictions.csv")
    with pytest.raises(ResultError, match=r"holds 0 \(inside: 'predictions.csv'\)"):
        evaluate(path, labels)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/results.json", "[]")
        archive.writestr("b/results.json", "[]")
    with pytest.raises(ResultError, match="holds 2"):
        evaluate(path, labels)


def test_an_encrypted_archive(tmp_path: Path, labels: Path) -> None:
    path = zip_of(tmp_path, entries_of("dtd"))
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(ResultError, match="cannot be unpacked"):
        evaluate(path, labels)


def test_a_bomb_is_refused_without_being_unpacked(tmp_path: Path, labels: Path) -> None:
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("results.json", "w") as member,
    ):
        for _ in range(predictions.MAX_BYTES // 1_000_000 + 40):
            member.write(b" " * 1_000_000)
    with pytest.raises(ResultError, match="unpacks to more than 64 MB"):
        evaluate(path, labels)


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """Local and central headers declare 10 bytes for a stream of 5 MB."""
    data = zlib.compress(b"[" + b" " * 5_000_000, 9)[2:-4]
    name = b"results.json"
    sizes = struct.pack("<III", 0, len(data), 10)
    local = struct.pack("<4sHHHHH", b"PK\x03\x04", 20, 0, 8, 0, 33) + sizes
    local += struct.pack("<HH", len(name), 0) + name
    central = struct.pack("<4sHHHHHH", b"PK\x01\x02", 20, 20, 0, 8, 0, 33) + sizes
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    where = len(local) + len(data)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), where, 0)
    path = tmp_path / "liar.zip"
    path.write_bytes(local + data + central + end)
    with pytest.raises(ResultError), zipped.opened(path, ResultError) as archive:
        zipped.member(archive, "results.json", 1000, path, ResultError)


def test_too_many_members(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(zipped.MAX_MEMBERS + 1):
            archive.writestr(str(i), "")
    with pytest.raises(ResultError, match="more than 10000 files"):
        read_submission(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": None}, "not an annotation file"),
        ({"annotations": []}, "do not match one to one"),
        ({"categories": [{"id": 1}]}, "annotated but not listed"),
        ({"images": [{"id": "1"}]}, "a whole number"),
        ({"images": [], "annotations": []}, "has no images"),
    ],
)
def test_damaged_labels_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    (tmp_path / "dtd_test.json").write_text(json.dumps(annotations("dtd") | change))
    with pytest.raises(DataError, match=rf"(?s)dtd_test\.json.*{said}") as caught:
        read_labels(tmp_path, SUITE)
    assert caught.value.exit_code == 3


def test_no_labels_and_labels_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no <domain>_test\.json"):
        read_labels(tmp_path, SUITE)
    (tmp_path / "dtd_test.json").write_text(json.dumps(annotations("dtd")))
    (tmp_path / "svhn_test.json").write_text(json.dumps(annotations("dtd")))
    with pytest.raises(DataError, match="two domains share image ids"):
        read_labels(tmp_path, SUITE)
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.zip", SUITE)


def test_submit_and_evaluate_agree_with_the_records(
    tmp_path: Path, results: Path, labels: Path, add_runs: AddRuns, add_predictions: AddRuns
) -> None:
    wrong = {name: k for k, name in enumerate(DOMAINS)}
    for name in DOMAINS:
        add_runs("mine", {name: (NUM_IMAGES - wrong[name], NUM_IMAGES)}, official=False)
        pairs = [(e["image_id"], e["category_id"]) for e in entries_of(name, wrong[name])]
        add_predictions("mine", name, pairs)
    out = tmp_path / "mine.zip"
    written = submit(results, "mine", out)
    assert (written.seed, written.missing, written.official) == (0, (), False)
    assert set(written.num_predictions.values()) == {NUM_IMAGES}
    found = evaluate(out, labels)
    assert found.accuracy == {
        name: pytest.approx(100 * (1 - wrong[name] / NUM_IMAGES)) for name in DOMAINS
    }
    first = out.read_bytes()
    submit(results, "mine", out)
    assert out.read_bytes() == first
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["results.json"]
        entries = json.loads(archive.read("results.json"))
    assert entries[0] == {"image_id": 60_200_000, "category_id": 60_000_001}


def test_submit_takes_the_fullest_seed_and_any_untrained_record(
    tmp_path: Path, results: Path, add_runs: AddRuns, add_predictions: AddRuns
) -> None:
    add_runs("mine", {"imagenet12": None}, seed=0, trained=False)
    add_predictions("mine", "imagenet12", truth("imagenet12"))
    for seed, domains in ((1, ["dtd"]), (2, ["dtd", "svhn"])):
        for name in domains:
            add_runs("mine", {name: None}, seed=seed)
            add_predictions("mine", name, truth(name), seed=seed)
    out = tmp_path / "mine.zip"
    written = submit(results, "mine", out)
    assert written.seed == 2
    assert list(written.num_predictions) == ["imagenet12", "dtd", "svhn"]
    assert len(written.missing) == 7
    assert submit(results, "mine", out, seed=1).seed == 1
    with pytest.raises(UsageError, match=r"no test results of seed 5 \(there are: 0, 1, 2\)"):
        submit(results, "mine", out, seed=5)


def test_submit_refuses_what_is_not_there(
    tmp_path: Path, results: Path, add_runs: AddRuns, add_predictions: AddRuns
) -> None:
    add_runs("mine", {"dtd": None, "svhn": None})
    out = tmp_path / "mine.zip"
    with pytest.raises(UsageError, match=r"no test results of 'mien'.*did you mean 'mine'"):
        submit(results, "mien", out)
    with pytest.raises(ResultError, match=r"dtd/test/seed0/predictions\.json: cannot be read"):
        submit(results, "mine", out)
    add_predictions("mine", "dtd", truth("dtd"))
    add_predictions("mine", "svhn", truth("dtd"))
    with pytest.raises(ResultError, match=r"predicted more than once \(in dtd, svhn\)"):
        submit(results, "mine", out)
    add_runs("mine", {"svhn": (3, 5)}, official=False)
    with pytest.raises(ResultError, match="20 predictions, but 5 in the record"):
        submit(results, "mine", out)
    assert not out.exists()


def test_reports(tmp_path: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(zip_of(tmp_path, entries_of("dtd", wrong=5)), labels, ERRORS)
    reports.render_submission(found)
    said = capsys.readouterr().out
    assert "imagenet12, aircraft" in said
    assert next(line for line in said.splitlines() if line.startswith("dtd")).split()[1:4] == [
        "20",
        "15",
        "75.00",
    ]
    out = tmp_path / "report.json"
    reports.render_submission(found, "json", out)
    value = json.loads(out.read_text())
    assert set(value) == {"score", "accuracy", "points", "missing", "notes"}
    assert value["accuracy"] == {"dtd": 75.0}
    with pytest.raises(UsageError, match="unknown format 'jsno', did you mean 'json'"):
        reports.render_submission(found, "jsno")


def test_official_labels_score_10000_in_under_five_seconds(tmp_path: Path) -> None:
    if not OFFICIAL.exists():
        pytest.skip("the official labels_test.zip is not at ../shared/data")
    official = read_labels(OFFICIAL, SUITE)
    assert {n: len(o.image_ids) for n, o in official.items()} == {
        n: domain.sizes[2] for n, domain in DOMAINS.items()
    }
    planted = {"gtsrb": 63, "svhn": 800}
    entries = []
    for name, label in official.items():
        pairs = list(zip(label.image_ids.tolist(), label.category_ids.tolist(), strict=True))
        other = label.categories[[1, 0]].tolist()
        for k, (image, category) in enumerate(pairs):
            wrong = other[0] if category != other[0] else other[1]
            said = wrong if k < planted.get(name, 0) else category
            entries.append({"image_id": image, "category_id": said})
    assert len(entries) == 139_760
    path = zip_of(tmp_path, entries)
    began = time.process_time()
    found = evaluate(path, OFFICIAL)
    assert time.process_time() - began < 5
    assert found.notes == ()
    by_hand = sum(
        exact_points(name, planted.get(name, 0), domain.sizes[2])
        for name, domain in DOMAINS.items()
    )
    assert found.score == pytest.approx(float(by_hand), abs=1e-9)


def test_streams_of_reports_end_with_a_line(tmp_path: Path, labels: Path) -> None:
    found = evaluate(zip_of(tmp_path, entries_of("dtd")), labels)
    out = tmp_path / "report.txt"
    reports.render_submission(found, "table", out)
    text = out.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert max(map(len, io.StringIO(text).read().splitlines())) <= 120
