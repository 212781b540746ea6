"""What went wrong in a trial, in words that say how to fix it."""

import errno
import gc
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from decathlon.common import oserrors
from decathlon.common.errors import DEBUG, DecathlonError, TrialError
from decathlon.common.text import encodable
from decathlon.running.run import Run, Trial

NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "status_alloc_failed")
"""What torch and its libraries say when memory ran out, on GPUs and on CPUs."""


@dataclass(frozen=True)
class Failure:
    """Why a trial failed. It holds text only, so that no network stays in memory with it.

    Attributes:
        trial: The trial.
        code: Exit code of the fault.
        reason: What is wrong, where, and how to fix it.
    """

    trial: Trial
    code: int
    reason: str


def failure_of(error: Exception, run: Run, trial: Trial) -> Failure:
    """Turns what a trial, or its preparation, raised into text."""
    if DEBUG:
        traceback.print_exception(error)
    if isinstance(error, DecathlonError):
        return Failure(trial, error.exit_code, encodable(str(error)))
    reason = reason_of(error, run.config.results, run.method.recipe.batch_size)
    return Failure(trial, TrialError.exit_code, encodable(reason))


def reason_of(error: Exception, folder: Path, batch_size: int) -> str:
    """Says what an error of Python or the system means for a training, and how to fix it.

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
def with_reason(folder: Path, batch_size: int) -> Iterator[None]:
    """Raises what the block raises as an error that says how to fix it.

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
        raise TrialError(reason_of(error, folder, batch_size)) from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in NO_MEMORY)


def release_memory() -> None:
    """Frees what a failed trial held, which nothing refers to any more."""
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
    settings = dict.fromkeys(trial.setting for trial in trials)
    return f"{trials[0].name}, {' '.join(domains)}, {' '.join(settings)}, seed {' '.join(seeds)}"
