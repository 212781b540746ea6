"""What a trial costs: operations of a prediction, and memory."""

from contextlib import suppress
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from decathlon.method.base import Method
from decathlon.models.flops import count_flops
from decathlon.training.evaluation import evaluating
from decathlon.training.feed import Feed
from decathlon.training.memory import return_freed_memory

PROCESS = Path("/proc/self")
"""What Linux says of this process; other systems do not have it."""


def flops_of_image(method: Method, network: nn.Module, feed: Feed, fabric: Fabric) -> int | None:
    """Counts the operations by which a method classifies a test image, the feed's first.

    Args:
        method: How the network predicts.
        network: A final network.
        feed: The test images.
        fabric: Device and precision.

    Returns:
        The count of :func:`count_flops`; None if a layer cannot be counted, which is no reason to
        lose a finished trial.
    """
    with evaluating(network, fabric), suppress(Exception):
        _, batch = next(feed.evaluation(1))
        return count_flops(lambda: method.predict(network, batch))
    return None


class PeakMemory:
    """The highest memory from now on: allocated on a GPU, else resident in this process.

    Args:
        device: Where a network computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._known = device, True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        return_freed_memory()  # else what an earlier trial freed would count
        try:
            (PROCESS / "clear_refs").write_text("5")  # resets VmHWM, see proc(5)
        except OSError:
            self._known = False

    def read(self) -> int | None:
        """Returns the highest memory so far in bytes; None where the system does not tell."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if not self._known:
            return None
        lines = (PROCESS / "status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
