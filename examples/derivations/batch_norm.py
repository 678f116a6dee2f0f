"""Batch normalization (Ioffe & Szegedy 2015, algorithm 1), backwards, term by term and in one line.

Forward, over a batch of N rows, for each of D columns:

    μ  = 1/N Σ x             σ² = 1/N Σ (x − μ)²
    x̂  = (x − μ) / √(σ² + ε)     out = γ x̂ + β

x reaches the loss along three paths: directly in x̂, through μ, and through σ². The chain rule adds them up (the six
equations of section 3 of the paper). Two sums are 0 by construction, Σ (x − μ) = 0 and Σ x̂ = 0, so the three paths
combine into one line:

    dl/dx = γ/√(σ² + ε) · (dl/dout − mean(dl/dout) − x̂ · mean(dl/dout · x̂))
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Each column of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


terms = Derivation(batch_norm, x="N D", gamma="D", beta="D")


@terms.line
def dxhat(dout: Array, gamma: Array) -> Array:
    """dl/dx̂ = dl/dout · γ"""
    return dout * gamma


@terms.line
def dvar(dxhat: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dσ² = Σ dl/dx̂ · (x − μ) · (−½)(σ² + ε)^(−3/2)"""
    return (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + eps) ** -1.5


@terms.line
def dmu(dxhat: Array, dvar: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dμ = Σ dl/dx̂ · (−1/√(σ² + ε)) + dl/dσ² · 1/N Σ −2(x − μ)"""
    return -(dxhat / mg.sqrt(var + eps)).sum(axis=0) + dvar * (-2 * (x - mu)).mean(axis=0)


@terms.line
def dx(dxhat: Array, dvar: Array, dmu: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dx = dl/dx̂ / √(σ² + ε) + dl/dσ² · 2(x − μ)/N + dl/dμ / N"""
    n = len(x)
    return dxhat / mg.sqrt(var + eps) + dvar * 2 * (x - mu) / n + dmu / n


@terms.line
def dgamma(dout: Array, xhat: Array) -> Array:
    """dl/dγ = Σ dl/dout · x̂"""
    return (dout * xhat).sum(axis=0)


@terms.line
def dbeta(dout: Array) -> Array:
    """dl/dβ = Σ dl/dout"""
    return dout.sum(axis=0)


fused = Derivation(batch_norm, x="N D", gamma="D", beta="D")
fused.line(dgamma)
fused.line(dbeta)


@fused.line(of="x")
def fused_dx(dout: Array, gamma: Array, xhat: Array, var: Array, eps: float) -> Array:
    """dl/dx = γ/√(σ² + ε) · (dl/dout − mean(dl/dout) − x̂ · mean(dl/dout · x̂))"""
    return gamma / mg.sqrt(var + eps) * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0))
