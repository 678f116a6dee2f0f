"""Wrong: softmax treated as an elementwise function, with the slope P(1 − P) of a sigmoid.

That is the diagonal of its Jacobian diag(p) − p pᵀ. The rest is missing: a score lowers all other weights of its row.
"""

from __future__ import annotations

import math

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dscores", "verdict": "wrong", "reason": "only the diagonal"}


def attention(q: Array, k: Array, v: Array) -> Array:
    """Queries q `(T, d)`, keys k `(S, d)`, values v `(S, E)` -> `(T, E)`."""
    scores = mg.name("scores", q @ k.T / math.sqrt(q.shape[1]), label="A")
    e = mg.exp(scores - scores.max(axis=1, keepdims=True))
    weights = mg.name("weights", e / e.sum(axis=1, keepdims=True), label="P")
    return weights @ v


d = Derivation(attention, q="T d", k="S d", v="S E")


@d.line
def dweights(dout: Array, v: Array) -> Array:
    """dl/dP = dl/dout vᵀ"""
    return dout @ v.T


@d.line
def dscores(dweights: Array, weights: Array) -> Array:
    """dl/dA = dl/dP · P(1 − P)"""
    return dweights * weights * (1 - weights)


@d.line
def dq(dscores: Array, k: Array) -> Array:
    """dl/dq = dl/dA k / √d"""
    return dscores @ k / math.sqrt(k.shape[1])


@d.line
def dk(dscores: Array, q: Array) -> Array:
    """dl/dk = dl/dAᵀ q / √d"""
    return dscores.T @ q / math.sqrt(q.shape[1])
