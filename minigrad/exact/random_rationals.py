"""Random exact inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.exact.exact_array import Exact
from minigrad.exact.field import P, Q

RANGE = 1 << 29
SCALE = 268435399  # a prime just below 2^28, so that the numbers lie between -2 and 2


def draw(
    rng: np.random.Generator, shape: Any = (), *, positive: bool = False, exponents: bool = True, scale: int = 1
) -> Exact:
    """Random rationals n/d with the same denominator, not near 0: one of 2^30 values each (2^29 if positive).

    Args:
        rng: the generator.
        shape: of the array.
        positive: numbers between 0 and 2, instead of -2 and 2.
        exponents: whether they have residues modulo Q, for which exp(x + y) is exp(x) exp(y).
        scale: a number by which to divide them.

    Example:
        >>> x = draw(np.random.default_rng(0), (3,), positive=True)
        >>> bool((x.real > 0).all()), x.shape
        (True, (3,))
    """
    n = rng.integers(1 << 12, RANGE, shape)
    if not positive:
        n = n * rng.choice([-1, 1], shape)
    return rational(n, SCALE * scale, exponents)


def rational(n: Any, d: int, exponents: bool = True) -> Exact:
    """n / d for an array of integers n and a denominator d."""
    n = np.asarray(n, np.int64)
    p, q = (n % m * pow(d % m, -1, m) % m for m in (P, Q))
    return Exact(n / d, p, q if exponents else None)
