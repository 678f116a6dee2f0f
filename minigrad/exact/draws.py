"""Random exact inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.exact.array import Exact
from minigrad.exact.field import P, Q

RANGE = 1 << 29
SCALE = 268435399  # a prime just below 2^28: what is drawn lies between -2 and 2


def draw(
    rng: np.random.Generator, shape: Any = (), *, positive: bool = False, exponents: bool = True, scale: int = 1
) -> Exact:
    """Random rationals n/d with one denominator, of 2^30 possible values (2^29 if positive), which are not near 0.

    Args:
        rng: where to draw from.
        shape: of the array.
        positive: numbers between 0 and 2, instead of -2 and 2.
        exponents: with residues modulo Q, which `exp` needs to be a homomorphism.
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
    """n / d for integers n and one denominator."""
    n = np.asarray(n, np.int64)
    p, q = (n % m * pow(d % m, -1, m) % m for m in (P, Q))
    return Exact(n / d, p, q if exponents else None)
