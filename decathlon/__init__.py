"""The Visual Decathlon benchmark suite and its leaderboard scorer.

The public names below are imported when they are first used, so that commands
which need no torch start without it.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

WINDOWS = (
    "decathlon runs on Linux and macOS, not on Windows; install it in WSL"
    " (https://learn.microsoft.com/windows/wsl) and run it there"
)

_PUBLIC = {
    "load": "decathlon.data.reading.dataset",
    "load_model": "decathlon.method.stored",
    "decathlon_score": "decathlon.suites.visual_decathlon",
}
__all__ = ["__version__", "decathlon_score", "load", "load_model"]

if TYPE_CHECKING:
    from decathlon.data.reading.dataset import load as load
    from decathlon.method.stored import load_model as load_model
    from decathlon.suites.visual_decathlon import decathlon_score as decathlon_score


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        if sys.platform == "win32":
            raise ImportError(WINDOWS)
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'decathlon' has no attribute '{name}'")
