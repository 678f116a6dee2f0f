"""Inverted dropout (Srivastava et al. 2014, section 10) in a layer, backwards.

    h = x w      k = h · mask / (1 − p)      out = tanh k

An element that was dropped gets no gradient; for the others, the gradient is multiplied by 1/(1 − p), as the value was.
The mask is an input: a random mask inside the function would make it a different function in every call.
"""

import minigrad as mg
from minigrad.verify import Derivation


def dropout(x, w, mask, p=0.3):
    """x `(N, I)`, w `(I, D)` and a mask `(N, D)` of zeros and ones -> `(N, D)`."""
    h = mg.name("h", x @ w)
    kept = mg.name("kept", h * mask / (1 - p), label="k")
    return mg.tanh(kept)


def mask(rng):
    """A mask of 7 × 4 booleans, which has no gradient."""
    return rng.random((7, 4)) > 0.3


d = Derivation(dropout, x="N I", w="I 4", mask=mask)


@d.line
def dkept(dout, out):
    """dl/dk = dl/dout · (1 − out²)"""
    return dout * (1 - out**2)


@d.line
def dh(dkept, mask, p):
    """dl/dh = dl/dk · mask / (1 − p)"""
    return dkept * mask / (1 - p)


@d.line
def dx(dh, w):
    """dl/dx = dl/dh wᵀ"""
    return dh @ w.T


@d.line
def dw(dh, x):
    """dl/dw = xᵀ dl/dh"""
    return x.T @ dh
