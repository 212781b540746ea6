"""Trials on a Ray cluster: each in a process of its own, wherever there is room.

Ray starts the processes and gives them cores and shares of GPUs. All machines see the same
data and results folders. A trial whose process or machine is lost is started again, from its
last checkpoint in the results folder.

Configurations and answers are sent as JSON. Progress is read from the trial's log in the results
folder, so that nothing on the cluster has to stay alive but the trials. Ray itself sends functions
as pickles between machines that trust each other.
"""

import json
import platform
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from decathlon.common import interrupts
from decathlon.common.errors import DecathlonError, UsageError
from decathlon.common.progress import say
from decathlon.results.records import read_record
from decathlon.running.config import RunConfig
from decathlon.running.display import PlainLines
from decathlon.running.events import Epoch, Finished, Listener, Started, Waiting
from decathlon.running.execution import HeldError, announce, attempt
from decathlon.running.faults import Failure
from decathlon.running.launchers.connection import Health, connected, import_ray, resources
from decathlon.running.resolve import resolve
from decathlon.running.run import Run, Trial
from decathlon.running.survey import TrialState
from decathlon.running.trial_folder import TrialFolder, check_agreement
from decathlon.training.checkpoints import peek

RETRIES = 3
"""Times that a trial is started again after its process or machine was lost."""
POLL_SECONDS = 0.5
"""Between two looks at the trials."""
LOOK_SECONDS = 5.0
"""Between two looks at the cluster, and at trials that other runs hold."""
RECALL_SECONDS = 25.0
"""How long interrupted trials have to write a checkpoint; Slurm and others kill after 30."""
CAUSES = {
    "OutOfMemoryError": (
        "Ray ended its process because the machine ran out of memory",
        "use smaller batches (--set batch_size=...), or more --threads or --gpus for each trial",
    ),
    "WorkerCrashedError": (
        "its process was killed or crashed",
        "look for the cause in the machine's system log (out of memory?)",
    ),
    "NodeDiedError": ("its machine was lost", "check the machines of the cluster"),
    "ObjectStoreFullError": (
        "Ray's object store is full",
        "make room in /dev/shm, or start Ray with a larger --object-store-memory",
    ),
    "OutOfDiskError": ("the disk of Ray's temporary folder is full", "make room in it"),
    "RuntimeEnvSetupError": (
        "Ray could not set up its process",
        "check the runtime environment that the cluster was started with",
    ),
    "TaskCancelledError": ("it was cancelled on the cluster", "find out who cancels it"),
}
"""What Ray's errors mean, and what to do."""


@dataclass(frozen=True)
class Cluster:
    """Where trials run, and what each of them gets.

    Attributes:
        address: Of the cluster; None for the one that this machine belongs to, or else a
            new one of this machine alone.
        gpus: GPUs a trial, a fraction to share one; None for one where there are any.
    """

    address: str | None = None
    gpus: float | None = None


def execute_on(cluster: Cluster, states: Sequence[TrialState], listener: Listener) -> list[Failure]:
    """Runs all trials that are not done, at the same time as far as there is room.

    Args:
        cluster: Where.
        states: What :func:`decathlon.running.survey.survey` found.
        listener: Called with every event.

    Returns:
        The trials that failed, and why.

    Raises:
        UsageError: Ray is not installed, there is no cluster at the address, or no machine
            of it has what a trial needs; a finished record belongs to another run.
    """
    ray = import_ray()
    failures = announce(states, listener)
    todo = [item for item in states if item.state not in ("done", "refused")]
    if not todo:
        return failures
    with connected(ray, cluster.address) as head:
        needs = resources(ray, todo[0].run.config.compute, cluster.gpus)
        return failures + _Fleet(ray, head, listener, needs).run(todo)


class _Fleet:
    """The trials that have been sent to the cluster."""

    def __init__(self, ray: Any, head: str, listener: Listener, needs: dict[str, float]) -> None:
        self.ray, self.listener, self.since = ray, listener, time.time()
        # Ray's own retries are unlimited for some causes, and never reported.
        self.task = ray.remote(max_retries=0, **needs)(_run_remotely)
        self.health = Health(ray, head, needs)
        self.given: dict[Any, TrialState] = {}
        self.logs: dict[Trial, _Log] = {}
        self.losses: Counter[Trial] = Counter()
        self.held: list[TrialState] = []
        self.later: list[TrialState] = []
        self.failures: list[Failure] = []

    def run(self, todo: Sequence[TrialState]) -> list[Failure]:
        """Starts all trials and waits for them.

        Raises:
            TrialError: The cluster is lost.
            KeyboardInterrupt: A signal has arrived; the trials have ended, with checkpoints.
        """
        try:
            self.later = list(todo)
            looked = time.monotonic()
            while self.given or self.held or self.later:
                self._give_ready()
                self._collect()
                if time.monotonic() - looked >= LOOK_SECONDS:
                    self._look()
                    looked = time.monotonic()
        except KeyboardInterrupt:
            self._recall()
            raise
        return self.failures

    def _give_ready(self) -> None:
        """Starts the trials that do not wait for another one to train their network."""
        under_way = {item.trial for item in (*self.given.values(), *self.held, *self.later)}
        trainers = [item.folder.trainer for item in self.later]
        waits = [trainer is not None and trainer.trial in under_way for trainer in trainers]
        ready = [item for item, waiting in zip(self.later, waits, strict=True) if not waiting]
        self.later = [item for item, waiting in zip(self.later, waits, strict=True) if waiting]
        for item in ready:
            self._give(item)

    def _give(self, item: TrialState) -> None:
        key = str(item.trial)
        self.logs[item.trial] = _Log(item)
        asked = json.dumps(item.folder.identity())
        config = json.dumps(item.run.config.as_json())
        ref = self.task.options(name=key).remote(config, key, asked, self.since)
        self.given[ref] = item

    def _collect(self) -> None:
        """Waits a moment, reports progress, and handles the answers of trials that ended."""
        if not self.given:
            time.sleep(POLL_SECONDS)
        done, _ = self.ray.wait(list(self.given), num_returns=len(self.given), timeout=POLL_SECONDS)
        for item in self.given.values():
            self.logs[item.trial].tell(self.listener)
        for ref in done:
            self._take(ref, self.given.pop(ref))

    def _take(self, ref: Any, item: TrialState) -> None:
        errors = self.ray.exceptions
        try:
            answer: dict[str, Any] = json.loads(self.ray.get(ref))
        except errors.LocalRayletDiedError:
            raise self.health.lost() from None
        except errors.RayTaskError as error:
            # The task could not be loaded or started; another try would fail in the same way.
            text = str(error).strip().splitlines()[-1]
            reason = (
                f"Ray could not run it ({text}); all machines need the same versions of Python,"
                " decathlon and its packages"
            )
            self._fail(item, 1, reason)
        except errors.RayError as error:
            kind = type(error).__name__
            self._lost(item, *CAUSES.get(kind, (f"Ray lost it ({kind})", "check the cluster")))
        else:
            self._settle(item, **answer)

    def _settle(self, item: TrialState, state: str, machine: str = "", **said: Any) -> None:
        """Handles what :func:`_run_remotely` answered."""
        if state == "held":
            self.held.append(item)
        elif state == "interrupted":
            reason = f"its process on {machine} was ended by {said['signal']}"
            self._lost(item, reason, "find out who sends the signal")
        elif state == "failed":
            self._fail(item, said["code"], said["reason"])
        else:
            self._finish(item, machine)

    def _lost(self, item: TrialState, reason: str, remedy: str) -> None:
        """Starts a trial again, unless it has been lost too often."""
        self.losses[item.trial] += 1
        if self.losses[item.trial] <= RETRIES:
            self._give(item)
            return
        again = "run the same command to go on from its last checkpoint"
        self._fail(item, 1, f"{reason}, {RETRIES + 1} times in a row; {remedy}, and {again}")

    def _fail(self, item: TrialState, code: int, reason: str) -> None:
        failure = Failure(item.trial, code, reason)
        if item.folder.failure(self.since) is None:
            item.folder.write_failure(failure)
        self.failures.append(failure)
        self.listener(failure)

    def _finish(self, item: TrialState, machine: str) -> None:
        records = []
        for domain in item.trial.domains:
            path = item.folder.record(domain)
            if not path.is_file():
                reason = (
                    f"{path}: was written on {machine} and is not seen here; name a --results"
                    " folder that all machines share"
                )
                self._fail(item, 2, reason)
                return
            records.append(read_record(path))
        self.listener(Finished(item.trial, tuple(records)))

    def _look(self) -> None:
        """Checks the cluster, and starts trials again that other runs held."""
        if (missing := self.health.check()) is not None:
            for ref, item in self.given.items():
                self.ray.cancel(ref, recursive=False)
                self._fail(item, 1, f"{missing}; bring one back and run the same command")
            self.given.clear()
        if self.held:
            self.listener(Waiting(tuple(item.trial for item in self.held)))
            while self.held:
                self._give(self.held.pop())

    def _recall(self) -> None:
        """Lets the trials write a checkpoint and end."""
        if self.given:
            text = "the trials end after this training step, with a checkpoint"
            say(f"decathlon: {interrupts.name()}: {text}; another signal ends at once, without")
            refs = list(self.given)
            for ref in refs:
                self.ray.cancel(ref, recursive=False)
            self.ray.wait(refs, num_returns=len(refs), timeout=RECALL_SECONDS)


class _Log:
    """The progress of a trial, read from its log."""

    def __init__(self, item: TrialState) -> None:
        self.trial = item.trial
        self.path = item.folder.log
        self.stamp, self.began = self._stamp(), False
        # The log is cut to the epochs of the last checkpoint, which have been reported.
        header = peek(item.folder.checkpoints)
        self.told = 0 if header is None else int(header["facts"]["epoch"])

    def tell(self, listener: Listener) -> None:
        """Passes what is new to a listener."""
        if (stamp := self._stamp()) == self.stamp:
            return
        self.stamp = stamp
        if not self.began:
            self.began = True
            listener(Started(self.trial))
        text = self.path.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        for line in lines[min(self.told, len(lines)) :]:
            listener(Epoch(self.trial, json.loads(line)))
        self.told = len(lines)

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def _run_remotely(config: str, key: str, asked: str, since: float) -> str:
    """Does one trial, in a process of the cluster.

    Args:
        config: JSON of the configuration of the trial's run.
        key: The trial, as text.
        asked: JSON of the trial's identity where the command was given.
        since: When the command began, in seconds since 1970.

    Returns:
        JSON: ``state`` is ``done`` (with ``machine``), ``held``, ``interrupted`` (with
        ``machine`` and ``signal``) or ``failed`` (with ``code`` and ``reason``).
    """
    machine = platform.node()
    answer: dict[str, Any] = {"state": "done", "machine": machine}
    with interrupts.handling():
        try:
            run, trial = _find(RunConfig.from_json(json.loads(config)), key)
            check_agreement(key, TrialFolder(run, trial).identity(), json.loads(asked))
            if (failed := attempt(run, trial, PlainLines(), since)) is not None:
                answer = {"state": "failed", "code": failed.code, "reason": failed.reason}
        except HeldError:
            answer = {"state": "held"}
        except KeyboardInterrupt:
            answer = {"state": "interrupted", "machine": machine, "signal": interrupts.name()}
        except DecathlonError as error:
            reason = f"on {machine}: {error}"
            answer = {"state": "failed", "code": error.exit_code, "reason": reason}
    return json.dumps(answer)


def _find(config: RunConfig, key: str) -> tuple[Run, Trial]:
    for found in ((run, trial) for run in resolve(config) for trial in run.trials()):
        if str(found[1]) == key:
            return found
    raise UsageError(f"there is no trial '{key}'; all machines need the same version and data")
