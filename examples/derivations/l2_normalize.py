"""Division by the Euclidean norm, backwards (Wang et al. 2017, "NormFace").

    r = √Σx²      y = x / r
    dl/dx = (dl/dy − y · Σ dl/dy · y) / r

Σ dl/dy · y is the component of the gradient along y. It is removed, as a vector of length 1 cannot move along itself.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def l2_normalize(x: Array) -> Array:
    """Each row of x divided by its length: `(N, D)` -> `(N, D)`."""
    r = mg.name("r", mg.sqrt((x**2).sum(axis=1, keepdims=True)))
    return x / r


terms = Derivation(l2_normalize, x="N D")


@terms.line
def dr(dout: Array, x: Array, r: Array) -> Array:
    """dl/dr = −Σ dl/dy · x / r²"""
    return -(dout * x).sum(axis=1, keepdims=True) / r**2


@terms.line
def dx(dout: Array, dr: Array, x: Array, r: Array) -> Array:
    """dl/dx = dl/dy / r + dl/dr · x / r"""
    return dout / r + dr * x / r


fused = Derivation(l2_normalize, x="N D")


@fused.line(of="x")
def fused_dx(dout: Array, out: Array, r: Array) -> Array:
    """dl/dx = (dl/dy − y · Σ dl/dy · y) / r"""
    return (dout - out * (dout * out).sum(axis=1, keepdims=True)) / r
