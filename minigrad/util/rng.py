"""The global random generator, which is used where no other is given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from minigrad.util.locks import LOCK


@cache
def _global() -> np.random.Generator:
    return np.random.default_rng()  # when it is first used: NumPy imports numpy.random only then


def manual_seed(seed: int) -> None:
    """Seed the global generator, also where a reference to it is held already."""
    bits = generator().bit_generator
    bits.state = type(bits)(seed).state


def get_rng_state() -> dict[str, Any]:
    """The state of the global generator, as plain numbers, to be saved with a model. `set_rng_state` restores it.

    Example:
        >>> import minigrad as mg
        >>> state = mg.get_rng_state()
        >>> first = mg.functional.dropout(mg.ones(3), p=0.5)
        >>> mg.set_rng_state(state)
        >>> bool((mg.functional.dropout(mg.ones(3), p=0.5) == first).all())
        True
    """
    return dict(generator().bit_generator.state)


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore a state of the global generator that `get_rng_state` returned.

    Raises:
        ValueError: this is not a state of such a generator.
    """
    bits = generator().bit_generator
    try:
        bits.state = dict(state)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"set_rng_state: this is not a state of a {type(bits).__name__}: {error}") from None


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """The given generator, a new one from a given seed, or the global one."""
    if rng is None:
        with LOCK:  # two threads must not make two
            return _global()
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        return np.random.default_rng(rng)
    raise TypeError(f"rng={rng!r}: must be a numpy.random.Generator, a seed, or None for the global generator")
