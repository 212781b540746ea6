"""Keeps memory that a training step frees for the next step.

glibc returns large freed blocks to the system, and a training step frees all its activations:
the system then clears every page again for the next step, tens of thousands of pages. If the
process keeps them, a step on two cores takes 5 % less time, and the process holds the memory of
its largest step.
"""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), both in bytes: free memory above which some is returned, and block
size above which a block is mapped on its own."""
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Makes the C library of this process keep what it frees; works with glibc only."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    mallopt(M_TRIM_THRESHOLD, NEVER)
    mallopt(M_MMAP_THRESHOLD, NEVER)


def return_freed_memory() -> None:
    """Returns to the system, once, what the C library has kept; works with glibc only."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
