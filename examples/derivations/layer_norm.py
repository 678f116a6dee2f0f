"""Layer normalization (Ba, Kiros & Hinton 2016, equations 3 and 4), backwards.

Like batch norm with the axes exchanged: every row has its own mean and variance over its D elements, so μ and
σ² are columns `(N, 1)`, while γ and β still belong to the D columns and are summed over the rows.

    μ  = 1/D Σ x             σ² = 1/D Σ (x − μ)²            (sums over the last axis)
    x̂  = (x − μ) / √(σ² + ε)     out = γ x̂ + β
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    """Each row of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=1, keepdims=True), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=1, keepdims=True), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


terms = Derivation(layer_norm, x="N D", gamma="D", beta="D")


@terms.line
def dxhat(dout: Array, gamma: Array) -> Array:
    """dl/dx̂ = dl/dout · γ"""
    return dout * gamma


@terms.line
def dvar(dxhat: Array, xhat: Array, var: Array, eps: float) -> Array:
    """dl/dσ² = Σ dl/dx̂ · x̂ · (−½)/(σ² + ε), for x̂ = (x − μ)(σ² + ε)^(−½)"""
    return (dxhat * xhat).sum(axis=1, keepdims=True) * -0.5 / (var + eps)


@terms.line
def dmu(dxhat: Array, var: Array, eps: float) -> Array:
    """dl/dμ = Σ −dl/dx̂ / √(σ² + ε); the path through σ² is 0, for Σ (x − μ) = 0"""
    return -(dxhat / mg.sqrt(var + eps)).sum(axis=1, keepdims=True)


@terms.line
def dx(dxhat: Array, dvar: Array, dmu: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dx = dl/dx̂ / √(σ² + ε) + dl/dσ² · 2(x − μ)/D + dl/dμ / D"""
    d = x.shape[1]
    return dxhat / mg.sqrt(var + eps) + dvar * 2 * (x - mu) / d + dmu / d


@terms.line
def dgamma(dout: Array, xhat: Array) -> Array:
    """dl/dγ = Σ dl/dout · x̂, over the rows"""
    return (dout * xhat).sum(axis=0)


@terms.line
def dbeta(dout: Array) -> Array:
    """dl/dβ = Σ dl/dout, over the rows"""
    return dout.sum(axis=0)


fused = Derivation(layer_norm, x="N D", gamma="D", beta="D")
fused.line(dxhat)
fused.line(dgamma)
fused.line(dbeta)


@fused.line(of="x")
def fused_dx(dxhat: Array, xhat: Array, var: Array, eps: float) -> Array:
    """dl/dx = (dl/dx̂ − mean(dl/dx̂) − x̂ · mean(dl/dx̂ · x̂)) / √(σ² + ε); γ stays inside the means"""
    centered = dxhat - dxhat.mean(axis=1, keepdims=True)
    return (centered - xhat * (dxhat * xhat).mean(axis=1, keepdims=True)) / mg.sqrt(var + eps)
