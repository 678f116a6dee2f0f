"""Group normalization (Wu & He 2018, equations 1, 2 and 7), backwards.

The C channels of a sample form G groups; mean and variance are taken over all S positions and the C/G channels of a
group, m = S · C/G numbers. On the grouped array `(N, S, G, C/G)` it is layer norm over the axes 1 and 3.

    μ  = 1/m Σ g             σ² = 1/m Σ (g − μ)²            (g: x, grouped)
    x̂  = (g − μ) / √(σ² + ε)     out = γ x̂ + β               (x̂ ungrouped again)
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def group_norm(x: Array, gamma: Array, beta: Array, groups: int = 2, eps: float = 1e-5) -> Array:
    """Each group of channels of each sample with mean 0 and variance 1: `(N, S, C)` -> `(N, S, C)`."""
    n, s, c = x.shape
    g = mg.name("g", x.reshape(n, s, groups, c // groups))
    mu = mg.name("mu", g.mean(axis=(1, 3), keepdims=True), label="μ")
    var = mg.name("var", ((g - mu) ** 2).mean(axis=(1, 3), keepdims=True), label="σ²")
    xhat = mg.name("xhat", (g - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat.reshape(n, s, c) + beta


terms = Derivation(group_norm, x="N S 6", gamma="6", beta="6")


@terms.line
def dxhat(dout: Array, gamma: Array, xhat: Array) -> Array:
    """dl/dx̂ = dl/dout · γ, grouped"""
    return (dout * gamma).reshape(xhat.shape)


@terms.line
def dvar(dxhat: Array, g: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dσ² = Σ dl/dx̂ · (g − μ) · (−½)(σ² + ε)^(−3/2)"""
    return (dxhat * (g - mu) * -0.5 * (var + eps) ** -1.5).sum(axis=(1, 3), keepdims=True)


@terms.line
def dmu(dxhat: Array, var: Array, eps: float) -> Array:
    """dl/dμ = −Σ dl/dx̂ / √(σ² + ε)"""
    return -dxhat.sum(axis=(1, 3), keepdims=True) / mg.sqrt(var + eps)


@terms.line
def dg(dxhat: Array, dvar: Array, dmu: Array, g: Array, mu: Array, var: Array, eps: float) -> Array:
    """dl/dg = dl/dx̂ / √(σ² + ε) + (dl/dσ² · 2(g − μ) + dl/dμ) / m"""
    m = g.shape[1] * g.shape[3]
    return dxhat / mg.sqrt(var + eps) + (dvar * 2 * (g - mu) + dmu) / m


@terms.line
def dx(dg: Array, x: Array) -> Array:
    """dl/dx = dl/dg, ungrouped"""
    return dg.reshape(x.shape)


@terms.line
def dgamma(dout: Array, xhat: Array) -> Array:
    """dl/dγ = Σ dl/dout · x̂, over samples and positions"""
    return (dout * xhat.reshape(dout.shape)).sum(axis=(0, 1))


@terms.line
def dbeta(dout: Array) -> Array:
    """dl/dβ = Σ dl/dout, over samples and positions"""
    return dout.sum(axis=(0, 1))
