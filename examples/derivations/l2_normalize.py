"""Division by the Euclidean norm, backwards (Wang et al. 2017, "NormFace").

    r = √Σx²      y = x / r
    dl/dx = (dl/dy − y · Σ dl/dy · y) / r

Σ dl/dy · y is the component of the gradient along y. It is removed, as a vector of length 1 cannot move along itself.
"""

import minigrad as mg
from minigrad.verify import Derivation


def l2_normalize(x):
    """Each row of x divided by its length: `(N, D)` -> `(N, D)`."""
    r = mg.name("r", mg.sqrt((x**2).sum(axis=1, keepdims=True)))
    return x / r


terms = Derivation(l2_normalize, x="N D")


@terms.line
def dr(dout, x, r):
    """dl/dr = −Σ dl/dy · x / r²"""
    return -(dout * x).sum(axis=1, keepdims=True) / r**2


@terms.line
def dx(dout, dr, x, r):
    """dl/dx = dl/dy / r + dl/dr · x / r"""
    return dout / r + dr * x / r


fused = Derivation(l2_normalize, x="N D")


@fused.line
def dx(dout, out, r):
    """dl/dx = (dl/dy − y · Σ dl/dy · y) / r"""
    return (dout - out * (dout * out).sum(axis=1, keepdims=True)) / r
