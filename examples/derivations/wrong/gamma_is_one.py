"""Wrong, and right only by chance: γ is forgotten, and the check is called with γ = 1.

The check uses the values that are passed first, and then others, as a line may hold for the passed ones alone.
"""

import numpy as np

import minigrad as mg
from minigrad.verify import Derivation

EXPECTED = {"line": "dxhat", "verdict": "only here", "reason": "right only because gamma = 1"}


def batch_norm(x, gamma, beta, eps=1e-5):
    """Each column of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


d = Derivation(batch_norm, x="N D", gamma=np.ones(5), beta="D")


@d.line
def dxhat(dout):
    """dl/dx̂ = dl/dout"""
    return dout


@d.line
def dgamma(dout, xhat):
    """dl/dγ = Σ dl/dout · x̂"""
    return (dout * xhat).sum(axis=0)


@d.line
def dbeta(dout):
    """dl/dβ = Σ dl/dout"""
    return dout.sum(axis=0)
