"""Wrong: γ is forgotten in dl/dx̂.

With γ = 1, its initial value, every check passes, whatever the loss: this mistake has been released more than once. The
check here uses values of γ other than 1.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dxhat", "verdict": "wrong", "reason": "the factor gamma is missing"}


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Each column of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


d = Derivation(batch_norm, x="N D", gamma="D", beta="D")


@d.line
def dxhat(dout: Array) -> Array:
    """dl/dx̂ = dl/dout"""
    return dout


@d.line
def dgamma(dout: Array, xhat: Array) -> Array:
    """dl/dγ = Σ dl/dout · x̂"""
    return (dout * xhat).sum(axis=0)


@d.line
def dbeta(dout: Array) -> Array:
    """dl/dβ = Σ dl/dout"""
    return dout.sum(axis=0)
