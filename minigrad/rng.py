"""The generator that draws when none is given."""

from __future__ import annotations

from functools import cache

import numpy as np

from minigrad.locks import LOCK


@cache
def _global() -> np.random.Generator:
    return np.random.default_rng()  # not before it is used: NumPy imports its random module only then


def manual_seed(seed: int) -> None:
    """Start the global generator anew from a seed. Generators obtained from `generator()` before follow it."""
    bits = generator().bit_generator
    bits.state = type(bits)(seed).state


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """The given generator, one made from a given seed, or the global one."""
    if rng is None:
        with LOCK:  # two threads must not make two
            return _global()
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        return np.random.default_rng(rng)
    raise TypeError(f"rng={rng!r}: must be a numpy.random.Generator, a seed, or None for the global generator")
