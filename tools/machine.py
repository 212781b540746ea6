"""What machine a measurement was made on."""

import platform
from pathlib import Path

from decathlon.common.limits import cores, memory


def machine() -> dict[str, str | int]:
    """Returns processor, cores that this process may use, memory in bytes, and system."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory": memory() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def told(found: dict[str, str | int]) -> str:
    """Returns a machine in one line."""
    memory = int(found["memory"]) / 1e9
    return f"{found['processor']}, {found['cores']} cores, {memory:.0f} GB, {found['system']}"


def _processor() -> str:
    """Returns the processor's name; the platform module knows only its kind on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
