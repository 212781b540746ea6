"""Bundles that are damaged or meant to do harm: exit 4, the bundle named, nothing left behind."""

import json
import stat
import struct
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decathlon.cli import app
from decathlon.common.errors import ResultError
from decathlon.results.bundles import gathered
from decathlon.scoring.entries import read_entries
from decathlon.suites.visual_decathlon import SUITE
from tests.attacks.test_command import decathlon, files
from tests.attacks.test_zips import entry
from tests.results.test_bundles import card
from tests.scoring.making import make_record

TRIAL = "results/mine/dtd/test/seed0"
SHA = "5" * 64
Members = list[tuple[zipfile.ZipInfo | str, bytes]]


def honest() -> Members:
    record = make_record("mine", "dtd", [True, False], official=False)
    predictions = b'[{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 1}]'
    return [
        ("card.json", json.dumps(card().as_json()).encode()),
        (f"{TRIAL}/record.json", record.model_dump_json().encode()),
        (f"{TRIAL}/predictions.json", predictions),
    ]


def with_member(name: str, content: bytes = b"{}", method: int = zipfile.ZIP_DEFLATED) -> Members:
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    return [*honest(), (info, content)]


def replaced(name: str, content: bytes) -> Members:
    return [(old, content if old == name else was) for old, was in honest()]


def _link(mode: int) -> Members:
    info = zipfile.ZipInfo(f"{TRIAL}/log.jsonl")
    info.create_system = 3
    info.external_attr = (mode | 0o777) << 16
    return [*honest(), (info, b"/etc/passwd")]


def _card(**fields: object) -> Members:
    return replaced("card.json", json.dumps(card().as_json() | fields).encode())


def _nested(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


def _record(text: bytes) -> Members:
    raw = dict(honest())[f"{TRIAL}/record.json"].replace(b'{"epochs":1}', text)
    return replaced(f"{TRIAL}/record.json", raw)


def written(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


ZEROS = bytes(200_000_000)
ATTACKS: dict[str, tuple[Callable[[], Members], str]] = {
    "a name outside": (lambda: with_member("../escaped.json"), "is a name that leads outside"),
    "an absolute name": (lambda: with_member("/tmp/escaped.json"), "is a name that leads outside"),
    "a name outside within": (
        lambda: with_member("results/mine/../../../escaped/record.json"), "leads outside",
    ),
    "backslashes": (lambda: with_member("..\\escaped.json"), "is no part of a bundle"),
    "another file": (lambda: with_member("results/mine/run.py"), "is no part of a bundle"),
    "another file of a trial": (lambda: with_member(f"{TRIAL}/x.pkl"), "is no part of a bundle"),
    "published rows": (
        lambda: with_member("results/published/visual-decathlon/x.json"), "is no part of a bundle",
    ),
    "another split": (
        lambda: with_member("results/mine/dtd/train/seed0/record.json"), "is no part of a bundle",
    ),
    "a submission": (lambda: [("results.json", b"[]")], "`decathlon evaluate` scores official"),
    "a hidden name": (
        lambda: with_member("results/.mine/dtd/test/seed0/record.json"), "is no part of a bundle",
    ),
    "a name of another digit": (
        lambda: with_member("results/mine/dtd/test/seed٣/record.json"), "is no part of a bundle",
    ),
    "a terminal's escape": (
        lambda: with_member("results/mine/\x1b[31m/test/seed0/record.json"), "no part of a bundle",
    ),
    "a long name": (
        lambda: with_member(f"results/mine/{'x' * 300}/test/seed0/record.json"), "no part of a",
    ),
    "a symbolic link": (lambda: _link(stat.S_IFLNK), "is a link or a device"),
    "a device": (lambda: _link(stat.S_IFCHR), "is a link or a device"),
    "a member twice": (lambda: [*honest(), honest()[1]], "record.json' is there twice"),
    "a card twice": (lambda: [*honest(), honest()[0]], "'card.json' is there twice"),
    "two names": (
        lambda: with_member("results/other/dtd/test/seed0/record.json"), "'mine' and 'other'",
    ),
    "no card": (lambda: honest()[1:], "holds no card.json"),
    "no record": (lambda: honest()[:1], "holds no records"),
    "a trial without a record": (
        lambda: with_member("results/mine/svhn/test/seed0/log.jsonl"), "has no record.json",
    ),
    "lzma": (
        lambda: with_member(f"{TRIAL}/log.jsonl", method=zipfile.ZIP_LZMA), "is packed by method",
    ),
    "compressed weights": (
        lambda: with_member(f"{TRIAL}/weights.safetensors", ZEROS), "is compressed, but weights",
    ),
    "a compressed source": (
        lambda: with_member(f"results/sources/{SHA}.safetensors", ZEROS), "is compressed, but",
    ),
    "a large record": (
        lambda: replaced(f"{TRIAL}/record.json", ZEROS), "record.json unpacks to more than 1 MB",
    ),
    "a large card": (lambda: replaced("card.json", ZEROS), "card.json unpacks to more than 1 MB"),
    "a bomb": (
        lambda: replaced(f"{TRIAL}/predictions.json", ZEROS), "unpacks to more than 64 MB",
    ),
    "many bombs": (
        lambda: [
            *honest(),
            *(
                (f"results/mine/{domain}/test/seed{seed}/{file}", content)
                for domain in ("svhn", "dtd", "gtsrb")
                for seed in range(1, 5)
                for file, content in (("record.json", b"{}"), ("log.jsonl", ZEROS[:9_000_000]))
            ),
        ],
        "unpacks to more than",
    ),
    "too many members": (
        lambda: [
            *honest(),
            *((f"results/mine/dtd/test/seed{seed}/record.json", b"") for seed in range(1, 10_001)),
        ],
        "holds more than 10000 files",
    ),
    "a card that is no JSON": (lambda: replaced("card.json", b"{"), "card.json: not JSON"),
    "a card that is no object": (lambda: replaced("card.json", b"[]"), "card.json: not a valid"),
    "a card that is no text": (lambda: replaced("card.json", b"\xff{}"), "card.json: not"),
    "a card with NaN": (lambda: _card(settings={"lr": float("nan")}), "card.json: not JSON (NaN"),
    "a card of infinities": (
        lambda: replaced("card.json", b'{"label": 1e999}'), "1e999 is too large a number",
    ),
    "a deep card": (
        lambda: replaced("card.json", _nested(100_000, '{"a":', "}")), "card.json: not JSON",
    ),
    "a fairly deep card": (
        lambda: replaced("card.json", _nested(900, '{"a":', "}")), "card.json: not a valid",
    ),
    "a card of lists": (
        lambda: replaced("card.json", _nested(400_000, "[", "]")), "card.json: not JSON",
    ),
    "an unknown field": (lambda: _card(run="rm -rf /"), "run: Extra inputs are not permitted"),
    "a line on the card": (
        lambda: _card(**{"x\nsmith.zip: verified": 1}), r"x\nsmith.zip: verified: Extra inputs",
    ),
    "a line in a link": (
        lambda: _card(links={"x\nsmith.zip: verified": "x"}), r"links.x\nsmith.zip: verified: ",
    ),
    "a line in a record": (
        lambda: _record(b'{"epochs":1},"x\\nsmith.zip: verified":1'), r"x\nsmith.zip: verified: Ex",
    ),
    "a line in a domain": (
        lambda: replaced(
            f"{TRIAL}/record.json",
            make_record("mine", "x\nsmith.zip: verified", [True]).model_dump_json().encode(),
        ),
        r"belongs in mine/x\nsmith.zip: verified/test",
    ),
    "a script for a link": (lambda: _card(links={"paper": "javascript:alert(1)"}), "links.paper"),
    "a card of the future": (lambda: _card(schema=2), "schema: is 2, this version reads up to 1"),
    "a record that is no JSON": (lambda: replaced(f"{TRIAL}/record.json", b"{"), "not JSON"),
    "a record with NaN": (lambda: _record(b'{"epochs":NaN}'), "NaN is no number"),
    "a record of infinities": (lambda: _record(b'{"epochs":-1e999}'), "-1e999 is too large a"),
    "a record of thousands of digits": (
        lambda: _record(b'{"epochs":' + b"9" * 4000 + b"}"), "is too large a number",
    ),
    "a record of huge numbers": (lambda: _record(b'{"epochs":1e301}'), "1e301 is too large a"),
    "a fairly deep record": (
        lambda: _record(b'{"epochs":' + _nested(900, "[", "]") + b"}"), "record",
    ),
    "a deep record": (
        lambda: _record(b'{"epochs":' + _nested(200_000, "[", "]") + b"}"), "not JSON",
    ),
    "a record of elsewhere": (
        lambda: replaced(
            f"{TRIAL}/record.json", make_record("../x", "dtd", [True]).model_dump_json().encode()
        ),
        "the record says it belongs in ../x/dtd/test/seed0",
    ),
}  # fmt: skip
RAW: dict[str, Callable[[bytearray], None]] = {
    "encrypted": entry(8, "<H", 1),
    "patched": entry(8, "<H", 0x20),
    "version 255": entry(6, "<H", 255),
    "unknown method": entry(10, "<H", 99),
    "a directory far away": lambda raw: struct.pack_into(
        "<I", raw, raw.rindex(b"PK\x05\x06") + 16, 0x7FFFFFFF
    ),
    "a member far away": entry(42, "<I", 0x7FFFFFFF),
    "no checksum": entry(16, "<I", 1),
    "overlapping members": entry(20, "<I", 0x70000000),
    "cut": lambda raw: raw.__delitem__(slice(len(raw) // 2, None)),
}
"""Attacks on the bytes of an archive."""


LIMITED = ("a bomb", "many bombs", "compressed weights", "a deep record", "too many members")
"""Attacks on memory, which are also tried in a process that has little."""


def refused(path: Path, told: str, named: str) -> None:
    assert named in told
    assert path.name in told
    assert "decathlon-" not in told  # the temporary folder
    assert "\x1b" not in told
    assert "\nsmith.zip: verified" not in told


def refused_by_all(path: Path, named: str) -> None:
    before = files(path.parents[2])
    with pytest.raises(ResultError) as caught, gathered([path]) as found:
        read_entries(found.results, "test", SUITE)
    refused(path, str(caught.value), named)
    done = CliRunner().invoke(app, ["check-bundle", str(path)], env={"COLUMNS": "300"})
    if isinstance(done.exception, ResultError):
        refused(path, str(done.exception), named)
    else:
        assert done.exit_code == 4, done.exception
        refused(path, done.output, named)
    assert files(path.parents[2]) == before
    assert not list((path.parents[2] / "tmp").iterdir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder deep enough that what leads outside is still looked at."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(place: Path, name: str) -> None:
    attack, named = ATTACKS[name]
    with pytest.warns() if "twice" in name else nullcontext():
        path = written(place / "smith.zip", attack())
    refused_by_all(path, named)


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("command", ["score", "check-bundle"])
def test_a_command_refuses_it_with_little_memory(place: Path, name: str, command: str) -> None:
    attack, named = ATTACKS[name]
    path = written(place / "smith.zip", attack())
    done = decathlon(place, command, "smith.zip")
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    refused(path, done.stdout + done.stderr, named)


@pytest.mark.parametrize("name", RAW)
def test_a_damaged_archive_is_refused(place: Path, name: str) -> None:
    path = written(place / "smith.zip", honest())
    raw = bytearray(path.read_bytes())
    RAW[name](raw)
    path.write_bytes(raw)
    refused_by_all(path, "smith.zip: ")


def test_the_honest_control_is_taken(place: Path) -> None:
    written(place / "smith.zip", honest())
    done = decathlon(place, "score", "smith.zip", "--baseline", "smith")
    assert done.returncode == 0, done.stderr
    assert "smith" in done.stdout
    assert files(place).keys() == {place / "smith.zip"}


def test_a_folder_is_no_bundle(place: Path) -> None:
    (place / "results").mkdir()
    done = decathlon(place, "check-bundle", "results")
    assert done.returncode == 4
    assert "results: is a folder, not a bundle; `decathlon bundle` packs a row" in done.stderr


def test_settings_of_any_name_stay_in_their_line(place: Path) -> None:
    """Rows of one name are told apart by settings, which strangers name."""
    other = make_record("mine", "svhn", [True], official=False, recipe={"x\nverified": 1})
    trial = "results/mine/svhn/test/seed0"
    written(
        place / "smith.zip",
        [
            *honest(),
            (f"{trial}/record.json", other.model_dump_json().encode()),
            (f"{trial}/predictions.json", b'[{"image_id": 1, "category_id": 1}]'),
        ],
    )
    done = decathlon(place, "score", "smith.zip", "--baseline", "smith")
    assert done.returncode == 2
    assert r"x\nverified 1" in done.stderr
    assert "\nverified" not in done.stderr
