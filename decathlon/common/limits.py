"""What this process may use of its machine: processor cores and memory.

A container or a batch system limits a process in two ways. An affinity mask names its cores,
and the standard library reads it. A quota of a control group limits processor time or memory,
and neither the standard library nor torch reads it: a process with half a core sees every core
of the machine, and threads that wait for each other burn the quota before any work is done.
Quotas are read from version 1 and version 2 of Linux's control groups. Other systems have none.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/")
_OCTAL = re.compile(r"\\([0-7]{3})")


def cores(root: Path = ROOT) -> int:
    """Number of cores that this process can keep busy, at least 1.

    A quota is rounded down. One thread fewer than the quota allows leaves a part of a core
    idle; one more makes all threads wait until the next period whenever the quota is used up.

    Args:
        root: Where ``proc`` and ``sys`` are found.
    """
    quotas = [quota for folder in _groups(root, "cpu") for quota in _cpu_quotas(folder)]
    return max(1, min([_offered(), *quotas]))


def memory(root: Path = ROOT) -> int | None:
    """Bytes of memory that this process may use, or None if the system does not tell.

    Args:
        root: Where ``proc`` and ``sys`` are found.
    """
    found = []
    with suppress(OSError, ValueError):  # on a system that knows no such name
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found += _numbers(folder / name)[:1]
    return min(found, default=None)


def _offered() -> int:
    """Number of cores that the scheduler offers to this process."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_quotas(folder: Path) -> Iterator[int]:
    """Yields the whole cores that a control group's quota allows, if it has one."""
    for quota in (
        _numbers(folder / "cpu.max"),
        _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us"),
    ):
        if len(quota) == 2 and quota[0] > 0 and quota[1] > 0:
            yield quota[0] // quota[1]


def _numbers(path: Path) -> list[int]:
    """Returns the numbers in a file, none if it is missing or says ``max``."""
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of this process's control groups, from its own up to the mount.

    Each of them may have a quota, and the smallest one counts.
    """
    ours: dict[str, str] = {}  # by controller, "" for version 2
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        ours |= dict.fromkeys(controllers.split(","), path)
    for line in _lines(root / "proc/self/mountinfo"):
        # Fields as in proc_pid_mountinfo(5): ... root, mount point, ... - type, source, options
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        known = "" if kind == "cgroup2" else controller
        if kind not in ("cgroup", "cgroup2") or known not in ours:
            continue
        if kind == "cgroup" and controller not in options.split(","):
            continue
        top, mount = (_OCTAL.sub(_character, field) for field in before.split(" ")[3:5])
        inside = os.path.relpath(ours[known], top)
        # Outside what is mounted here, as in some containers, the mount is all there is to see.
        place = Path() if inside.startswith("..") else Path(inside)
        for part in (place, *place.parents):
            yield root / mount.lstrip("/") / part


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _character(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))
