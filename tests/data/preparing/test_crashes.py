"""Killed at any instant, continued by the next call; damage found and mended."""

import errno
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from decathlon.common.errors import DataError
from decathlon.data.preparing import decoding, folder_writer
from decathlon.data.preparing.prepare import prepare
from decathlon.data.preparing.verify import verify
from decathlon.data.reading.store import open_store
from decathlon.data.shard import open_shard
from decathlon.data.sources import plan
from tests.data.official import Official, contents, encoded, picture, write_labels

WRITER = "decathlon.data.preparing.shard_writer:ShardWriter"

# Kills itself for good when the named function is entered for the n-th time.
SUICIDE = """
import importlib, os, signal, sys
from pathlib import Path
module, owner, name, count, archives, data, *labels = sys.argv[1:]
place = importlib.import_module(module)
place = getattr(place, owner) if owner else place
real, left = getattr(place, name), [int(count)]
def dying(*args, **options):
    left[0] -= 1
    if left[0] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)
setattr(place, name, dying)
from decathlon.data.preparing import filling
from decathlon.data.preparing import prepare
filling.BATCH_IMAGES = 2
labels = Path(labels[0]) if labels else None
prepare.prepare(Path(archives), Path(data), jobs=0, labels=labels)
"""


def killed_at(place: str, count: int, archives: Path, data: Path, *labels: Path) -> None:
    module, owner, name = place.split(":")
    done = subprocess.run(
        [sys.executable, "-c", SUICIDE, module, owner, name, str(count), archives, data, *labels],
        capture_output=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def odd_sizes(official: Official) -> None:
    """Makes some annotated sizes wrong, so that the spill file is used."""
    for domain in official.files:
        for note in official.split(domain, "train")["images"][::3]:
            note["width"] += 1


def large_images(official: Official) -> None:
    """Makes some images twice as large, so that they are resized."""
    rng = np.random.default_rng(6)
    for domain, files in official.files.items():
        for note in official.split(domain, "val")["images"][::2]:
            image = picture(rng, 144, 192)
            files[note["file_name"].removeprefix("data/")] = encoded(image)
            note["height"], note["width"] = 144, 192


@pytest.mark.parametrize(
    ("place", "count"),
    [
        (f"{WRITER}:_begin", 4),
        (f"{WRITER}:record", 1),
        (f"{WRITER}:record", 9),
        (f"{WRITER}:_entry", 3),
        (f"{WRITER}:publish", 4),
        ("decathlon.data.preparing.folder_writer::write_manifest", 1),
        (f"{WRITER}:clean", 12),
    ],
)
def test_a_killed_call_is_continued(
    official: Official, tmp_path: Path, place: str, count: int
) -> None:
    odd_sizes(official)
    large_images(official)
    archives = official.write()
    prepare(archives, tmp_path / "whole", jobs=0)
    data = tmp_path / "data"
    killed_at(place, count, archives, data)
    if not (data / "manifest.json").exists():
        with pytest.raises(DataError, match="no manifest"):
            open_store(data)
    prepare(archives, data, jobs=0)
    assert contents(data) == contents(tmp_path / "whole")


def test_what_was_written_is_not_decoded_again(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = small.write()
    killed_at(f"{WRITER}:record", 7, archives, tmp_path / "data")
    journals = (tmp_path / "data" / "dtd").glob("*.journal.part")
    known = sum((path.stat().st_size - 32) // 24 for path in journals)
    assert known >= 6
    decoded = []
    work = decoding.Decoder.decode

    def counting(self: decoding.Decoder, header: dict, data: bytes) -> dict:
        decoded.extend(header["images"])
        return work(self, header, data)

    monkeypatch.setattr(decoding.Decoder, "decode", counting)
    prepare(archives, tmp_path / "data", jobs=0)
    assert len(decoded) == 18 - known


def other_pictures(folder: Path) -> Path:
    """Archives with the names of ``small``'s images and other pictures."""
    other = Official(folder)
    other.add("svhn")
    other.add("dtd")
    del other.files["svhn"]
    other.notes = {name: value for name, value in other.notes.items() if "dtd" in name}
    return other.write()


def test_what_was_left_of_another_archive_is_not_used(small: Official, tmp_path: Path) -> None:
    archives = small.write()
    data = tmp_path / "data"
    killed_at(f"{WRITER}:record", 7, archives, data)
    other = other_pictures(tmp_path / "other")
    prepare(other, data, jobs=0)
    prepare(other, tmp_path / "whole", jobs=0)
    assert contents(data) == contents(tmp_path / "whole")


@pytest.mark.parametrize("where", ["by hand", "in clean"])
def test_a_shard_of_another_archive_is_not_taken_over(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    data = tmp_path / "data"
    prepare(small.write(), data, jobs=0)
    other = other_pictures(tmp_path / "other")
    killed_at(f"{WRITER}:finish", 1, other, data)
    part = data / "dtd" / "train.h5.part"
    if where == "by hand":
        part.unlink()
    else:
        part.write_bytes(b"damaged, so that it is begun anew")
        killed_at("pathlib:Path:unlink", 2, other, data)
    prepare(other, data, jobs=0)
    prepare(other, tmp_path / "whole", jobs=0)
    assert contents(data) == contents(tmp_path / "whole")


def test_damage_to_what_was_left_is_noticed(small: Official, tmp_path: Path) -> None:
    archives = small.write()
    data = tmp_path / "data"
    killed_at(f"{WRITER}:record", 7, archives, data)
    part = data / "dtd" / "train.h5.part"
    flip(part, open_shard(part).start + 40_000)
    prepare(archives, data, jobs=0)
    prepare(archives, tmp_path / "whole", jobs=0)
    assert contents(data) == contents(tmp_path / "whole")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("decathlon.data.preparing.labelling::write_manifest", 1),
        ("decathlon.data.preparing.labelling::write_manifest", 2),
        ("decathlon.data.preparing.labelling::write_manifest", 3),
        ("decathlon.data.preparing.labelling::check", 1),
        ("decathlon.data.preparing.labelling::check", 2),
    ],
)
def test_filling_in_labels_is_continued_without_archives(
    small: Official,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    count: int,
    again: bool,
) -> None:
    data, archives = tmp_path / "data", small.write()
    notes = small.labels("dtd")
    labels = write_labels(tmp_path / "labels.zip", {"dtd": notes})
    with monkeypatch.context() as patch:
        patch.setattr(plan, "SHARD_BYTES", 60_000)
        prepare(archives, data, jobs=0)
    assert len(list((data / "dtd").glob("test-*.h5"))) == 2
    if again:  # other labels are in already
        notes["annotations"] = notes["annotations"][::-1]
        for note, image in zip(notes["annotations"], notes["images"], strict=True):
            note["image_id"] = image["id"]
        prepare(archives, data, jobs=0, labels=write_labels(tmp_path / "other.zip", {"dtd": notes}))
    shutil.copytree(data, tmp_path / "whole")
    prepare(archives, tmp_path / "whole", domains=["dtd"], labels=labels)
    killed_at(place, count, archives, data, labels)
    shutil.rmtree(archives)
    verify(data)
    open_store(data).images("dtd", ["test"])
    prepare(archives, data, domains=["dtd"], labels=labels)
    assert contents(data) == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_moments(mini: Path, tmp_path: Path, seed: int) -> None:
    prepare(mini, tmp_path / "whole")
    chance = random.Random(seed)
    data = tmp_path / "data"
    command = (
        "import sys; from pathlib import Path;"
        "from decathlon.data.preparing.prepare import prepare;"
        "prepare(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    kills = 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", command, mini, data],
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parents[3],
        )
        try:
            code = process.wait(timeout=chance.uniform(0.5, 3) + kills)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert (code, kills > 0) == (0, True)
    assert contents(data) == contents(tmp_path / "whole")


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ 1]))


def pixel_of(path: Path, image: int) -> int:
    shard = open_shard(path)
    return shard.start + int(shard.offset[image]) + 100


@pytest.mark.parametrize("with_verify", [True, False])
def test_a_flipped_bit_is_found_and_only_its_shard_rebuilt(
    official: Official, tmp_path: Path, with_verify: bool
) -> None:
    data = tmp_path / "data"
    prepare(official.write(), data, jobs=0)
    before = contents(data)
    path = data / "dtd" / "train.h5"
    times = {p: p.stat().st_mtime_ns for p in data.rglob("*.h5") if p != path}
    time.sleep(0.01)
    flip(path, pixel_of(path, 3))
    flip(path, pixel_of(path, 4))
    if with_verify:
        with pytest.raises(DataError, match=r"dtd/train\.h5: images 3-4 .* damaged"):
            verify(data)
        with pytest.raises(DataError, match="damaged"):
            open_store(data).images("dtd", ["train"])
    result = prepare(official.folder, data, jobs=0)
    assert result.written == {"dtd": {"train": 9}}
    assert contents(data) == before
    assert {p: p.stat().st_mtime_ns for p in times} == times
    verify(data)


@pytest.mark.parametrize("where", ["description", "end", "missing"])
def test_other_damage_is_found_too(small: Official, tmp_path: Path, where: str) -> None:
    data = tmp_path / "data"
    prepare(small.write(), data, jobs=0)
    before = contents(data)
    path = data / "dtd" / "val.h5"
    if where == "description":
        flip(path, open_shard(path).columns_at["label"])
    elif where == "end":
        os.truncate(path, path.stat().st_size - 100)
    else:
        path.unlink()
    with pytest.raises(DataError, match=r"dtd/val\.h5"):
        verify(data)
    assert prepare(small.folder, data, jobs=0).written == {"dtd": {"val": 4}}
    assert contents(data) == before


def test_shards_of_two_archives_are_not_mixed(small: Official, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(small.write(), data, jobs=0)
    name = next(iter(small.files["dtd"]))
    archive = small.folder / "decathlon-1.0-data.tar.gz"
    size = archive.stat().st_size
    # Another archive of the same size: a comment in the gzip header stands for it.
    raw = bytearray(archive.read_bytes())
    raw[9] ^= 1
    archive.write_bytes(raw)
    assert archive.stat().st_size == size, name
    (data / "dtd" / "val.h5").unlink()
    result = prepare(small.folder, data, jobs=0)
    assert result.written == {"dtd": {"train": 9, "val": 4, "test": 5}}
    verify(data)


def test_a_split_is_never_labelled_in_part(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard is rebuilt without labels, and so are its neighbours, until they are filled in."""
    monkeypatch.setattr(plan, "SHARD_BYTES", 60_000)
    data = tmp_path / "data"
    labels = write_labels(tmp_path / "labels.zip", {"dtd": small.labels("dtd")})
    prepare(small.write(), data, labels=labels, jobs=0)
    whole = contents(data)
    (data / "dtd" / "test-00001-of-00002.h5").unlink()
    prepare(small.folder, data, jobs=0)
    assert open_store(data).images("dtd", ["test"]).labels.tolist() == [-1] * 5
    prepare(small.folder, data, labels=labels, jobs=0)
    assert contents(data) == whole


def test_two_calls_at_once_are_refused(small: Official, tmp_path: Path) -> None:
    small.write()
    data = tmp_path / "data"
    data.mkdir()
    handle = os.open(data / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(DataError, match="another 'decathlon prepare' is at work"):
            prepare(small.folder, data, jobs=0)
    finally:
        os.close(handle)
    prepare(small.folder, data, jobs=0)


def test_a_full_disk_is_said_before(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(folder_writer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"needs 0\.4 MB, 1\.0 kB are free"):
        prepare(small.write(), tmp_path / "data", jobs=0)


def test_room_is_wanted_for_what_is_laid_out_anew(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sizes are not known before, pixels are on the disk twice for a while."""
    for split in ("train", "val", "test"):
        for note in small.split("dtd", split)["images"]:
            del note["height"], note["width"]
    pixels = sum(p.size for split in ("train", "val", "test") for p in small.pixels("dtd", split))
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * pixels)
    monkeypatch.setattr(folder_writer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="make room"):
        prepare(small.write(), tmp_path / "data", jobs=0)


@pytest.mark.parametrize("what", ["shard", "temporary", "domain"])
def test_what_is_in_the_way_is_named(small: Official, tmp_path: Path, what: str) -> None:
    data, archives = tmp_path / "data", small.write()
    if what == "domain":
        data.mkdir()
        path = data / "dtd"
        path.write_text("")
    else:
        path = data / "dtd" / ("val.h5" if what == "shard" else "val.h5.part")
        path.mkdir(parents=True)
    with pytest.raises(DataError, match=rf"{path}: .*(in the place|stands where).*; move it away"):
        prepare(archives, data, jobs=0)
    path.rmdir() if path.is_dir() else path.unlink()
    prepare(archives, data, jobs=0)
    verify(data)


@pytest.mark.parametrize("name", ["decathlon-1.0-devkit.tar.gz", "decathlon-1.0-data.tar.gz"])
def test_an_archive_that_cannot_be_read_is_named(
    small: Official, tmp_path: Path, name: str
) -> None:
    """As on a failing disk, which is not that of the data folder."""
    path = small.write() / name
    path.unlink()
    path.symlink_to("/proc/self/mem")  # whose first bytes no process can read
    with pytest.raises(DataError, match=rf"{path}: cannot be read \(Input.*fetch it") as told:
        prepare(small.folder, tmp_path / "data", jobs=0)
    assert "continues" not in str(told.value)


def test_a_disk_that_fills_up_loses_nothing(
    small: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(DataError, match=r"the disk is full.*it continues"):
            prepare(small.write(), tmp_path / "data", jobs=0)
    prepare(small.folder, tmp_path / "data", jobs=0)
    verify(tmp_path / "data")


def test_a_data_folder_that_is_a_file_is_refused(small: Official, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataError, match="cannot be used as data folder"):
        prepare(small.write(), tmp_path / "data", jobs=0)


def test_a_decoding_process_that_dies_is_said(
    official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PROCESS", "decathlon.no_such_module")
    with pytest.raises(DataError, match="a decoding process ended with code 1"):
        prepare(official.write(), tmp_path / "data", jobs=1)


# A shard of 30 kB without its pixels, on a disk of 16 kB.
FULL = """
import errno, sys
import numpy as np
from pathlib import Path
from decathlon.data.shard import Columns, Header, create
sizes = np.full(1000, 72)
columns = Columns(sizes, sizes, sizes, sizes, sizes)
try:
    create(Path(sys.argv[1]), Header("dtd", "train", ("a",), (1,), "0" * 64), columns)
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_a_disk_that_is_full_at_the_first_byte(tmp_path: Path) -> None:
    private = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o size=16k tmpfs {tmp_path}"
    if not shutil.which("unshare") or subprocess.run([*private, "sh", "-c", mount]).returncode:
        pytest.skip("no small disk can be had here: mounting is not allowed")
    program = f'{mount} && exec "$0" -c "$1" {tmp_path}/train.h5.part'
    done = subprocess.run(
        [*private, "sh", "-c", program, sys.executable, FULL],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ENOSPC\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_told_in_one_line(tmp_path: Path, number: signal.Signals) -> None:
    """As a terminal or Slurm sends it: to all processes, while those that decode still import."""
    photographs = tmp_path / "birds" / "train" / "crow"
    photographs.mkdir(parents=True)
    picture(np.random.default_rng(0), 3000, 3000).save(photographs / "0.jpg")
    for k in range(1, 200):
        (photographs / f"{k}.jpg").symlink_to("0.jpg")
    command = ["prepare", "--folder", f"birds={tmp_path / 'birds'}", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "decathlon", *command, "--data", str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        process_group=0,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 2:
        time.sleep(0.01)
    started = children.read_text().split()
    time.sleep(0.05)
    os.killpg(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert told.endswith("decathlon: interrupted; run the same command to go on\n")
    assert not any(Path(f"/proc/{child}").exists() for child in started)
