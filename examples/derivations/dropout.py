"""Inverted dropout (Srivastava et al. 2014, section 10) in a layer, backwards.

    h = x w      k = h · mask / (1 − p)      out = tanh k

An element that was dropped gets no gradient; for the others, the gradient is multiplied by 1/(1 − p), as the value was.
The mask is an input: a random mask inside the function would make it a different function in every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def dropout(x: Array, w: Array, mask: Array, p: float = 0.3) -> Array:
    """x `(N, I)`, w `(I, D)` and a mask `(N, D)` of zeros and ones -> `(N, D)`."""
    h = mg.name("h", x @ w)
    kept = mg.name("kept", h * mask / (1 - p), label="k")
    return mg.tanh(kept)


def mask(rng: np.random.Generator) -> NDArray[Any]:
    """A mask of 7 × 4 booleans, which has no gradient."""
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
