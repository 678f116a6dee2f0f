"""The generator that draws when none is given."""

from __future__ import annotations

from typing import Any

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the global generator anew from a seed. Generators obtained from `generator()` before follow it."""
    _generator.bit_generator.state = type(_generator.bit_generator)(seed).state


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """The given generator, one made from a given seed, or the global one."""
    if rng is None:
        return _generator
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        return np.random.default_rng(rng)
    raise TypeError(f"rng={rng!r}: must be a numpy.random.Generator, a seed, or None for the global generator")


class repeated_draws:
    """Entered for the first time, it remembers where the global generator stands; later, it draws from there again."""

    def __init__(self) -> None:
        self._first: Any = None
        self._now: Any = None

    def __enter__(self) -> None:
        self._now = _generator.bit_generator.state
        if self._first is None:
            self._first = self._now
            self._now = None
        else:
            _generator.bit_generator.state = self._first

    def __exit__(self, *exception: Any) -> None:
        if self._now is not None:
            _generator.bit_generator.state = self._now
