"""TensorBoard: the curves of trainings, as an option. The JSONL log is written always."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decathlon.common.errors import UsageError
from decathlon.common.files import check_folder
from decathlon.common.text import encodable
from decathlon.running.events import Epoch, Event, Finished
from decathlon.running.faults import Failure
from decathlon.running.run import Trial


def check_tensorboard(folder: Path) -> None:
    """Checks that curves can be written.

    Args:
        folder: Where to.

    Raises:
        UsageError: TensorBoard's writer is not installed, or the folder cannot be used.
    """
    if str(folder) != encodable(str(folder)):
        raise UsageError(
            f"--tensorboard {folder}: TensorBoard takes no name that is not UTF-8; name another"
            " folder"
        )
    check_folder(folder)
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"--tensorboard needs the package tensorboard ({error}): pip install"
            " 'decathlon[track]', or leave it out; log.jsonl has the same numbers"
        ) from None


class Curves:
    """The curves of one training."""

    def __init__(self, folder: Path) -> None:
        """Names the folder; it is made when there is something to write.

        Args:
            folder: Where TensorBoard's event files are written.
        """
        self.folder = folder
        self.epochs = 0
        self._writer: Any = None  # a SummaryWriter, which has no types

    def epoch(self, facts: Mapping[str, Any]) -> None:
        """Writes loss, rates and speed of an epoch, as the training loop reports them."""
        self.epochs = facts["epoch"]
        writer = self._open(self.epochs)
        writer.add_scalar("loss", facts["loss"], self.epochs)
        writer.add_scalar("images_per_s", facts["images_per_s"], self.epochs)
        for number, rate in enumerate(facts["lr"]):
            writer.add_scalar(f"lr/group{number}", rate, self.epochs)
        # Before the checkpoint that will have this epoch: a resumed run does not repeat it.
        writer.flush()

    def accuracy(self, percent: float | None) -> None:
        """Writes the final accuracy, if it is known."""
        if percent is not None:
            self._open(self.epochs).add_scalar("accuracy", percent, self.epochs)

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, epoch: int) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Of a training that goes on, TensorBoard drops what an earlier process wrote of
            # this epoch and later ones.
            self._writer = SummaryWriter(str(self.folder), purge_step=epoch)
        return self._writer


class TrialCurves:
    """A listener that writes the curves of all trials.

    FOLDER/<name>/<domain>/<split>/seed<k>; a joint training's curves are in the folder of
    its first domain, as its log is, and each domain's accuracy in its own.
    """

    def __init__(self, folder: Path) -> None:
        """Names the folder.

        Args:
            folder: Where curves are written.
        """
        self.folder = folder
        self.open: dict[Trial, Curves] = {}

    def __call__(self, event: Event) -> None:
        """Writes what an event has for the curves."""
        match event:
            case Epoch(trial, facts):
                self._curves(trial).epoch(facts)
            case Finished(trial, records):
                curves = self._curves(trial)
                for record in records:
                    first = record.domain == trial.domains[0]
                    own = curves if first else Curves(self.folder / trial.folder(record.domain))
                    own.epochs = curves.epochs
                    own.accuracy(record.accuracy)
                    own.close()
                curves.close()
                del self.open[trial]
            case Failure(trial):
                self._curves(trial).close()
                del self.open[trial]

    def _curves(self, trial: Trial) -> Curves:
        return self.open.setdefault(trial, Curves(self.folder / trial.folder(trial.domains[0])))
