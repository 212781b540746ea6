"""Checkpoints for an exact resume, written atomically.

Randomness has no state (it is a function of seed, domain, epoch and image), so a checkpoint
is tensors and the number of the step: safetensors with a JSON header, which also has the
digest of the tensors.
"""

import hashlib
import shutil
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from torch import Tensor

from decathlon.common.errors import DataError, UnreadableError, first_difference
from decathlon.common.files import CHECKPOINT_SECONDS
from decathlon.common.interrupts import received
from decathlon.models.processes import rank
from decathlon.models.weights import read_header, read_weights, write_weights
from decathlon.training.distributed.collectives import (
    all_reduce_max,
    broadcast,
    broadcast_tensors,
    waits_for_gpu,
)

KEEP = 2
"""Checkpoints kept: if the last is damaged, the one before is used."""
ASK_EVERY = 10
"""With several GPUs, every how many steps ranks agree whether to write a checkpoint or to end."""


class Due(IntEnum):
    """What to do after a training step; if ranks differ, the highest counts."""

    NOTHING = 0
    CHECKPOINT = 1
    END = 2
    """A signal has arrived: write a checkpoint and end."""


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Resume:
    """Where an interrupted training resumes.

    Attributes:
        step: Number of steps done.
        tensors: The network's, the optimisers' and the clock's tensors by name.
        facts: The clock's numbers.
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Returns the tensors whose name starts with ``prefix`` and a dot, without it."""
        start = f"{prefix}."
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}


@dataclass
class Checkpoints:
    """The checkpoints of one trial; only rank 0 writes and reads them.

    Attributes:
        folder: Where they are written.
        identity: Recipe, data, source and code; checkpoints of other ones are not used.
        every_seconds: Time between checkpoints; 0 for one after every step.
        every_steps: Most steps between checkpoints; 0 if time alone decides.
    """

    folder: Path
    identity: Mapping[str, Any]
    every_seconds: float = CHECKPOINT_SECONDS
    every_steps: int = 0

    def __post_init__(self) -> None:
        self._last = time.monotonic()
        self._good: list[Path] = []

    def due(self, step: int, last: bool = False) -> Due:
        """Returns what to do after a step; all ranks get the same answer.

        On GPUs ranks agree every ``ASK_EVERY`` steps only, as that waits for all queued work.

        Args:
            step: Number of steps done.
            last: Whether it is the last one.
        """
        by_steps = self.every_steps > 0 and step % self.every_steps == 0
        by_time = rank() == 0 and time.monotonic() - self._last >= self.every_seconds
        if waits_for_gpu() and self.every_seconds > 0 and step % ASK_EVERY and not last:
            return Due(by_steps)
        return Due(all_reduce_max(Due.END if received() else Due(by_steps or by_time)))

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Writes a checkpoint and removes all but it and the one before.

        Damaged checkpoints and those of another recipe are removed too: with a higher step they
        would count as newer.

        Args:
            step: Number of steps done.
            tensors: Parameters, buffers and the optimisers' tensors by name.
            facts: JSON values that :meth:`latest` returns.
        """
        if rank() > 0:
            return
        header = {
            "kind": "checkpoint",
            "identity": dict(self.identity),
            "step": step,
            "facts": dict(facts),
            "digest": _digest(tensors),
        }
        path = self.folder / f"step{step:09d}.safetensors"
        write_weights(path, header, tensors)
        self._good = [path, *(good for good in self._good if good != path)][:KEEP]
        for old in _files(self.folder):
            if old not in self._good:
                old.unlink(missing_ok=True)
        self._last = time.monotonic()

    def latest(self) -> Resume | None:
        """Returns the last undamaged checkpoint; None if there is none.

        Warns about damaged ones, and if all are of another recipe, data, source or code.

        Raises:
            UnreadableError: The system does not let us read one.
        """
        found = self._latest() if rank() == 0 else None
        known = broadcast(None if found is None else {"step": found.step, "facts": found.facts})
        if known is None:
            return None
        return Resume(**known, tensors=broadcast_tensors({} if found is None else found.tensors))

    def _latest(self) -> Resume | None:
        foreign = ""
        for path in _files(self.folder):
            try:
                header, tensors = read_weights(path)
            except UnreadableError:
                raise  # it may be intact: a wrong permission must not cost hours of training
            except DataError as error:
                warnings.warn(f"{error}; going on from an earlier checkpoint", stacklevel=2)
                continue
            if header["kind"] != "checkpoint" or header["digest"] != _digest(tensors):
                warnings.warn(
                    f"{path}: is damaged; going on from an earlier checkpoint", stacklevel=2
                )
            elif header["identity"] == dict(self.identity):
                self._good = [path]
                return Resume(int(header["step"]), tensors, header["facts"])
            else:
                foreign = foreign or first_difference(header["identity"], dict(self.identity))
        if foreign:
            warnings.warn(
                f"{self.folder}: these checkpoints are of another training ({foreign}) and are"
                " not used; starting again from the first step",
                stacklevel=2,
            )
        return None

    def clear(self) -> None:
        """Removes all checkpoints after the training, unfinished files included."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


def peek(folder: Path) -> Mapping[str, Any] | None:
    """Returns the header of the last checkpoint without checking it; None if there is none."""
    with suppress(OSError):
        for path in _files(folder):
            with suppress(DataError):
                return read_header(path)
    return None


def _files(folder: Path) -> list[Path]:
    """Returns all checkpoints, the last one first."""
    try:
        found = list(folder.iterdir())  # a glob would skip an unreadable folder silently
    except FileNotFoundError:
        return []
    return sorted((path for path in found if path.match("step*.safetensors")), reverse=True)
