"""Where and how precisely a network computes: device, precision, threads."""

import logging
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import nn

from decathlon import __version__
from decathlon.common.errors import UsageError, check_known
from decathlon.common.limits import cores
from decathlon.common.world import World, world
from decathlon.models.layers import Conv2d
from decathlon.training.distributed.parallel import DataParallel
from decathlon.training.memory import keep_freed_memory

PRECISIONS = ("auto", "32", "bf16")
RECORDED = {"32-true": "32", "bf16-mixed": "bf16"}
"""Values of ``--precision``, by what Fabric and records call them."""
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that set torch's number of threads."""

# Fabric prints the precision at every trial; the record has it.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@dataclass(frozen=True)
class Compute:
    """A user's choice of device, precision and threads.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``auto``, ``32`` or ``bf16``. ``auto`` takes bf16 where
            :func:`has_native_bf16`, else 32 bits; on a processor also 32 bits where
            :func:`has_grouped_convolutions`.
        threads: Processor threads that a training uses; 0 for ``OMP_NUM_THREADS`` if it is
            set, else for all cores that this process may use.
        sync_bn: In data-parallel training, batch normalisation uses the statistics of the
            whole batch, not of each rank's part.
        compiled: Train networks with torch.compile.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    sync_bn: bool = False
    compiled: bool = False

    def fabric(self, network: nn.Module | None = None) -> Fabric:
        """Sets up a fabric for one trial, over all processes that torchrun started.

        Args:
            network: What is computed, for ``auto`` precision; tensors are not looked at.

        Raises:
            UsageError: The device or the precision is unknown or not available.
        """
        check_known("precision", self.precision, PRECISIONS)
        if (threads := self._threads()) != torch.get_num_threads():
            torch.set_num_threads(threads)
        accelerator = self.accelerator()
        if accelerator == "cpu":
            keep_freed_memory()
        found = world()
        self._check_processes(found, accelerator)
        fabric = Fabric(
            accelerator=accelerator,
            strategy=DataParallel(self.sync_bn) if found.size > 1 else "auto",
            devices=found.local_size,
            num_nodes=found.machines,
            plugins=[self._precision(accelerator, network)],
        )
        fabric.launch()
        return fabric

    def _threads(self) -> int:
        """Number of threads to compute with.

        torch counts the machine's cores and ignores a container's quota. A training with two
        threads on half a core took three to six times as long as with one.
        """
        if self.threads:
            return self.threads
        known = torch.get_num_threads()
        return known if any(map(os.environ.get, CHOSEN)) else min(known, cores())

    def _precision(self, accelerator: str, network: nn.Module | None) -> Precision:
        native = has_native_bf16(accelerator)
        slow = not native or (accelerator == "cpu" and has_grouped_convolutions(network))
        if self.precision == "32" or (self.precision == "auto" and slow):
            return Precision()
        if accelerator == "cpu" and not native:
            raise UsageError(
                "this processor lacks the bf16 instructions AVX512-BF16 and AMX:"
                " use --precision 32 or --precision auto"
            )
        return MixedPrecision("bf16-mixed", accelerator)

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
        """Returns the device to use; ``auto`` becomes the best one that is available.

        Raises:
            UsageError: The device is unknown or not available.
        """
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
        """Returns what has to be the same for an exact resume: the last bits depend on it."""
        return {
            "threads": torch.get_num_threads(),
            "precision": fabric.strategy.precision.precision,
            "world_size": fabric.world_size,
            "sync_bn": self.sync_bn,
            "compiled": self.compiled,
        }

    def environment(self, fabric: Fabric) -> dict[str, Any]:
        """Describes the machine and the libraries of a run, for its record."""
        cuda = fabric.device.type == "cuda"
        # Whose networks it computes, and how their images are normalised, depends on the version.
        timm = {"timm": version("timm")} if "timm" in sys.modules else {}
        return {
            "decathlon": __version__,
            "git": _git_state(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            **timm,
            "device": torch.cuda.get_device_name() if cuda else fabric.device.type,
            "machine": platform.machine(),
            "system": platform.system(),
            "cpus": os.cpu_count(),
            **self.numerics(fabric),
        }


def has_native_bf16(accelerator: str) -> bool:
    """Returns whether a device has bf16 instructions.

    GPUs since Ampere and processors with AVX512-BF16 or AMX have. On other processors torch
    computes bf16 convolutions tens of times slower than in 32 bits (pytorch/pytorch issues
    118499, 146508 and 183815).

    Args:
        accelerator: ``cpu``, ``cuda`` or ``mps``.
    """
    if accelerator == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if accelerator != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    # For torch 2.6 to 2.8.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def has_grouped_convolutions(network: nn.Module | None) -> bool:
    """Returns whether a network has grouped or depthwise convolutions.

    torch trains them slowly in bf16 on a processor: on a Xeon with AMX, steps of EfficientNet-Lite0
    took 1.3 times, those of MobileNetV3-small 2.0 times as long as in 32 bits.
    """
    layers = network.modules() if network is not None else ()
    return any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in layers)


@cache
def _git_state() -> str | None:
    """Describes the checked-out commit; None if the code is not in a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def to_device(network: nn.Module, device: torch.device) -> None:
    """Moves a network to a device, in channels-last memory order, in place.

    The memory order changes results in their last bits, so every network uses the same one.
    Plain convolutions become :class:`~decathlon.models.layers.Conv2d`, which avoids a crash
    on some processors.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = Conv2d
    for tensor in [*network.parameters(), *network.buffers()]:
        order = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
        tensor.data = tensor.data.to(device, memory_format=order)
