"""How fast and in how little memory ``prepare`` works, beside what it is compared with.

    python tools/bench_prepare.py [--images N] [--rounds K] [--memory-images N] [--json FILE]

Measured in one run, alternating: ``prepare`` with two processes; one process that reads
the same archive with tarfile, decodes with Pillow and writes the same shard; and two
processes that only decode. The best round of each counts: whatever else the machine does
can only make a round slower. Then the peak memory of ``prepare`` at 1x and 4x the images.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import simplejpeg
from machine import machine, told
from options import output_file
from PIL import Image
from sample import jpegs, write_archives

from decathlon.common.files import write_json
from decathlon.data.preparing.prepare import prepare
from decathlon.data.shard import create
from decathlon.data.sources.official import read_plans
from decathlon.suites.visual_decathlon import IMAGENET, SUITE
from decathlon.suites.visual_decathlon import SOURCE as SOURCE_DOMAIN

BAR_LOOP, BAR_DECODE = 3.0, 1 / 3
MEMORY, MEMORY_PER_IMAGE = 300e6, 150
_PEAK = """
import resource, sys
from pathlib import Path
from decathlon.data.preparing.prepare import prepare
prepare(Path(sys.argv[1]), Path(sys.argv[2]), jobs=2)
# Not RUSAGE_SELF: what started this program is counted there too.
status = Path("/proc/self/status").read_text()
own = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(int(own) * 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def simple_loop(archives: Path, out: Path) -> None:
    """Does in one process what ``prepare`` does: the same shard, byte by byte."""
    plans, _ = read_plans(archives, SUITE, None)
    plan = plans[SOURCE_DOMAIN]
    notes = plan.splits["train"]
    (shard,) = plan.shards("train", SUITE.side)
    place = {f"{name.decode()}": k for k, name in enumerate(notes.names)}
    out.mkdir(parents=True)
    path = out / shard.file
    start, offsets = create(path, shard.header, shard.columns), shard.columns.offset
    crc = np.zeros(len(notes), np.uint32)
    with path.open("r+b") as file, tarfile.open(archives / IMAGENET.file) as tar:
        for member in tar:
            k = place.get(member.name)
            data = tar.extractfile(member)
            if k is None or data is None:
                continue
            pixels = np.asarray(Image.open(io.BytesIO(data.read())).convert("RGB"))
            raw = pixels.tobytes()
            crc[k] = zlib.crc32(raw)
            file.seek(start + int(offsets[k]))
            file.write(raw)
    with h5py.File(path, "r+") as opened:
        opened["crc32"][...] = crc


def decode_many(count: int) -> int:
    """Decodes images that are in memory; returns the bytes of their pixels."""
    files = [data for data, _, _ in jpegs()]
    total = 0
    began = time.perf_counter()
    for k in range(count):
        pixels = simplejpeg.decode_jpeg(files[k % len(files)], colorspace="RGB", strict=True)
        total += pixels.nbytes
    return int((time.perf_counter() - began) * 1e9)


def decode_rate(count: int) -> float:
    """Returns images per second of two processes that only decode."""
    with ProcessPoolExecutor(2) as pool:
        nanoseconds = list(pool.map(decode_many, [count // 2] * 2))
    return count / (max(nanoseconds) / 1e9)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def speeds(archives: Path, scratch: Path, images: int, rounds: int) -> dict[str, float]:
    """Returns the best rates in images per second."""
    best = {"prepare": 0.0, "loop": 0.0, "decode": 0.0}
    for k in range(rounds):
        one, two = scratch / f"loop{k}", scratch / f"prepare{k}"
        loop = images / timed(lambda one=one: simple_loop(archives, one))
        ours = images / timed(lambda two=two: prepare(archives, two, jobs=2))
        same = (one / "train.h5").read_bytes() == (two / SOURCE_DOMAIN / "train.h5").read_bytes()
        if not same:
            raise SystemExit("the simple loop and prepare wrote different shards")
        for path in (one / "train.h5", two / SOURCE_DOMAIN / "train.h5"):
            path.unlink()
        found = {"prepare": ours, "loop": loop, "decode": decode_rate(images)}
        best = {name: max(best[name], rate) for name, rate in found.items()}
    return best


def peak(scratch: Path, images: int) -> dict[str, float]:
    """Returns the peak memory of ``prepare`` and of its largest worker, in bytes."""
    archives, data = scratch / f"archives{images}", scratch / f"data{images}"
    write_archives(archives, images)
    command = [sys.executable, "-c", _PEAK, archives, data]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    parent, worker = map(float, done.stdout.split())
    allowed = MEMORY + MEMORY_PER_IMAGE * images
    return {"images": images, "parent": parent, "worker": worker, "allowed": allowed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--memory-images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=output_file)
    options = parser.parse_args()
    here = machine()
    print(told(here))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_archives(scratch / "archives", options.images)
        rates = speeds(scratch / "archives", scratch, options.images, options.rounds)
        memory = [peak(scratch, options.memory_images * factor) for factor in (1, 4)]
    ratios = {
        "to_loop": rates["prepare"] / rates["loop"],
        "to_decode": rates["prepare"] / rates["decode"],
    }
    print(f"{options.images} JPEG files of 72 pixels, images/s, best of {options.rounds} rounds")
    print(f"  prepare, two processes           {rates['prepare']:8.0f}")
    print(f"  tarfile + Pillow, one process    {rates['loop']:8.0f}")
    print(f"  decoding alone, two processes    {rates['decode']:8.0f}")
    print(f"  prepare / loop                   {ratios['to_loop']:8.2f}  (bar {BAR_LOOP:.0f})")
    print(f"  prepare / decoding alone         {ratios['to_decode']:8.2f}  (bar {BAR_DECODE:.2f})")
    for row in memory:
        print(
            f"  peak at {row['images']:6.0f} images: parent {row['parent'] / 1e6:.0f} MB, worker"
            f" {row['worker'] / 1e6:.0f} MB (allowed {row['allowed'] / 1e6:.0f} MB each)"
        )
    if options.json:
        bars = {"to_loop": BAR_LOOP, "to_decode": BAR_DECODE}
        found = {"machine": here, "images": options.images, "rates": rates, "ratios": ratios}
        write_json(options.json, {**found, "bars": bars, "memory": memory})


if __name__ == "__main__":
    main()
