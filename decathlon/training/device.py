"""Where and how precisely a network computes: device, precision, threads."""

import logging
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import Tensor, nn

from decathlon import __version__
from decathlon.common.errors import UsageError
from decathlon.common.limits import cores
from decathlon.common.world import World, world
from decathlon.models.layers import Conv2d
from decathlon.training.bf16 import RoundedBf16, described, multiplies_bf16
from decathlon.training.distributed.parallel import Processes
from decathlon.training.memory import keep_freed_memory

PRECISIONS = ("auto", "32", "bf16")
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that give torch its number of threads."""

# Fabric says at every trial which precision it uses; the record says it.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Compute:
    """A user's choice of machine settings.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``32`` or ``bf16``. ``auto`` takes bf16 where the device
            multiplies it natively: GPUs since Ampere, CPUs with AVX512-BF16 or AMX.
            ``bf16`` is computed on other CPUs too; see ``decathlon.training.bf16``.
        threads: Processor threads that a training uses; 0 for as many as ``OMP_NUM_THREADS``
            says, or else for all cores that this process may use.
        sync_bn: Of several processes, batch normalisation sees all images of a batch, not
            each process's own.
        compiled: Networks are trained as torch.compile makes them.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    sync_bn: bool = False
    compiled: bool = False

    def fabric(self) -> Fabric:
        """Sets up a fabric for one trial, over all processes that torchrun started.

        Raises:
            UsageError: The device or the precision is not known or not there.
        """
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"unknown precision '{self.precision}' (known: {', '.join(PRECISIONS)})"
            )
        if (threads := self._threads()) != torch.get_num_threads():
            torch.set_num_threads(threads)
        accelerator = self.accelerator()
        if accelerator == "cpu":
            keep_freed_memory()
        found = world()
        self._check_processes(found, accelerator)
        fabric = Fabric(
            accelerator=accelerator,
            strategy=Processes(self.sync_bn) if found.size > 1 else "auto",
            devices=found.local_size,
            num_nodes=found.machines,
            plugins=[self._precision(accelerator)],
        )
        fabric.launch()
        return fabric

    def _threads(self) -> int:
        """Number of threads to compute with.

        torch sees the cores of the machine and no quota of a container. Two threads that
        share half a core took three to six times as long for a training as one.
        """
        if self.threads:
            return self.threads
        known = torch.get_num_threads()
        return known if any(map(os.environ.get, CHOSEN)) else min(known, cores())

    def _precision(self, accelerator: str) -> Precision:
        native = multiplies_bf16(accelerator)
        if self.precision == "32" or (self.precision == "auto" and not native):
            return Precision()
        if native or accelerator != "cpu":
            return MixedPrecision("bf16-mixed", accelerator)
        if self.compiled:
            raise UsageError(
                "this processor cannot multiply bf16, and what stands in for it cannot be"
                " compiled: leave --compile out, or use --precision 32"
            )
        return RoundedBf16(accelerator)

    def _check_processes(self, world: World, accelerator: str) -> None:
        if self.sync_bn and accelerator != "cuda":
            raise UsageError(
                f"--sync-bn needs GPUs, torch has it for no {accelerator}: leave it out;"
                " batch statistics are then those of each process's own images"
            )
        if world.size > 1 and accelerator == "mps":
            raise UsageError("mps is one device: call without torchrun, or with --device cpu")
        if accelerator == "cuda" and world.local_size > torch.cuda.device_count():
            raise UsageError(
                f"{world.local_size} processes, but {torch.cuda.device_count()} GPUs:"
                " start as many as there are (torchrun --nproc-per-node), or use --device cpu"
            )

    def accelerator(self) -> str:
        """Resolves ``auto`` to the device that is there."""
        there = {
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
            "cpu": True,
        }
        if self.device == "auto":
            return next(name for name, present in there.items() if present)
        if not there.get(self.device, False):
            names = ", ".join(name for name, present in there.items() if present)
            raise UsageError(f"device '{self.device}' is not there (there are: auto, {names})")
        return self.device

    def numerics(self, fabric: Fabric) -> dict[str, Any]:
        """Returns what an exact resume needs to be the same: the last bits depend on it."""
        return {
            "threads": torch.get_num_threads(),
            "precision": described(fabric.strategy.precision),
            "world_size": fabric.world_size,
            "sync_bn": self.sync_bn,
            "compiled": self.compiled,
        }

    def environment(self, fabric: Fabric) -> dict[str, Any]:
        """Describes the machine and the libraries of a run, for its record."""
        cuda = fabric.device.type == "cuda"
        return {
            "decathlon": __version__,
            "git": _git_state(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if cuda else fabric.device.type,
            "machine": platform.machine(),
            "system": platform.system(),
            "cpus": os.cpu_count(),
            **self.numerics(fabric),
        }


@cache
def _git_state() -> str | None:
    """Describes the commit that the code is of, or None where it is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def send(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Sends an array to a device, without waiting for it to arrive."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # else the host would wait
    return tensor.to(device, non_blocking=True)


class Normaliser:
    """Turns uint8 pixels into a network's input, on the device they are on."""

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: torch.device,
    ) -> None:
        """Sends the statistics to the device, once.

        Args:
            mean: Per channel, in [0, 1].
            std: Per channel, in [0, 1].
            device: Where images will be.
        """
        self._scale = torch.tensor([1 / (255 * s) for s in std], device=device)
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        self._shift = torch.tensor(shift, device=device)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalises a batch.

        Args:
            images: N x H x W x 3, uint8.

        Returns:
            N x 3 x H x W, float32, in channels-last memory order.
        """
        return (images.to(torch.float32) * self._scale + self._shift).permute(0, 3, 1, 2)


def to_device(network: nn.Module, device: torch.device) -> None:
    """Moves a network to a device, in channels-last memory order, in place.

    Results depend on the order in their last bits, so every network computes in the same.
    Plain convolutions become ours, which do without what crashes on some processors.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = Conv2d
    for tensor in [*network.parameters(), *network.buffers()]:
        order = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
        tensor.data = tensor.data.to(device, memory_format=order)
