"""How the trials of one or several runs stand, before anything is done."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from decathlon.common.errors import DataError, ResultError, UsageError, first_difference, listed
from decathlon.common.locks import is_claimed
from decathlon.method.code import identity
from decathlon.results.records import RECORD, read_record
from decathlon.running.faults import Failure, failure, noted
from decathlon.running.plan import Run, Trial, is_done
from decathlon.running.trial import CHECKPOINTS, build, task_of
from decathlon.training.checkpoints import peek

State = Literal["done", "differs", "refused", "held", "begun", "failed", "to do"]
SETTLED = ("done", "differs", "refused")
MAX_LISTED = 5


@dataclass(frozen=True)
class Work:
    """One trial and how it stands.

    Attributes:
        run: What it belongs to.
        trial: The trial.
        state: ``done``; ``differs``: finished, but with another recipe, data, source or code;
            ``refused``: the method cannot start from the source, or a domain lacks a split;
            ``held``: another process
            is at work on it; ``begun``: there is a checkpoint; ``failed`` before; ``to do``.
        epoch: Epochs that are done, of one that is begun.
        failure: Why it failed before, or cannot be done.
    """

    run: Run
    trial: Trial
    state: State
    epoch: int = 0
    failure: Failure | None = None


def survey(runs: Sequence[Run]) -> list[Work]:
    """Lists the trials of all runs, seed by seed in the order of the runs.

    Warns if the results have trials of the same name that were trained differently.

    Raises:
        UsageError: A run's name is reserved, or a domain is not prepared.
        ResultError: A record cannot be read.
    """
    pairs = [(run, trial) for run in runs for trial in run.trials()]
    pairs.sort(key=lambda pair: pair[0].seeds.index(pair[1].seed))
    found = [_stands(run, trial) for run, trial in pairs]
    for run in runs:
        _warn_of_others(run)
    refusals = {id(run): _refusal(run, found) for run in runs}
    return [_refused(work, refusals[id(work.run)]) for work in found]


def check_unmixed(work: Sequence[Work]) -> None:
    """Checks that no finished record belongs to another run than the one asked for.

    Raises:
        UsageError: Some do; the first ones are listed.
    """
    reasons = [w.failure.reason for w in work if w.state == "differs" and w.failure]
    if reasons:
        raise UsageError(listed(reasons, "\n", MAX_LISTED))


def _stands(run: Run, trial: Trial) -> Work:
    if not run.force:
        try:
            if is_done(run, trial):
                return Work(run, trial, "done")
        except UsageError as error:
            return Work(run, trial, "differs", failure=failure(error, run, trial))
    try:
        run.check_splits(trial)
    except DataError as error:
        return Work(run, trial, "refused", failure=failure(error, run, trial))
    folder = trial.folder(run.results, trial.domains[0])
    epoch = _epochs_done(run, trial)
    if is_claimed(folder):
        return Work(run, trial, "held", epoch or 0)
    if (before := noted(run, trial)) is not None:
        return Work(run, trial, "failed", epoch or 0, before)
    return Work(run, trial, "begun" if epoch is not None else "to do", epoch or 0)


def _warn_of_others(run: Run) -> None:
    """Warns of a record of the same name, for another domain or seed, that does not belong."""
    trials = run.trials()
    if all(trial.kept for trial in trials):
        return
    own = {trial.folder(run.results, domain) for trial in trials for domain in trial.domains}
    for path in sorted((run.results / run.name).glob(f"*/{run.split}/seed*/{RECORD}")):
        if path.parent in own or (difference := _difference(run, path)) is None:
            continue
        warnings.warn(
            f"{path}: has the name of this run, but was trained differently ({difference});"
            " 'decathlon score' shows two incomplete rows; rerun that one with --force in the same"
            " way, or give this run another --name",
            stacklevel=2,
        )
        return


def _difference(run: Run, path: Path) -> str | None:
    """Says how the training of a record differs from a run's; None if it does not."""
    try:
        record = read_record(path)
    except ResultError:
        return None  # a run that asks for that trial reports it
    if not record.trained:
        return None
    code = identity(record.code or run.code)
    was: dict[str, Any] = {
        "method": record.method,
        "recipe": {**record.recipe},
        "source": record.source,
    }
    was["recipe"].pop("domains", None)
    now: dict[str, Any] = {"method": run.method_name, "recipe": run.method.recipe.as_json()}
    now["source"] = run.source.sha256 if run.method.needs_source else None
    was["code"], now["code"] = code, identity(run.code)
    return None if was == now else first_difference(was, now)


def _epochs_done(run: Run, trial: Trial) -> int | None:
    """Returns the epochs that the last checkpoint has, if there is one of this run."""
    header = peek(trial.folder(run.results, trial.domains[0]) / CHECKPOINTS)
    if header is None:
        return None
    ours = run.identity(trial)
    if any(header["identity"].get(domain) != ours[domain] for domain in ours):
        return None
    return int(header["facts"]["epoch"])


def _refusal(run: Run, found: Sequence[Work]) -> Failure | None:
    """Tries once whether a method takes its source, if there is anything left to do."""
    left = [w.trial for w in found if w.run is run and w.state not in SETTLED]
    if not left:
        return None
    try:
        run.check_kept()
        for trial in [trial for trial in left if not trial.kept][:1]:
            build(run, trial, [task_of(run, domain) for domain in trial.domains])
    except Exception as error:  # noqa: BLE001 - a stranger's method may raise anything
        return failure(error, run, left[0])
    return None


def _refused(work: Work, refusal: Failure | None) -> Work:
    if refusal is None or work.state in SETTLED:
        return work
    reason = Failure(work.trial, refusal.code, refusal.reason)
    return Work(work.run, work.trial, "refused", failure=reason)
