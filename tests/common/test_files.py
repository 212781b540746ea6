"""What commands write: where it goes, what stays in its place, and who may read it."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
import tty
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from decathlon import cli
from decathlon.common.errors import OutputError, UsageError
from decathlon.common.files import append_line, check_folder, check_output, replacing, write_text
from decathlon.common.oserrors import of_the_system
from decathlon.demo.archives import write_archives
from decathlon.training.checkpoints import Checkpoints
from tests import pages
from tests.models.reference.import_forge import Forge, authors

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "epochs=1", "--set", "batch_size=16"]
# Root reads and writes everything, unless this power is given up.
MORTAL = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command line in this process; returns its exit code."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["decathlon", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0)

    return run


@pytest.fixture(scope="module")
def place(tiny: Path, tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, results, a submission and a checkpoint of the authors' code."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data").symlink_to(tiny)
    run = ["run", "--data", "data", "--source", str(tiny_source), "--domain", "dtd", *SMALL]
    for arguments in (
        [*run, "--method", "spottune", "--method", "fine-tuning"],
        ["submit", "results", "--method", "spottune"],
    ):
        assert pages.run(folder, arguments).returncode == 0
    with authors() as classes:
        network = Forge(classes).residual_adapters(blocks=(1, 1, 1))
        torch.save({"net": network.state_dict()}, folder / "authors.pth")
    return folder


WRITERS = {
    "score": (".txt", "score {}/results --baseline fine-tuning --out"),
    "html": (".html", "score {}/results --baseline fine-tuning --format html --out"),
    "csv": (".csv", "score {}/results --baseline fine-tuning --format csv --out"),
    "svg": (".svg", "plot curves {}/results --out"),
    "png": (".png", "plot curves {}/results --out"),
    "compare": (
        ".json",
        "compare spottune fine-tuning {}/results --baseline fine-tuning --format json --out",
    ),
    "submit": (".zip", "submit {}/results --method spottune --out"),
    "evaluate": (
        ".txt",
        "evaluate {}/results.zip --labels {}/data/../archives/labels_test.zip --out",
    ),
    "show": (".png", "show dtd --data {}/data --out"),
    "pretrain": (
        ".safetensors",
        "pretrain --data {}/data --width 0.25 --set epochs=1 --set batch_size=64 --force --out",
    ),
    "import-weights": (".safetensors", "import-weights --force {}/authors.pth"),
}
"""Ending of the file and arguments of each command that writes one that the user names."""
WEIGHTS = ("pretrain", "import-weights")
"""Weights are read again, so they go to files only."""
writers = pytest.mark.parametrize("writer", WRITERS)


def arguments_of(writer: str, place: Path, out: Path) -> list[str]:
    return [*WRITERS[writer][1].replace("{}", str(place)).split(), str(out)]


@writers
def test_special_files_are_written_to_and_links_followed(
    command: Command, place: Path, tmp_path: Path, writer: str
) -> None:
    ending = WRITERS[writer][0]
    plain = tmp_path / f"new/folder/plain{ending}"
    assert command(*arguments_of(writer, place, plain)) == 0
    wanted = plain.read_bytes()

    pipe = tmp_path / f"pipe{ending}"
    os.mkfifo(pipe)
    if writer in WEIGHTS:
        assert command(*arguments_of(writer, place, pipe)) == 2
    else:
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
        reader.start()
        assert command(*arguments_of(writer, place, pipe)) == 0
        reader.join()
        assert read == [wanted]
    assert pipe.is_fifo()

    old, link = tmp_path / f"old{ending}", tmp_path / f"link{ending}"
    old.write_text("old")
    link.symlink_to(old.name)
    dangling = tmp_path / f"dangling{ending}"
    dangling.symlink_to(tmp_path / f"sub/target{ending}")
    with old.open("rb") as before:
        assert command(*arguments_of(writer, place, link)) == 0
        assert before.read() == b"old"  # replaced, not overwritten
    assert command(*arguments_of(writer, place, dangling)) == 0
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert old.read_bytes() == (tmp_path / f"sub/target{ending}").read_bytes() == wanted
    assert not [path for path in tmp_path.rglob("*") if "part" in path.name]


@writers
def test_a_place_that_cannot_be_written_is_refused_at_once(
    command: Command,
    place: Path,
    tmp_path: Path,
    writer: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ending = WRITERS[writer][0]
    (tmp_path / f"folder{ending}").mkdir()
    (tmp_path / "file").write_text("in the way")
    (tmp_path / f"loop{ending}").symlink_to(f"loop{ending}")
    for name, told in {
        f"folder{ending}": "is a folder",
        f"file/x{ending}": "a file stands where a folder is needed",
        f"file/x/y/z{ending}": "a file stands where a folder is needed",
        f"loop{ending}": "symbolic links",
        "x" * 255 + ending: "the name is too long",
        "-": "./-",
    }.items():
        before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
        code = command(*arguments_of(writer, place, Path(name)))
        said = capsys.readouterr()
        if name == "-" and (ending not in (".svg", ".png", ".zip", ".safetensors")):
            assert code == 0
            assert said.out
        else:
            assert code == 2, said.err
            assert told in said.err
            assert len(said.err.splitlines()) == 1, said.err
        assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@writers
def test_a_name_of_any_length_that_the_system_allows_is_written(
    command: Command, place: Path, tmp_path: Path, writer: str
) -> None:
    ending = WRITERS[writer][0]
    room = len(".checkpoints") if writer == "pretrain" else 0
    out = tmp_path / ("é" * ((255 - room - len(ending)) // 2) + ending)
    assert command(*arguments_of(writer, place, out)) == 0
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("writer", ["score", "png", "submit"])
def test_a_terminal_is_written_to(
    command: Command, place: Path, tmp_path: Path, writer: str
) -> None:
    plain = tmp_path / f"plain{WRITERS[writer][0]}"
    assert command(*arguments_of(writer, place, plain)) == 0
    master, slave = os.openpty()
    tty.setraw(slave)
    kind = os.fstat(slave).st_rdev
    terminal = tmp_path / f"terminal{WRITERS[writer][0]}"
    terminal.symlink_to(os.ttyname(slave))
    read = bytearray()

    def collect() -> None:
        while len(read) < plain.stat().st_size:
            read.extend(os.read(master, 1 << 16))

    reader = threading.Thread(target=collect)
    reader.start()
    assert command(*arguments_of(writer, place, terminal)) == 0
    reader.join(20)
    assert bytes(read) == plain.read_bytes()
    assert terminal.stat().st_rdev == kind
    os.close(master)
    os.close(slave)


def decathlon(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "decathlon", *map(str, arguments)]
    return subprocess.run(program, text=True, env=environment, **options)  # type: ignore[call-overload, no-any-return]


def test_standard_output_by_name_is_not_replaced(place: Path, tmp_path: Path) -> None:
    """A log that output is appended to keeps what it holds."""
    log = tmp_path / "log"
    log.write_text("before\n")
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        with log.open("a") as file:
            done = decathlon(*arguments_of("score", place, Path(name)), stdout=file)
        assert done.returncode == 0
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert sum(line.startswith("Visual Decathlon") for line in lines) == 3


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("score {}/results --out", "results/spottune/dtd/test/seed0/record.json"),
        ("submit {}/results --method spottune --out", "results/spottune/dtd/test/seed0/log.jsonl"),
        ("evaluate {}/results.zip --labels {}/data/../archives --out", "results.zip"),
        ("evaluate {}/x.zip --labels {}/labels.zip --out", "labels.zip"),
        ("pretrain --data {}/data --out", "data/manifest.json"),
        ("pretrain --data {}/data --out", "data/dtd/test.h5"),
        ("import-weights {}/authors.pth", "authors.pth"),
    ],
)
def test_an_input_is_never_overwritten(
    command: Command,
    place: Path,
    tmp_path: Path,
    arguments: str,
    read: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(place / "data" / ".." / "archives" / "labels_test.zip", place / "labels.zip")
    before = (place / read).read_bytes()
    link = tmp_path / "another-name"
    link.symlink_to(place / read)
    for out in (place / read, link):
        assert command(*arguments.replace("{}", str(place)).split(), out) == 2
        assert "another file" in capsys.readouterr().err
    assert (place / read).read_bytes() == before


def test_folders_to_write_are_checked_at_once(
    command: Command, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    run = ["run", "--method", "scratch", "--data", place / "data"]
    pytest.importorskip("tensorboard")
    for code, arguments in (
        (2, [*run, "--tensorboard", file]),
        (
            2,
            [
                "pretrain",
                "--data",
                place / "data",
                "--out",
                "x.safetensors",
                "--tensorboard",
                file / "y",
            ],
        ),
        (2, [*run, "--results", file]),
        (2, [*run, "--results", file / "below"]),
        (2, ["demo", "--out", file]),
        (2, ["demo", "--out", file / "below"]),
        (3, ["prepare", "--archives", place / "data/../archives", "--data", file]),
        (3, ["prepare", "--archives", place / "data/../archives", "--data", file / "below"]),
    ):
        assert command(*arguments) == code
        said = capsys.readouterr().err
        assert str(file) in said
        assert "unexpected" not in said
        assert len(said.splitlines()) == 1, said
    assert file.read_text() == "in the way"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(not all(map(shutil.which, MORTAL[:1])), reason="root, and there is no setpriv")
@pytest.mark.parametrize("writer", ["score", "show"])
def test_a_folder_without_permission_is_named(place: Path, tmp_path: Path, writer: str) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    arguments = arguments_of(writer, place, locked / f"x{WRITERS[writer][0]}")
    done = subprocess.run(
        [*MORTAL, sys.executable, "-m", "decathlon", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2, done.stderr
    assert f"{locked}: access is denied" in done.stderr


@pytest.mark.parametrize("writer", [w for w in WRITERS if w not in WEIGHTS])
def test_a_full_disk_is_one_message(place: Path, tmp_path: Path, writer: str) -> None:
    """A limit on the size of files stands in for the disk."""
    out = tmp_path / f"x{WRITERS[writer][0]}"
    done = decathlon(
        *arguments_of(writer, place, out),
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    # The page's figure is drawn in a file of its own.
    named = "" if writer == "html" else str(out)
    assert f"{named}: the file system takes no file of that size (File too large)" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "umask", [pytest.param(0o002, id="002", marks=pytest.mark.slow), pytest.param(0o077, id="077")]
)
def test_everything_follows_the_umask(
    command: Command,
    place: Path,
    tmp_path: Path,
    umask: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(Checkpoints, "clear", lambda self: None)  # so that they can be looked at
    home = tmp_path / "home"
    train = ["--data", home / "data", "--checkpoint-steps", "1", "--tensorboard", home / "curves"]
    train += SMALL
    old = os.umask(umask)
    try:
        write_archives(home / "archives", scale=0.02)
        labels = home / "archives/labels_test.zip"
        prepare = ["prepare", "--archives", home / "archives", "--data", home / "data"]
        assert command(*prepare, "--domain", "dtd", "--domain", "imagenet12") == 0
        assert command(*prepare, "--labels", labels) == 0
        source = home / "w/source.safetensors"
        assert command("pretrain", "--width", "0.25", "--out", source, *train) == 0
        run = ["run", "--source", source, "--results", home / "results", *train]
        run += ["--domain", "dtd", "--domain", "imagenet12", "--seed", "1"]
        methods = [f"--method={name}" for name in ("spottune", "feature-extractor", "dan")]
        assert command(*run, *methods) == 0
        assert command(*run, "--method", "scratch", "--name", "bad", "--set", "lr=1e30") == 1
        for writer, (ending, _) in WRITERS.items():
            assert command(*arguments_of(writer, place, home / f"out/{writer}{ending}")) == 0
    finally:
        os.umask(old)
    names = {path.name for path in home.rglob("*")}
    assert {"record.json", "failed.json", ".claim", "log.jsonl", "routing.json"} <= names
    assert {"manifest.json", "labels_test.zip", "checkpoints", "sources"} <= names
    assert any("tfevents" in name for name in names)
    wrong = {}
    for path in (home, *home.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode != (0o777 if path.is_dir() else 0o666) & ~umask:
            wrong[path] = oct(mode)
    assert not wrong


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(IsADirectoryError), replacing(path) as part:
        part.write_bytes(tmp_path.read_bytes())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_copying_to_a_full_disk_names_the_file_to_write(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="'written'") as error, replacing(Path("written")) as part:
        raise OSError(28, "No space left on device", "source", None, str(part))
    assert "written: the disk is full" in str(of_the_system(error.value))
    assert isinstance(of_the_system(error.value), OutputError)


def test_disks_are_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: True)
    path = tmp_path / "disk"
    path.write_text("precious")
    with pytest.raises(UsageError, match="disk"):
        check_output(path)
    with pytest.raises(OSError, match="disk"):
        write_text(path, "x")
    assert path.read_text() == "precious"


def test_text_that_is_no_unicode_is_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "caf\udce9\n")
    append_line(tmp_path / "x", "caf\udce9")
    assert (tmp_path / "x").read_bytes() == b"caf\\udce9\ncaf\\udce9\n"


def test_a_folder_that_can_be_made_is_fine(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_output(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []
