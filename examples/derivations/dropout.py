"""Inverted dropout (Srivastava et al. 2014, section 10) in a layer, backwards.

    h = x w      k = h · mask / (1 − p)      out = tanh k

An element that was dropped gets no gradient; one that was kept, the gradient times the same 1/(1 − p) as its value. The
mask is an input: a derivation is about a function, and drawing the mask inside would make it another one in every call.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def dropout(x: Array, w: Array, mask: Array, p: float = 0.3) -> Array:
    """x `(N, I)`, w `(I, D)` and a mask `(N, D)` of zeros and ones -> `(N, D)`."""
    h = mg.name("h", x @ w)
    kept = mg.name("kept", h * mask / (1 - p), label="k")
    return mg.tanh(kept)


def mask(rng: Array) -> Array:
    """Which of 7 × 4 elements are kept; True and False, so there is no gradient of it."""
    return rng.random((7, 4)) > 0.3


d = Derivation(dropout, x="N I", w="I 4", mask=mask)


@d.line
def dkept(dout: Array, out: Array) -> Array:
    """dl/dk = dl/dout · (1 − out²)"""
    return dout * (1 - out**2)


@d.line
def dh(dkept: Array, mask: Array, p: float) -> Array:
    """dl/dh = dl/dk · mask / (1 − p)"""
    return dkept * mask / (1 - p)


@d.line
def dx(dh: Array, w: Array) -> Array:
    """dl/dx = dl/dh wᵀ"""
    return dh @ w.T


@d.line
def dw(dh: Array, x: Array) -> Array:
    """dl/dw = xᵀ dl/dh"""
    return x.T @ dh
