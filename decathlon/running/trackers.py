"""The trackers that curves can be sent to: TensorBoard, Trackio, and Weights & Biases."""

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from decathlon.common.errors import UsageError
from decathlon.common.files import check_folder
from decathlon.common.text import encodable


class Curves(Protocol):
    """The curves of one training, in one tracker."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Adds a point to some curves.

        Args:
            values: By name of the curve.
            step: Epochs that are done.
        """

    def close(self) -> None:
        """Writes what is left."""


Opener = Callable[[str, Mapping[str, Any]], Curves]
"""Opens the curves of a training, given its name and its settings."""


class _EventFiles:
    """Curves in TensorBoard's event files, in a folder that is made with the first point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None  # a SummaryWriter, which has no types

    def log(self, values: Mapping[str, float], step: int) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Of a training that goes on, TensorBoard drops what an earlier process wrote of
            # this epoch and later ones.
            self._writer = SummaryWriter(str(self.folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        # Before the checkpoint that will have this epoch: a resumed run does not repeat it.
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def tensorboard(target: str) -> Opener:
    """Returns what opens a folder of event files below a folder.

    Args:
        target: The folder.

    Raises:
        UsageError: TensorBoard's writer is not installed, or the folder cannot be used.
    """
    if target != encodable(target):
        raise UsageError(
            f"--track tensorboard:{target}: TensorBoard takes no name that is not UTF-8; name"
            " another folder"
        )
    check_folder(Path(target))
    _package("tensorboard", "torch.utils.tensorboard", "track")
    return lambda name, settings: _EventFiles(Path(target) / name)


class _Run:
    """Curves in a run of Weights & Biases, or of Trackio, whose runs have the same functions.

    What they print goes to standard error: standard output is for results.
    """

    def __init__(
        self,
        package: Any,
        project: str,
        options: Mapping[str, Any],
        name: str,
        settings: Mapping[str, Any],
    ) -> None:
        facts = {"project": project, "name": name, "group": name, "config": dict(settings)}
        with redirect_stdout(sys.stderr):
            self._run = package.init(**facts, **options)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()


def wandb(target: str) -> Opener:
    """Returns what opens a run of Weights & Biases.

    Args:
        target: The project.

    Raises:
        UsageError: The package is not installed, or nobody is logged in. In the mode ``offline``
            nobody has to be.
    """
    package = _package("wandb", "wandb", "wandb")
    try:
        package.login(verify=False)  # asks for a key now, not in the middle of a training
    except Exception as error:  # noqa: BLE001 - several kinds, of its own and of its libraries
        raise UsageError(
            f"--track wandb:{target}: {str(error).rstrip('.')}; run 'wandb login', or set"
            " WANDB_MODE=offline and upload the runs later"
        ) from None
    # With Ray, several runs are open at once. The console is ours to show.
    more = {"reinit": "create_new", "settings": {"console": "off"}}
    return partial(_Run, package, target, more)


def trackio(target: str) -> Opener:
    """Returns what opens a run of Trackio.

    Args:
        target: The project.

    Raises:
        UsageError: The package is not installed.
    """
    return partial(_Run, _package("trackio", "trackio", "trackio"), target, {})


def _package(name: str, module: str, extra: str) -> Any:
    """Imports a tracker's package.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--track {name} needs the package {name} ({error}): pip install"
            f" 'decathlon[{extra}]', or leave it out; log.jsonl has the same numbers"
        ) from None


TRACKERS: dict[str, tuple[str, Callable[[str], Opener]]] = {
    "tensorboard": ("DIR", tensorboard),
    "trackio": ("PROJECT", trackio),
    "wandb": ("PROJECT", wandb),
}
"""By name: what its target is, and what checks a target before anything is trained."""
