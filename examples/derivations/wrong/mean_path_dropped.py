"""Wrong: of the two terms of dl/dμ, the one that matters is missing.

The remaining path through σ² is identically 0, because Σ (x − μ) = 0.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dmu", "verdict": "wrong", "reason": "the path through x̂ is missing"}


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
def dvar(dxhat: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dσ² = Σ dl/dx̂ · (x − μ) · (−½)(σ² + ε)^(−3/2)"""
    return (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + eps) ** -1.5


@d.line
def dmu(dvar: Array, x: Array, mu: Array) -> Array:
    """dl/dμ = dl/dσ² · 1/N Σ −2(x − μ)"""
    return dvar * (-2 * (x - mu)).mean(axis=0)


@d.line
def dx(dxhat: Array, dvar: Array, dmu: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dx = dl/dx̂ / √(σ² + ε) + dl/dσ² · 2(x − μ)/N + dl/dμ / N"""
    return dxhat / mg.sqrt(var + eps) + dvar * 2 * (x - mu) / len(x) + dmu / len(x)
