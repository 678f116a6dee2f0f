"""Wrong: a matrix product in the wrong order, which gives the transposed gradient.

With a square w, the shapes would be right.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dw", "verdict": "wrong", "reason": "it is transposed"}


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
    """dl/dw = (dl/dh)ᵀ x"""
    return dh.T @ x


@d.line
def db(dh: Array) -> Array:
    """dl/db = Σ dl/dh"""
    return dh.sum(axis=0)
