"""Root mean square normalization (Zhang & Sennrich 2019, equation 4), backwards.

Layer norm without the mean: a row is divided by its root mean square r.

    r = √(1/D Σ x² + ε)      x̂ = x / r      out = γ x̂
    dr/dx = x / (D r)        so the path through r gives  dl/dr · x/(D r) = dl/dr · x̂/D
"""

import minigrad as mg
from minigrad.verify import Derivation


def rms_norm(x, gamma, eps=1e-5):
    """Each row of x divided by its root mean square, then scaled: `(N, D)` -> `(N, D)`."""
    r = mg.name("r", mg.sqrt((x**2).mean(axis=1, keepdims=True) + eps))
    xhat = mg.name("xhat", x / r, label="x̂")
    return gamma * xhat


terms = Derivation(rms_norm, x="N D", gamma="D")


@terms.line
def dxhat(dout, gamma):
    """dl/dx̂ = dl/dout · γ"""
    return dout * gamma


@terms.line
def dr(dxhat, x, r):
    """dl/dr = −Σ dl/dx̂ · x / r²"""
    return -(dxhat * x).sum(axis=1, keepdims=True) / r**2


@terms.line
def dx(dxhat, dr, x, r):
    """dl/dx = dl/dx̂ / r + dl/dr · x/(D r)"""
    return dxhat / r + dr * x / (x.shape[1] * r)


@terms.line
def dgamma(dout, xhat):
    """dl/dγ = Σ dl/dout · x̂"""
    return (dout * xhat).sum(axis=0)


fused = Derivation(rms_norm, x="N D", gamma="D")
fused.line(dxhat)
fused.line(dgamma)


@fused.line
def dx(dxhat, xhat, r):
    """dl/dx = (dl/dx̂ − x̂ · mean(dl/dx̂ · x̂)) / r"""
    return (dxhat - xhat * (dxhat * xhat).mean(axis=1, keepdims=True)) / r
