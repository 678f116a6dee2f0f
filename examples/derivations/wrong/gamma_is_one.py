"""Wrong, and right only by chance: γ is forgotten, and the check is called with γ = 1.

The check uses the values that are passed first, and then others, as a line may hold for the passed ones alone.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dxhat", "verdict": "only here", "reason": "right only because gamma = 1"}


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Each column of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


d = Derivation(batch_norm, x="N D", gamma=np.ones(5), beta="D")


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
