"""Cores and memory that a process may use, read from made-up control groups."""

import os
from pathlib import Path

import pytest
import torch

from decathlon.common import limits
from decathlon.common.limits import cores, memory
from decathlon.training import device
from decathlon.training.device import Compute

V1 = "30 23 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct"
V2 = "42 32 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that offers sixteen cores."""
    monkeypatch.setattr(limits, "_offered", lambda: 16)


def system(root: Path, groups: str, mounts: str, **files: str) -> Path:
    """Writes what ``/proc/self`` says, and control files by ``folder__name``."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text(f"22 1 0:20 / /proc rw - proc proc rw\n{mounts}\n")
    for place, text in files.items():
        path = root / "sys/fs/cgroup" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 16),
        ("50000 100000", 1),  # half a core: at least one thread
        ("150000 100000", 1),
        ("200000 100000", 2),
        ("390000 100000", 3),
        ("6400000 100000", 16),  # more than there are
        ("", 16),
        ("nonsense 5", 16),
        ("100000 0", 16),
    ],
)
def test_a_quota_is_rounded_down(tmp_path: Path, quota: str, expected: int) -> None:
    root = system(tmp_path, "0::/job\n", V2.format(top="/"), **{"job/cpu.max": quota})
    assert cores(root) == expected


def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {
        "a/b/c/cpu.max": "max 100000",
        "a/b/cpu.max": "300000 100000",
        "a/cpu.max": "800000 100000",
        "a/other/cpu.max": "100000 100000",
    }
    assert cores(system(tmp_path, "0::/a/b/c\n", V2.format(top="/"), **files)) == 3


def test_version_1_has_a_quota_and_a_period(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/cpu.cfs_period_us": "50000",
    }
    groups = "9:memory:/elsewhere\n4:cpu,cpuacct:/job\n0::/\n"
    mounts = f"{V1.format(top='/')}\n{V2.format(top='/').replace('cgroup rw', 'cgroup/unified rw')}"
    assert cores(system(tmp_path, groups, mounts, **files)) == 5


@pytest.mark.parametrize("path", ["/docker/abc", "/docker/abc/", "/", "/../other"])
def test_a_container_sees_its_own_group_at_the_mount(tmp_path: Path, path: str) -> None:
    """The path may be the host's, the container's, or of a group that is not mounted."""
    top = "/" if path in ("/", "/../other") else "/docker/abc"
    root = system(tmp_path, f"0::{path}\n", V2.format(top=top), **{"cpu.max": "200000 100000"})
    assert cores(root) == 2


def test_a_mount_point_may_have_spaces(tmp_path: Path) -> None:
    mount = V2.format(top="/").replace("/sys/fs/cgroup", r"/sys/fs/cgroup/of\040mine")
    root = system(tmp_path, "0::/\n", mount, **{"of mine/cpu.max": "200000 100000"})
    assert cores(root) == 2


def test_without_control_groups_all_cores_are_used(tmp_path: Path) -> None:
    assert cores(tmp_path) == 16


def test_memory_is_the_smallest_limit(tmp_path: Path) -> None:
    machine = memory(tmp_path / "none")
    assert machine == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files = {"job/memory.max": "max", "memory.max": "4096000"}
    assert memory(system(tmp_path, "0::/job\n", V2.format(top="/"), **files)) == 4096000


def test_a_system_that_does_not_know_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sysconf(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert memory(tmp_path) is None


@pytest.mark.parametrize(
    ("threads", "variable", "expected"), [(0, None, 1), (0, "3", 4), (0, "", 1), (3, None, 3)]
)
def test_training_keeps_to_the_quota_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, threads: int, variable: str | None, expected: int
) -> None:
    for name in device.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(device, "cores", lambda: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        compute = Compute("cpu", "32", threads)
        assert compute.numerics(compute.fabric())["threads"] == expected
    finally:
        torch.set_num_threads(before)
