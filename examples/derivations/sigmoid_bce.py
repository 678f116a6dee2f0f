"""Sigmoid and binary cross-entropy, backwards (Bishop 2006, equations 4.88 to 4.91).

    p = σ(z) = 1/(1 + e^(−z))      l = −mean(t log p + (1 − t) log(1 − p))
    dp/dz = p(1 − p)               cancels against dl/dp = (p − t)/(p(1 − p)) / N

so dl/dz = (p − t) / N, without a division by a number that vanishes where the sigmoid saturates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def sigmoid_bce(z: Array, t: Array) -> Array:
    """The mean binary cross-entropy of logits z `(N, C)` and targets t `(N, C)`, 0 or 1."""
    p = mg.name("p", 1 / (1 + mg.exp(-z)))
    return -(t * mg.log(p) + (1 - t) * mg.log(1 - p)).mean()


def targets(rng: np.random.Generator) -> NDArray[Any]:
    """Zeros and ones, as integers, which have no gradient."""
    return rng.integers(0, 2, (7, 5))


terms = Derivation(sigmoid_bce, z="N C", t=targets)


@terms.line
def dp(dout: Array, p: Array, t: Array) -> Array:
    """dl/dp = −(t/p − (1 − t)/(1 − p)) / N"""
    return -dout * (t / p - (1 - t) / (1 - p)) / p.size


@terms.line
def dz(dp: Array, p: Array) -> Array:
    """dl/dz = dl/dp · p(1 − p)"""
    return dp * p * (1 - p)


fused = Derivation(sigmoid_bce, z="N C", t=targets)


@fused.line(of="z")
def fused_dz(dout: Array, p: Array, t: Array) -> Array:
    """dl/dz = (p − t) / N"""
    return dout * (p - t) / p.size
