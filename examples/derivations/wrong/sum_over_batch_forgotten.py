"""Wrong: the sum over the batch is forgotten.

b was added to all N rows, so it collects a gradient from each of them.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "db", "verdict": "wrong", "reason": "the sum over axis 0 is missing"}


def dense(x: Array, w: Array, b: Array) -> Array:
    """A layer with tanh: x `(N, I)`, w `(I, D)`, b `(D,)` -> `(N, D)`."""
    h = mg.name("h", x @ w + b)
    return mg.tanh(h)


d = Derivation(dense, x="N I", w="I D", b="D")


@d.line
def dh(dout: Array, out: Array) -> Array:
    """dl/dh = dl/dout · (1 − out²)"""
    return dout * (1 - out**2)


@d.line
def dx(dh: Array, w: Array) -> Array:
    """dl/dx = dl/dh wᵀ"""
    return dh @ w.T


@d.line
def dw(dh: Array, x: Array) -> Array:
    """dl/dw = xᵀ dl/dh"""
    return x.T @ dh


@d.line
def db(dh: Array) -> Array:
    """dl/db = dl/dh"""
    return dh
