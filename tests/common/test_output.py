"""Standard output and standard error: other encodings, full disks, closed pipes, odd terminals."""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from decathlon.common.output import _Descriptor
from decathlon.common.text import to_ascii
from tests import pages

ROOT = Path(__file__).parents[2]
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
}
LABEL = "Café – Ω中"
LINES = "─━│┃┌╭┼"


@pytest.fixture(scope="module")
def place(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and a published row whose name is not ASCII."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data").symlink_to(tiny)
    rows = folder / "results" / "published"
    rows.mkdir(parents=True)
    path = ROOT / "results/published/visual-decathlon/scratch.json"
    row = json.loads(path.read_text(encoding="utf-8"))
    row |= {"label": LABEL, "method": None, "note": f"said {LABEL}"}
    (rows / "row.json").write_text(json.dumps(row), encoding="utf-8")
    return folder


def program(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "decathlon", *map(str, arguments)]


def settings(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def run(place: Path, line: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a command; standard output and error are pipes unless ``options`` say otherwise."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(program(*line.split()), cwd=place, **{"env": settings(), **options})


def forked(place: Path, line: str, encoding: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command whose streams have an encoding, in a process that has imported torch."""
    done = pages.run(place, line.split(), PYTHONIOENCODING=encoding)
    return subprocess.CompletedProcess(
        line, done.returncode, done.stdout.encode(), done.stderr.encode()
    )


def on_terminal(place: Path, line: str, **environment: str) -> tuple[int, str]:
    """Runs a command on a terminal; returns its exit code and what is shown."""
    master, slave = os.openpty()
    child = subprocess.Popen(
        program(*line.split()),
        cwd=place,
        env=settings(**environment),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = bytearray()
    while True:
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # what Linux says when the last writer has gone
            break
        if not data:
            break
        shown += data
    os.close(master)
    return child.wait(), shown.decode("utf-8")


TRIAL = "run --method scratch --set width=0.25 --set epochs=1 --set batch_size=16 --domain dtd"
COMMANDS = {
    "--help": 0,
    "score --help": 0,
    "methods": 0,
    "domains": 0,
    "verify": 0,
    "score results": 0,
    "score results --all --sensitivity": 0,
    "show dtd --out sheet.png": 0,
    "plot tradeoff results --out figure.svg": 0,
    "prepare --archives data/../archives": 0,
    f"{TRIAL} --force --results out": 0,
    "score café": 4,
    "score results --format tablé": 2,
    "nonsensé": 2,
    "show dtd --out sheet.png --n é": 2,
}


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        *((line, "ascii") for line in COMMANDS),
        *(("score results", name) for name in ENCODINGS if name != "ascii"),
        ("score café", "C"),
    ],
)
def test_text_degrades_to_what_the_encoding_has(place: Path, line: str, encoding: str) -> None:
    if encoding == "ascii" and line != "score results":
        done = forked(place, line, encoding)
    else:
        done = run(place, line, env=settings(**ENCODINGS[encoding]))
    said = done.stdout + done.stderr
    assert done.returncode == COMMANDS[line], said
    assert b"unexpected" not in said.replace(b"unexpected extra", b"")
    assert b"Error" not in said.replace(b"- Error -", b"")
    said.decode("latin-1" if encoding == "latin-1" else "ascii")
    if line == "score results":
        first = {"latin-1": "Café - ".encode("latin-1")}.get(encoding, b"Cafe - ")
        assert first in done.stdout
        assert b"-----" in done.stdout


@pytest.mark.parametrize("line", [f"{TRIAL} --results terminal", f"{TRIAL} --dry-run", "verify"])
def test_bars_and_live_tables_degrade_too(place: Path, line: str) -> None:
    code, shown = on_terminal(place, line, PYTHONIOENCODING="ascii")
    assert code == 0, shown
    assert shown.isascii()
    assert "unexpected" not in shown


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        *(("json", encoding) for encoding in ENCODINGS),
        *((form, "ascii") for form in ("csv", "html", "markdown", "latex")),
    ],
)
def test_data_formats_lose_no_character(
    place: Path, tmp_path: Path, form: str, encoding: str
) -> None:
    """On standard output they are the bytes that --out writes."""
    env = settings(**ENCODINGS[encoding])
    done = run(place, f"score results --format {form}", env=env)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "file"
    assert run(place, f"score results --format {form} --out {out}", env=env).returncode == 0
    assert out.read_bytes() == done.stdout
    text = done.stdout.decode("utf-8")
    assert (json.loads(text)["rows"][0]["label"] if form == "json" else text).count(LABEL)
    assert "\r" not in text


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))


PRINTING = ["--version", "--help", "methods", "verify", "score results --format csv"]


@pytest.mark.parametrize("line", PRINTING)
def test_a_full_standard_output_is_one_sentence(place: Path, tmp_path: Path, line: str) -> None:
    with (tmp_path / "full").open("wb") as full:
        done = run(place, line, stdout=full, preexec_fn=small_files)
    assert done.returncode == 1
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("decathlon: standard output: cannot be written (File too large)")
    assert done.stderr.count(b"decathlon:") == 1


@pytest.mark.parametrize("line", PRINTING[1::2])
def test_a_reader_that_went_away_ends_quietly(place: Path, line: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(place, line, stdout=write)
    os.close(write)
    assert done.returncode == 1
    assert b"decathlon:" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.parametrize("line", PRINTING[1::2])
def test_a_closed_standard_output_is_one_sentence(place: Path, line: str) -> None:
    done = run(place, line, stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert b"standard output: cannot be written (it is closed)" in done.stderr
    assert done.stderr.count(b"decathlon:") == 1


@pytest.mark.parametrize("how", ["closed", "full", "broken"])
@pytest.mark.parametrize("line", [f"{TRIAL} --results lost-HOW", "verify", "score nowhere"])
def test_a_lost_standard_error_changes_nothing(
    place: Path, tmp_path: Path, how: str, line: str
) -> None:
    line = line.replace("HOW", how)
    wanted = 4 if "nowhere" in line else 0
    if how == "closed":
        done = run(place, line, stderr=None, preexec_fn=lambda: os.close(2))
    elif how == "broken":
        read, write = os.pipe()
        os.close(read)
        done = run(place, line, stderr=write)
        os.close(write)
    else:
        device = os.open("/dev/full", os.O_WRONLY)  # a limit would hold for the records too
        done = run(place, line, stderr=device)
        os.close(device)
    assert done.returncode == wanted
    assert b"decathlon:" not in done.stdout
    if "run" in line:
        assert (place / f"lost-{how}/scratch/dtd/test/seed0/record.json").is_file()


def test_no_file_takes_the_number_of_a_closed_stream(place: Path) -> None:
    def close() -> None:
        for number in range(3):
            os.close(number)

    line = f"{TRIAL} --results all-closed"
    done = run(place, line, stdin=None, stdout=None, stderr=None, preexec_fn=close)
    assert done.returncode == 0
    folder = place / "all-closed/scratch/dtd/test/seed0"
    json.loads((folder / "record.json").read_text())
    json.loads((folder / "log.jsonl").read_text())


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    found = bytearray()

    def collect() -> None:
        while data := os.read(read, 1 << 12):
            found.extend(data)
            time.sleep(0.001)

    reader = threading.Thread(target=collect)
    reader.start()
    raw = _Descriptor(write)
    data = os.urandom(1 << 19)
    assert raw.write(data) == len(data)
    assert raw.failure is None
    os.close(write)
    reader.join()
    assert bytes(found) == data


@pytest.mark.parametrize("line", ["methods", "score results", "--help"])
def test_impossible_sizes_are_forgotten(place: Path, line: str) -> None:
    usual = run(place, line).stdout
    assert len(usual) > 500
    for size in ({"COLUMNS": "0"}, {"COLUMNS": "²", "LINES": "²"}):
        assert run(place, line, env=settings(**size)).stdout == usual


@pytest.mark.parametrize(
    "environment", [{}, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "0"}], ids=str
)
def test_terminals_without_width_colour_or_cursor(place: Path, environment: dict[str, str]) -> None:
    """A new terminal of this kind says that it has no columns."""
    code, shown = on_terminal(place, "score results", **environment)
    assert code == 0, shown
    assert "E_max" in shown
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in shown
    if "NO_COLOR" in environment:
        assert "\x1b[3" not in shown


NAME = b"caf\xe9\x1b[31m[red][/nothing]"


@pytest.mark.slow
def test_names_that_are_no_text_are_spelt_out(place: Path) -> None:
    """Bytes that are not UTF-8, terminal escapes and rich's markup, everywhere a name can stand."""
    for code, arguments in (
        (0, [b"plot", b"tradeoff", b"results", b"--out", NAME + b".svg"]),
        (0, [b"show", b"dtd", b"--out", NAME + b".png"]),
        (0, [b"score", b"results", b"--out", NAME]),
        (0, [b"prepare", b"--archives", b"data/../archives", b"--data", NAME + b"data"]),
        (0, [b"verify", b"--data", NAME + b"data"]),
        (4, [b"score", NAME + b"none"]),
        (3, [b"verify", b"--data", NAME + b"none"]),
        (3, [b"import-weights", NAME + b"none", b"x.safetensors"]),
        (2, [b"score", b"results", b"--format", NAME]),
        (2, [b"score", b"results", b"--out", NAME + b"/x"]),
        (2, [b"score", b"results", NAME]),
        (2, [b"score", b"results", b"--" + NAME]),
        (2, [NAME]),
        (2, [*TRIAL.encode().split(), b"--name", NAME]),
    ):
        call = [sys.executable.encode(), b"-m", b"decathlon", *arguments]
        done = subprocess.run(call, cwd=place, env=settings(), capture_output=True)
        said = (done.stdout + done.stderr).decode("utf-8")  # is text
        assert done.returncode == code, said
        assert "\x1b" not in said
        assert "unexpected" not in said.replace("unexpected extra", "")
        if NAME in b" ".join(arguments) and said:
            assert "\\udce9\\x1b[31m[red][/nothing]" in said.replace("\n", ""), said


def test_a_name_in_results_is_short_and_printable(place: Path) -> None:
    done = forked(place, f"{TRIAL} --name {'x' * 201}", "utf-8")
    assert done.returncode == 2, done.stderr
    assert b"at most 200 bytes" in done.stderr


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Café", "Cafe"),
        ("×–—’“”…", 'x--\'""...'),
        (LINES, "--||+++"),
        ("Straße Łódź", "Strasse Lodz"),
        ("中\udce9", "\\u4e2d\\udce9"),
    ],
)
def test_similar_text(text: str, plain: str) -> None:
    assert to_ascii(text) == plain
