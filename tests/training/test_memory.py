"""What a training step frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

BLOCKS, SIZE = 3, 64 << 20
PROGRAM = f"""
import resource
from pathlib import Path
import torch
from decathlon.training.device import Compute

{{setup}}

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before = held()
blocks = [torch.ones({SIZE}, dtype=torch.uint8) for _ in range({BLOCKS})]
assert held() - before > {BLOCKS * SIZE} * 0.9
del blocks
print(held() - before)
"""


def held_after(setup: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setup=setup)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_freed_memory_stays_with_the_process() -> None:
    assert held_after("") < SIZE / 2, "the C library keeps it anyway: this test shows nothing"
    assert held_after("Compute('cpu', '32').fabric()") > BLOCKS * SIZE * 0.9
