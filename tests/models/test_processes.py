"""The mean over processes: its value, and the gradient that one process would have."""

import subprocess
import sys
from pathlib import Path

import torch

from decathlon.models.processes import mean_over_processes

PROGRAM = """
import sys
import torch
import torch.distributed as dist
from decathlon.models.processes import mean_over_processes

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
x = torch.tensor([1.0, 5.0] if rank == 0 else [3.0, -1.0], requires_grad=True)
mean = mean_over_processes(x)
(mean**2).sum().backward()
print(mean.tolist(), x.grad.tolist())
x.grad = None
share = (0.75, 0.25)[rank]
mean = mean_over_processes(x, share)
(share * (mean**2).sum()).backward()
print(mean.tolist(), x.grad.tolist())
dist.destroy_process_group()
"""


def test_one_process_has_the_tensor_itself() -> None:
    x = torch.randn(3, requires_grad=True)
    assert mean_over_processes(x) is x


def test_two_processes_agree_on_the_mean_and_share_its_gradient(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    # The last two lines: before them, gloo of torch 2.8 tells that it is connected.
    outputs = [process.communicate(timeout=300)[0].splitlines()[-2:] for process in both]
    # Each process has a loss of gradient 2 mean / 2 for every x; the two are added.
    assert [lines[0] for lines in outputs] == ["[2.0, 2.0] [4.0, 4.0]"] * 2
    # With shares the two losses are one, of gradient 2 mean, of which x has its share.
    assert outputs[0][1] == "[1.5, 3.5] [2.25, 5.25]"
    assert outputs[1][1] == "[1.5, 3.5] [0.75, 1.75]"
