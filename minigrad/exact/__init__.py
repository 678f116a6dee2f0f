"""Exact arithmetic for NumPy code: to prove that two computations are the same function, without a tolerance.

An `Exact` array carries for each element a residue modulo a large prime, which decides equality, and a float, which
decides comparisons and so the region in which a proof holds. Derivative rules, the tape, hand-written gradients and
compiled programs all run on it unchanged.

- field: residues modulo a prime; numbers: which number a float stands for
- array: the array and NumPy's protocols; ufuncs, powers, reductions, functions, ordering: what they compute
- draws: random inputs

Example:
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, y = draw(rng, (3, 4)), draw(rng, (4,))
    >>> same(np.exp(x + y), np.exp(x) * np.exp(y))
    True
    >>> same(np.exp(x + y), np.exp(x) * np.exp(y) + 1e-15)
    False
"""

from minigrad.exact import functions, ordering, powers  # noqa: F401  (fills the tables)
from minigrad.exact.array import Exact, Inexact, NotASquare, Redraw, Tie, opaque_roots, same
from minigrad.exact.draws import draw, rational
from minigrad.exact.numbers import Constants, constants

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
