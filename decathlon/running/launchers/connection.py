"""The connection to a Ray cluster: made, watched, and ended."""

import io
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from decathlon.common import interrupts, limits
from decathlon.common.errors import DEBUG, TrialError, UsageError
from decathlon.training.device import Compute

ANSWER_SECONDS = 10.0
"""How long a cluster may take to answer."""
GONE_SECONDS = 30.0
"""How long the cluster may be away; after 60 seconds Ray would end this process itself."""
ROOM_SECONDS = 60.0
"""How long trials wait for a machine that has what they need."""


def import_ray() -> Any:
    """Imports Ray.

    Raises:
        UsageError: It is not installed.
    """
    # Ray's future default; without it, Ray warns at every start.
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


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[str]:
    """Connects to a cluster for the length of the block; yields the address of its head.

    Raises:
        UsageError: There is none, or it takes no trials from here.
        TrialError: Ray could not be started on this machine.
    """
    # Ray prints what its processes say, tens of lines at a time, to standard output.
    with nullcontext() if DEBUG else redirect_stdout(io.StringIO()):
        _connect(ray, address)
        interrupts.install()  # Ray has a handler of its own for SIGTERM
        try:
            yield _head(ray, address)
        finally:
            ray.shutdown()  # ends what still runs; its checkpoints stay


def _connect(ray: Any, address: str | None) -> None:
    options = {"logging_level": "ERROR", "log_to_driver": DEBUG}
    if address is not None and (error := _answers(address)) is not None:
        raise UsageError(
            f"--address {address}: no Ray cluster answers there ({error}); start one with"
            " 'ray start --head', or leave --address out"
        )
    try:
        try:
            ray.init(address or "auto", **options)
        except ConnectionError:
            if address is not None:
                raise
            # None is running.
            ray.init(include_dashboard=False, num_cpus=limits.cores(), **options)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise UsageError(
            f"the Ray cluster takes no trials from here ({_first_line(error)}); it has to"
            " be of the same version of Ray, and both have to know the same token: copy"
            " ~/.ray/auth_token and export RAY_AUTH_MODE=token on all machines"
        ) from None
    except Exception as error:
        raise TrialError(
            f"Ray did not start ({type(error).__name__}: {_first_line(error)}); end what is left"
            " of it with 'ray stop', make room in /tmp and /dev/shm, and use the same versions"
            " of Ray and Python on all machines"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def _head(ray: Any, address: str | None) -> str:
    """Returns the address at which the head of the cluster listens."""
    if address is not None and address.rpartition(":")[2].isdecimal():
        return address
    return str(ray.get_runtime_context().gcs_address)


def _answers(address: str) -> OSError | None:
    """Returns why nobody answers at an address, None if somebody does.

    Ray itself would try for minutes, and then end this process.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return None  # "auto" and the like
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        return error
    return None


def resources(ray: Any, compute: Compute, gpus: float | None) -> dict[str, float]:
    """Returns what Ray is to keep free for each trial.

    Raises:
        UsageError: No machine of the cluster has that much.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    there = max((machine.get("GPU", 0.0) for machine in machines), default=0.0)
    if gpus is None:
        gpus = 1.0 if there and compute.device in ("auto", "cuda") else 0.0
    if gpus > 1 and gpus % 1:
        raise UsageError(f"--gpus {gpus:g}: is a fraction of one GPU, or a whole number")
    needs = {"num_cpus": float(compute.threads or 1), "num_gpus": gpus}
    if any(_fits(machine, needs) for machine in machines):
        return needs
    have = "; ".join(f"{m.get('CPU', 0):.0f} cores, {m.get('GPU', 0):.0f} GPUs" for m in machines)
    raise UsageError(
        f"a trial needs {_described(needs)}, and no machine of the"
        f" cluster has them (there are: {have}); lower --threads or --gpus"
    )


def _fits(machine: dict[str, float], needs: dict[str, float]) -> bool:
    cores, gpus = machine.get("CPU", 0.0), machine.get("GPU", 0.0)
    return cores >= needs["num_cpus"] and gpus >= needs["num_gpus"]


def _described(needs: dict[str, float]) -> str:
    return f"{needs['num_cpus']:.0f} cores and {needs['num_gpus']:g} GPUs"


class Health:
    """Whether the cluster is there, and has a machine on which a trial fits."""

    def __init__(self, ray: Any, head: str, needs: dict[str, float]) -> None:
        self.ray, self.head, self.needs = ray, head, needs
        self.node = ray.get_runtime_context().get_node_id()
        self.answered = self.fitted = time.monotonic()

    def check(self) -> str | None:
        """Returns what is missing if no machine has had room for a while.

        Raises:
            TrialError: The cluster, or Ray's part on this machine, is gone.
        """
        now = time.monotonic()
        if _answers(self.head) is None:
            nodes = [node for node in self.ray.nodes() if node["Alive"]]
            if any(node["NodeID"] == self.node for node in nodes):
                self.answered = now
            if any(_fits(node["Resources"], self.needs) for node in nodes):
                self.fitted = now
        if now - self.answered >= GONE_SECONDS:
            raise self.lost()
        if now - self.fitted < ROOM_SECONDS:
            return None
        self.fitted = now
        return f"no machine of the cluster has {_described(self.needs)} any more"

    def lost(self) -> TrialError:
        """Returns the error for a cluster that is gone."""
        return TrialError(
            f"the Ray cluster at {self.head} is gone, or cannot be reached from here; start it"
            " again ('ray start') and run the same command to go on from the last checkpoints"
        )
