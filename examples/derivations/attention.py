"""Scaled dot-product attention (Vaswani et al. 2017, equation 1), backwards.

The similarities of T queries and S keys are the weights with which S values are averaged:

    A = q kᵀ / √d      P = softmax(A), row by row      out = P v

The Jacobian of a row of softmax is diag(p) − p pᵀ, so dl/dA = P · (dl/dP − Σ dl/dP · P): the gradient of a weight
minus the mean of these gradients, weighted by the weights themselves.
"""

from __future__ import annotations

import math

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def attention(q: Array, k: Array, v: Array) -> Array:
    """Queries q `(T, d)`, keys k `(S, d)`, values v `(S, E)` -> `(T, E)`."""
    scores = mg.name("scores", q @ k.T / math.sqrt(q.shape[1]), label="A")
    e = mg.exp(scores - scores.max(axis=1, keepdims=True))
    weights = mg.name("weights", e / e.sum(axis=1, keepdims=True), label="P")
    return weights @ v


d = Derivation(attention, q="T d", k="S d", v="S E")


@d.line
def dv(dout: Array, weights: Array) -> Array:
    """dl/dv = Pᵀ dl/dout"""
    return weights.T @ dout


@d.line
def dweights(dout: Array, v: Array) -> Array:
    """dl/dP = dl/dout vᵀ"""
    return dout @ v.T


@d.line
def dscores(dweights: Array, weights: Array) -> Array:
    """dl/dA = P · (dl/dP − Σ dl/dP · P)"""
    return weights * (dweights - (dweights * weights).sum(axis=1, keepdims=True))


@d.line
def dq(dscores: Array, k: Array) -> Array:
    """dl/dq = dl/dA k / √d"""
    return dscores @ k / math.sqrt(k.shape[1])


@d.line
def dk(dscores: Array, q: Array) -> Array:
    """dl/dk = dl/dAᵀ q / √d"""
    return dscores.T @ q / math.sqrt(q.shape[1])
