"""Exact arithmetic for NumPy code: proofs that two computations are the same function, without a tolerance.

An element of an `Exact` array is a residue modulo a large prime, which decides equality, and a float, which decides
comparisons and thereby the region in which a proof holds. Derivative rules, the tape, hand-written gradients and
compiled programs all run on it unchanged.

- field: residues modulo a prime; float_values: the number that a float stands for
- exact_array: the array; tables: what NumPy's functions compute on it
- exact_ufuncs, powers, reductions, products, linear_systems, rearranging: these functions
- unknowns: what it knows nothing about, such as log: opaque functions
- random_rationals: random inputs

Example:
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, y = draw(rng, (3, 4)), draw(rng, (4,))
    >>> same(np.exp(x + y), np.exp(x) * np.exp(y))
    True
    >>> same(np.exp(x + y), np.exp(x) * np.exp(y) + 1e-15)
    False
"""

from minigrad.exact import linear_systems, powers, products, rearranging, reductions  # noqa: F401  (fills the tables)
from minigrad.exact.exact_array import Exact, Inexact, NotASquare, Redraw, Tie, opaque_roots, same
from minigrad.exact.float_values import Constants, constants
from minigrad.exact.random_rationals import draw, rational

__all__ = [
    "Constants",
    "Exact",
    "Inexact",
    "NotASquare",
    "Redraw",
    "Tie",
    "constants",
    "draw",
    "opaque_roots",
    "rational",
    "same",
]
