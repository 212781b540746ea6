"""Native code that only some processors, sizes and thread counts reach ends no process.

Each case runs in a process of its own, so that a crash fails one test.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from decathlon.method.registry import registered
from decathlon.models.layers import Conv2d
from decathlon.training.device import has_native_bf16, to_device

STRESS = Path(__file__).with_name("stress.py")
INSTRUCTIONS = {
    "all": {},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}

NO_BF16 = not has_native_bf16("cpu")
PRECISIONS = [
    "32",
    pytest.param("bf16", marks=pytest.mark.skipif(NO_BF16, reason="no bf16 instructions here")),
]


def stress(instructions: str, threads: int, precision: str, widths: str, methods: str) -> None:
    command = [sys.executable, str(STRESS), str(threads), precision, widths, methods]
    # Threads that wait without spinning take a fraction of the time on a busy machine.
    environment = {**os.environ, **INSTRUCTIONS[instructions], "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_narrow_strided_adapters_train(precision: str) -> None:
    stress("all", 2, precision, "0.25", "parallel-adapters")


@pytest.mark.slow
@pytest.mark.parametrize("width", ["0.125", "0.25", "0.5"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_every_method_trains_and_predicts(
    instructions: str, threads: int, precision: str, width: str
) -> None:
    stress(instructions, threads, precision, width, ",".join(registered()))


def test_a_stranger_s_strided_convolutions_are_ours_once_they_are_placed() -> None:
    network = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2), nn.BatchNorm2d(16))
    x = torch.randn(3, 8, 7, 6)
    names, before = list(network.state_dict()), network(x)
    to_device(network, torch.device("cpu"))
    assert isinstance(network[0], Conv2d)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(x), before)
