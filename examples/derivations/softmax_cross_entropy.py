"""Softmax and cross-entropy, backwards (Bishop 2006, equations 4.104 to 4.109).

For a row of logits z with the class t, and m = max z, which is subtracted so that no exponential overflows:

    e = exp(z − m)     s = Σ e     p = e / s     l = −mean log p_t

The result is the same for any m, so dl/dm is identically 0: the two ways in which m enters cancel. All lines combine
into the formula that is used in practice, dl/dz = (p − onehot(t)) / N.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def softmax_cross_entropy(z: Array, t: Array) -> Array:
    """The mean cross-entropy of logits z `(N, C)` and class ids t `(N,)`."""
    m = mg.name("m", z.max(axis=1, keepdims=True))
    e = mg.name("e", mg.exp(z - m))
    s = mg.name("s", e.sum(axis=1, keepdims=True), label="Σe")
    p = mg.name("p", e / s)
    return -mg.log(p[np.arange(len(t)), t]).mean()


def classes(rng: np.random.Generator) -> Array:
    """Class ids of 7 samples, of 5 classes."""
    return rng.integers(0, 5, 7)


terms = Derivation(softmax_cross_entropy, z="N C", t=classes)


@terms.line
def dp(dout: Array, p: Array, t: Array) -> Array:
    """dl/dp = −1/(N p) at the class t, else 0"""
    return -dout / len(t) * np.eye(p.shape[1])[t] / p


@terms.line
def ds(dp: Array, e: Array, s: Array) -> Array:
    """dl/dΣe = −Σ dl/dp · e / (Σe)²"""
    return -(dp * e).sum(axis=1, keepdims=True) / s**2


@terms.line
def de(dp: Array, ds: Array, s: Array) -> Array:
    """dl/de = dl/dp / Σe + dl/dΣe"""
    return dp / s + ds


@terms.line
def dm(de: Array, e: Array) -> Array:
    """dl/dm = −Σ dl/de · e, which comes out as 0"""
    return -(de * e).sum(axis=1, keepdims=True)


@terms.line
def dz(de: Array, dm: Array, e: Array, z: Array, m: Array) -> Array:
    """dl/dz = dl/de · e + dl/dm where z is the maximum"""
    return de * e + dm * (z == m)


fused = Derivation(softmax_cross_entropy, z="N C", t=classes)


@fused.line(of="z")
def fused_dz(dout: Array, p: Array, t: Array) -> Array:
    """dl/dz = (p − onehot(t)) / N"""
    return dout * (p - np.eye(p.shape[1])[t]) / len(t)
