"""What went wrong in a trial, in words that say how to mend it.

    RESULTS/<name>/<domain>/<split>/seed<k>/failed.json

says why a trial failed, until it is tried again.
"""

import errno
import gc
import json
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from decathlon.common import oserrors
from decathlon.common.errors import DEBUG, DecathlonError, TrialError
from decathlon.common.files import digest_of, write_json
from decathlon.common.text import encodable
from decathlon.running.plan import Run, Trial

FILE = "failed.json"
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "status_alloc_failed")
"""What torch and its libraries say when memory ran out, on GPUs and on CPUs."""


@dataclass(frozen=True)
class Failure:
    """Why a trial failed. It holds text only, so that no network stays in memory with it.

    Attributes:
        trial: The trial.
        code: Exit code of the fault.
        reason: What is wrong, where, and how to mend it.
    """

    trial: Trial
    code: int
    reason: str


def failure(error: Exception, run: Run, trial: Trial) -> Failure:
    """Explains what a trial, or the preparation of it, raised."""
    if DEBUG:
        traceback.print_exception(error)
    if isinstance(error, DecathlonError):
        return Failure(trial, error.exit_code, encodable(str(error)))
    reason = encodable(explained(error, run.results, run.method.recipe.batch_size))
    return Failure(trial, TrialError.exit_code, reason)


def explained(error: Exception, folder: Path, batch_size: int) -> str:
    """Says what an error of the system means for a training, and how to mend it.

    Args:
        error: Anything but a :class:`DecathlonError`, which says so itself.
        folder: What is written to.
        batch_size: Images a step.
    """
    text = (str(error) or type(error).__name__).splitlines()[0]
    if _is_out_of_memory(error):
        return (
            f"out of memory, with batches of {batch_size} images ({text}); make them smaller"
            f" (--set batch_size={max(batch_size // 2, 2)}), or run fewer processes at a time"
        )
    if isinstance(error, OSError):
        return (
            f"{oserrors.explained(error, folder)}; then run the same command to go on from what is"
            " finished and the last checkpoint"
        )
    return f"unexpected {type(error).__name__}: {text}; DECATHLON_DEBUG=1 shows where"


@contextmanager
def telling(folder: Path, batch_size: int) -> Iterator[None]:
    """Lets what the block raises be told as :func:`explained` does.

    Args:
        folder: What is written to.
        batch_size: Images a step.

    Raises:
        TrialError: In the place of anything but a :class:`DecathlonError`.
    """
    try:
        yield
    except DecathlonError:
        raise
    except Exception as error:
        raise TrialError(explained(error, folder, batch_size)) from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in NO_MEMORY)


def release_memory() -> None:
    """Gives back what a failed trial held, which nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def exit_code(failures: list[Failure], all_failed: bool) -> int:
    """Returns the exit code of a run.

    Args:
        failures: The trials that failed.
        all_failed: Whether nothing is done besides.

    Returns:
        0 where none failed; 1 where others are done, or the reasons are of several kinds;
        else the code of the one kind, such as 3 where no trial has its data.
    """
    codes = {failure.code for failure in failures}
    if not codes:
        return 0
    return codes.pop() if all_failed and len(codes) == 1 else TrialError.exit_code


def grouped(failures: Iterable[Failure]) -> list[tuple[str, str]]:
    """Returns (which trials, reason), with the trials of a method that have it in common."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for failure in failures:
        groups.setdefault((failure.trial.name, failure.reason), []).append(failure.trial)
    return [(_which(trials), reason) for (_, reason), trials in groups.items()]


def _which(trials: Sequence[Trial]) -> str:
    if len(trials) == 1:
        return str(trials[0])
    domains = dict.fromkeys(domain for trial in trials for domain in trial.domains)
    seeds = dict.fromkeys(str(trial.seed) for trial in trials)
    return f"{trials[0].name}, {' '.join(domains)}, {trials[0].split}, seed {' '.join(seeds)}"


def note(run: Run, failure: Failure) -> None:
    """Keeps in a trial's folder why it failed, if anything can be written there."""
    value = {"reason": failure.reason, "code": failure.code, "of": _identity(run, failure.trial)}
    with suppress(OSError):
        write_json(_file(run, failure.trial), value)


def noted(run: Run, trial: Trial, since: float = 0.0) -> Failure | None:
    """Returns why a trial failed when it was last tried with this recipe, data, source and code.

    Args:
        run: What it belongs to.
        trial: The trial.
        since: Seconds since 1970; what is older is passed over.
    """
    path = _file(run, trial)
    try:
        value = json.loads(path.read_bytes())
        if path.stat().st_mtime < since or value["of"] != _identity(run, trial):
            return None
        return Failure(trial, int(value["code"]), str(value["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(run: Run, trial: Trial) -> None:
    """Removes what :func:`note` kept, as the trial is tried again."""
    _file(run, trial).unlink(missing_ok=True)


def _file(run: Run, trial: Trial) -> Path:
    return trial.folder(run.results, trial.domains[0]) / FILE


def _identity(run: Run, trial: Trial) -> str:
    return digest_of(run.identity(trial))
