"""Wrong: the mean over the batch where γ needs the sum. If the loss is a mean, 1/N is in dl/dout already."""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dgamma", "verdict": "wrong", "reason": "1/N times the right value"}


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Each column of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


d = Derivation(batch_norm, x="N D", gamma="D", beta="D")


@d.line
def dxhat(dout: Array, gamma: Array) -> Array:
    """dl/dx̂ = dl/dout · γ"""
    return dout * gamma


@d.line
def dgamma(dout: Array, xhat: Array) -> Array:
    """dl/dγ = 1/N Σ dl/dout · x̂"""
    return (dout * xhat).mean(axis=0)


@d.line
def dbeta(dout: Array) -> Array:
    """dl/dβ = Σ dl/dout"""
    return dout.sum(axis=0)
