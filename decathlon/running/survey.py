"""How the trials of one or several runs stand, before anything is done."""

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from decathlon.common.errors import DataError, ResultError, UsageError, first_difference, listed
from decathlon.common.locks import is_claimed
from decathlon.common.text import plural
from decathlon.method.code import identity
from decathlon.results.records import LOGITS, RECORD, read_record
from decathlon.results.selection import before, procedure
from decathlon.running.faults import Failure, failure_of
from decathlon.running.run import Run, Trial
from decathlon.running.trial import build
from decathlon.running.trial_folder import TrialFolder

State = Literal["done", "differs", "refused", "held", "begun", "failed", "to do"]
SETTLED = ("done", "differs", "refused")
MAX_LISTED = 5


@dataclass(frozen=True)
class TrialState:
    """One trial and how it stands.

    Attributes:
        run: What it belongs to.
        trial: The trial.
        state: ``done``; ``differs``: finished, but with another recipe, data, source or code;
            ``refused``: the method cannot start from the source, a domain lacks a split, or
            nothing trains the network that is evaluated;
            ``held``: another process is at work on it; ``begun``: there is a checkpoint;
            ``failed`` before; ``to do``.
        epoch: Epochs that are done, of one that is begun.
        failure: Why it failed before, or cannot be done.
    """

    run: Run
    trial: Trial
    state: State
    epoch: int = 0
    failure: Failure | None = None

    @property
    def folder(self) -> TrialFolder:
        """The trial's folder."""
        return TrialFolder(self.run, self.trial)


def survey(runs: Sequence[Run]) -> list[TrialState]:
    """Lists the trials of all runs, seed by seed in the order of the runs.

    Warns if the results have trials of the same name that were trained differently.

    Raises:
        UsageError: A run's name is reserved, a domain is not prepared, or a setting does not fit
            the network.
        ResultError: A record cannot be read.
    """
    pairs = [(run, trial) for run in runs for trial in run.trials()]
    pairs.sort(key=lambda pair: pair[0].config.seeds.index(pair[1].seed))
    found = [_state_of(run, trial) for run, trial in pairs]
    awaited = {state.trial for state in found if state.state not in SETTLED}
    found = [_with_network(state, awaited) for state in found]
    own = {state.folder.record(domain) for state in found for domain in state.trial.domains}
    for run in runs:
        _warn_of_others(run, own)
    refusals = {id(run): _refusal(run, found) for run in runs}
    return [_refused(state, refusals[id(state.run)]) for state in found]


def check_unmixed(states: Sequence[TrialState]) -> None:
    """Checks that no finished record belongs to another run than the one asked for.

    Raises:
        UsageError: Some do; the first ones are listed.
    """
    reasons = [s.failure.reason for s in states if s.state == "differs" and s.failure]
    if reasons:
        raise UsageError(listed(reasons, "\n", MAX_LISTED))


def notes_on_logits(states: Sequence[TrialState]) -> list[str]:
    """Returns a sentence on finished trials without the logits that a run asks for."""
    lacking = [
        state
        for state in states
        if state.run.config.keep_logits
        and state.state == "done"
        and not all((state.folder.of(name) / LOGITS).exists() for name in state.trial.domains)
    ]
    said = f"{plural(len(lacking), 'finished trial')} kept no logits; --force runs them again"
    return [said] if lacking else []


def _state_of(run: Run, trial: Trial) -> TrialState:
    folder = TrialFolder(run, trial)
    try:
        if folder.is_done():
            return TrialState(run, trial, "done")
    except UsageError as error:
        return TrialState(run, trial, "differs", failure=failure_of(error, run, trial))
    try:
        run.check_splits(trial)
    except DataError as error:
        return TrialState(run, trial, "refused", failure=failure_of(error, run, trial))
    epoch = folder.epochs_done()
    if is_claimed(folder.first):
        return TrialState(run, trial, "held", epoch or 0)
    if (failure := folder.failure()) is not None:
        return TrialState(run, trial, "failed", epoch or 0, failure)
    return TrialState(run, trial, "to do" if epoch is None else "begun", epoch or 0)


def _with_network(state: TrialState, awaited: Collection[Trial]) -> TrialState:
    """Refuses a trial whose network another method has to train first, but will not.

    Args:
        state: The trial.
        awaited: The trials of these runs that are still to be done.
    """
    trainer = state.folder.trainer
    if trainer is None or state.state in SETTLED:
        return state
    try:
        if trainer.trial not in awaited and not state.folder.is_in_training():
            state.folder.check_trained()
    except (DataError, UsageError) as error:
        failure = failure_of(error, state.run, state.trial)
        return TrialState(state.run, state.trial, "refused", failure=failure)
    return state


def _warn_of_others(run: Run, own: Collection[Path]) -> None:
    """Warns of a record of the same name, for another domain or seed, that does not belong.

    Args:
        run: The run.
        own: The records of all trials that are asked for.
    """
    trials = run.trials()
    if all(trial.kept for trial in trials):
        return
    here = run.config.results / run.name
    settings = dict.fromkeys(trial.setting for trial in trials if not trial.kept)
    others = [path for setting in settings for path in here.glob(f"*/{setting}/seed*/{RECORD}")]
    for path in sorted(others):
        if path in own or (difference := _difference(run, path)) is None:
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
    known = record.domain in run.store.domains
    was: dict[str, Any] = {
        "method": record.method,
        "recipe": before(
            record.selection, {k: v for k, v in record.recipe.items() if k != "domains"}
        ),
        "selection": procedure(record.selection),
        "source": record.source,
        "code": identity(record.code or run.code),
        "crop": record.crop if known else None,
        "routing": record.routing.model_dump() if record.routing else None,
    }
    now: dict[str, Any] = {
        "method": run.method_name,
        "recipe": before(run.config.selection, run.method.recipe.as_json()),
        "selection": procedure(run.config.selection),
        "source": run.source.sha256 if run.method.needs_source else None,
        "code": identity(run.code),
        "crop": run.store.crop_of(record.domain, run.config.crop) if known else None,
        "routing": run.routing.model_dump() if run.routing else None,
    }
    return None if was == now else first_difference(was, now)


def _refusal(run: Run, found: Sequence[TrialState]) -> Failure | None:
    """Tries once whether a method takes its source, if there is anything left to do.

    Raises:
        UsageError: One of its settings, or the size of the images, does not fit the network.
    """
    left = [s.trial for s in found if s.run is run and s.state not in SETTLED]
    if not left:
        return None
    try:
        run.check_kept()
        for trial in left:
            run.check_input(trial)
        for trial in [trial for trial in left if not trial.kept][:1]:
            build(run, trial, [run.task(trial, domain) for domain in trial.domains])
    except UsageError as error:
        raise UsageError(f"method '{run.method_name}': {error}") from None
    except Exception as error:  # noqa: BLE001 - a stranger's method may raise anything
        return failure_of(error, run, left[0])
    return None


def _refused(state: TrialState, refusal: Failure | None) -> TrialState:
    if refusal is None or state.state in SETTLED:
        return state
    failure = replace(refusal, trial=state.trial)
    return TrialState(state.run, state.trial, "refused", failure=failure)
