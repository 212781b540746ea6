"""Trials on a Ray cluster: each in a process of its own, wherever there is room.

Ray starts the processes, gives them cores and shares of GPUs, and starts a trial again
whose machine is lost. All machines see the same data and results folders; a trial that is
started again goes on from its last checkpoint there.

What goes to a process and comes back is text: the order as JSON, and events. Ray itself
sends functions as pickles between machines that trust each other.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from decathlon.errors import DEBUG, DecathlonError, UsageError
from decathlon.faults import Failure
from decathlon.plan import Run, Trial, check_agreement
from decathlon.records import RECORD, RunRecord, read_record
from decathlon.request import Order
from decathlon.runs import HeldError, Watch, attempt, begin
from decathlon.survey import Work

RETRIES = 3
"""Times that a trial is started again whose process or machine was lost."""
ANSWER_SECONDS = 10.0
"""How long a cluster may take to answer."""
POLL_SECONDS = 0.5
"""Between two looks at what has happened; ten times that, at what other runs hold."""


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


def execute_on(cluster: Cluster, order: Order, work: Sequence[Work], watch: Watch) -> list[Failure]:
    """Runs all trials that are not done, at the same time as far as there is room.

    Args:
        cluster: Where.
        order: What :attr:`work` was made from.
        work: What :func:`decathlon.survey.survey` found.
        watch: Is told of everything.

    Returns:
        The trials that failed, and why.

    Raises:
        UsageError: Ray is not installed, there is no cluster at the address, or no machine
            of it has what a trial needs; a finished record belongs to another run.
    """
    ray = _import_ray()
    failures = begin(work, watch)
    todo = [item for item in work if item.state not in ("done", "refused")]
    if not todo:
        return failures
    _connect(ray, cluster.address)
    try:
        fleet = _Fleet(ray, order, watch, _resources(ray, order, cluster.gpus))
        return failures + fleet.run(todo)
    finally:
        ray.shutdown()  # ends what still runs; its checkpoints stay


class _Fleet:
    """The trials that the cluster has been given."""

    def __init__(self, ray: Any, order: Order, watch: Watch, needs: dict[str, float]) -> None:
        self.ray, self.watch = ray, watch
        self.order, self.since = json.dumps(order.as_json()), time.time()
        self.task = ray.remote(max_retries=RETRIES, **needs)(_work)
        # On this machine, as it is asked in the rhythm of a screen and must outlive others.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.post = ray.remote(_Post).options(num_cpus=0, scheduling_strategy=here).remote()
        self.given: dict[Any, Work] = {}
        self.trials: dict[str, Trial] = {}

    def run(self, todo: Sequence[Work]) -> list[Failure]:
        """Gives all trials away and waits for them."""
        failures: list[Failure] = []
        held: list[Work] = []
        for item in todo:
            self._give(item)
        looked = time.monotonic()
        while self.given or held:
            # A look at post that has not come would find an empty box: all has been told
            # before a trial ends.
            done, _ = self.ray.wait(
                list(self.given), num_returns=len(self.given), timeout=POLL_SECONDS
            )
            self._tell()
            for ref in done:
                item = self.given.pop(ref)
                answer = self._answer(ref, item)
                if answer == "held":
                    held.append(item)
                elif isinstance(answer, Failure):
                    failures.append(answer)
                    self.watch.failed(answer)
            if held and time.monotonic() - looked >= 10 * POLL_SECONDS:
                self.watch.waiting([item.trial for item in held])
                looked = time.monotonic()
                while held:
                    self._give(held.pop())
            elif not self.given:
                time.sleep(POLL_SECONDS)
        return failures

    def _give(self, item: Work) -> None:
        key = str(item.trial)
        self.trials[key] = item.trial
        asked = json.dumps(item.run.identity(item.trial))
        ref = self.task.options(name=key).remote(self.order, key, asked, self.since, self.post)
        self.given[ref] = item

    def _tell(self) -> None:
        for text in self.ray.get(self.post.take.remote()):
            event = json.loads(text)
            trial = self.trials[event["trial"]]
            if event["event"] == "started":
                self.watch.started(trial)
            else:
                self.watch.epoch(trial, event["facts"])

    def _answer(self, ref: Any, item: Work) -> Failure | str | None:
        """Returns why a trial failed, ``held`` where another run is at work on it, or None."""
        try:
            answer = json.loads(self.ray.get(ref))
        except self.ray.exceptions.RayError as error:
            text = str(error).strip().splitlines()[0]
            reason = (
                f"its process was lost {RETRIES + 1} times ({text});"
                " run the same command to go on from its last checkpoint"
            )
            return Failure(item.trial, 1, reason)
        if answer["state"] == "failed":
            return Failure(item.trial, answer["code"], answer["reason"])
        if answer["state"] == "done":
            return self._finished(item, answer["machine"])
        return "held"

    def _finished(self, item: Work, machine: str) -> Failure | None:
        records = []
        for domain in item.trial.domains:
            path = item.trial.folder(item.run.results, domain) / RECORD
            if not path.is_file():
                reason = (
                    f"{path}: was written on {machine} and is not seen here; name a --results"
                    " folder that all machines share"
                )
                return Failure(item.trial, 2, reason)
            records.append(read_record(path))
        self.watch.finished(item.trial, records)
        return None


class _Post:
    """A box for the events of trials; one process of the cluster keeps it."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def put(self, text: str) -> None:
        """Adds an event."""
        self._texts.append(text)

    def take(self) -> list[str]:
        """Empties the box."""
        texts, self._texts = self._texts, []
        return texts


class _Messenger:
    """Tells the driver of a trial; see :class:`decathlon.runs.Watch`."""

    def __init__(self, put: Callable[[str], object]) -> None:
        self._put = put

    def _send(self, event: str, trial: Trial, facts: dict[str, Any] | None = None) -> None:
        self._put(json.dumps({"event": event, "trial": str(trial), "facts": facts}))

    def planned(self, work: Sequence[Work]) -> None:
        """The driver knows."""

    def started(self, trial: Trial) -> None:
        """Sends that a trial begins."""
        self._send("started", trial)

    def epoch(self, trial: Trial, facts: dict[str, Any]) -> None:
        """Sends how an epoch went."""
        self._send("epoch", trial, facts)

    def finished(self, trial: Trial, records: Sequence[RunRecord]) -> None:
        """The driver reads the records."""

    def failed(self, failure: Failure) -> None:
        """The answer says it."""

    def waiting(self, trials: Sequence[Trial]) -> None:
        """The answer says it."""


def _work(order: str, key: str, asked: str, since: float, post: Any) -> str:
    """Does one trial, in a process of the cluster.

    Args:
        order: JSON of the order.
        key: The trial, as text.
        asked: JSON of the trial's identity where the command was given.
        since: When the command began, in seconds since 1970.
        post: Where events go.

    Returns:
        JSON: ``state`` is ``done`` (with ``machine``), ``held`` or ``failed`` (with ``code``
        and ``reason``).
    """
    import ray

    machine = os.uname().nodename
    messenger = _Messenger(lambda text: ray.get(post.put.remote(text)))
    try:
        run, trial = _find(Order.from_json(json.loads(order)), key)
        check_agreement(key, run.identity(trial), json.loads(asked))
        failed = attempt(run, trial, messenger, since)
    except HeldError:
        return json.dumps({"state": "held"})
    except DecathlonError as error:
        reason = f"on {machine}: {error}"
        return json.dumps({"state": "failed", "code": error.exit_code, "reason": reason})
    if failed is not None:
        return json.dumps({"state": "failed", "code": failed.code, "reason": failed.reason})
    return json.dumps({"state": "done", "machine": machine})


def _find(order: Order, key: str) -> tuple[Run, Trial]:
    for run in order.runs():
        for trial in run.trials():
            if str(trial) == key:
                return run, trial
    raise UsageError(f"there is no trial '{key}'; all machines need the same version and data")


def _import_ray() -> Any:
    # What is coming to be Ray's default, of which it would warn at every start.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise UsageError(
            f"--launcher ray needs the package ray ({error}): pip install 'decathlon[cluster]',"
            " or use --launcher local"
        ) from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    options = {"logging_level": "ERROR", "log_to_driver": DEBUG}
    if address is not None:
        _check_answers(address)
    try:
        ray.init(address or "auto", **options)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        if address is None and isinstance(error, ConnectionError):  # none is running
            ray.init(include_dashboard=False, **options)
            return
        raise UsageError(
            f"the Ray cluster takes no trials from here ({str(error).splitlines()[0]}); it has to"
            " be of the same version of Ray, and both have to know the same token: copy"
            " ~/.ray/auth_token and export RAY_AUTH_MODE=token on all machines"
        ) from None


def _check_answers(address: str) -> None:
    """Checks that somebody listens at an address; Ray itself would try for minutes.

    Raises:
        UsageError: Nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # "auto" and the like
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"--address {address}: no Ray cluster answers there ({error}); start one with"
            " 'ray start --head', or leave --address out"
        ) from None


def _resources(ray: Any, order: Order, gpus: float | None) -> dict[str, float]:
    """Returns what Ray is to keep free for each trial.

    Raises:
        UsageError: No machine of the cluster has that much.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    there = max(machine.get("GPU", 0.0) for machine in machines)
    if gpus is None:
        gpus = 1.0 if there and order.compute.device in ("auto", "cuda") else 0.0
    needs = {"num_cpus": float(order.compute.threads or 1), "num_gpus": gpus}
    for machine in machines:
        if machine.get("CPU", 0) >= needs["num_cpus"] and machine.get("GPU", 0) >= gpus:
            return needs
    have = "; ".join(f"{m.get('CPU', 0):.0f} cores, {m.get('GPU', 0):.0f} GPUs" for m in machines)
    raise UsageError(
        f"a trial needs {needs['num_cpus']:.0f} cores and {gpus:g} GPUs, and no machine of the"
        f" cluster has them (there are: {have}); lower --threads or --gpus"
    )
