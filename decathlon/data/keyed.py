"""Randomness as a function of what it is for, instead of a state that moves on.

A generator is keyed by the seed and words such as a domain and an epoch. It gives the
same numbers on every machine and after every interruption, with nothing to save.
"""

import hashlib
import json

import numpy as np


def key_of(seed: int, *words: str | int) -> int:
    """Returns 128 bits that depend on the seed and the words, their order and types.

    Args:
        seed: Seed of the trial.
        words: What the numbers are for.
    """
    text = json.dumps([int(seed), *words], separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """Returns a generator of its own for (seed, words): Philox keyed by their hash."""
    return np.random.Generator(np.random.Philox(key=key_of(seed, *words)))
