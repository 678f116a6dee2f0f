"""Wrong: the slope of tanh is 1 − tanh², a function of its output; here the input is squared."""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dh", "verdict": "wrong", "repair": "`h` should be `out`"}


def dense(x: Array, w: Array, b: Array) -> Array:
    """A layer with tanh: x `(N, I)`, w `(I, D)`, b `(D,)` -> `(N, D)`."""
    h = mg.name("h", x @ w + b)
    return mg.tanh(h)


d = Derivation(dense, x="N I", w="I D", b="D")


@d.line
def dh(dout: Array, h: Array) -> Array:
    """dl/dh = dl/dout · (1 − h²)"""
    return dout * (1 - h**2)


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
    """dl/db = Σ dl/dh"""
    return dh.sum(axis=0)
