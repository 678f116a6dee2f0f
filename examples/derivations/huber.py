"""Huber's loss (Huber 1964), backwards.

    r = y − t      l = mean of  ½ r²          where |r| ≤ δ
                                δ (|r| − ½ δ)  elsewhere

Both pieces have the slope ±δ at |r| = δ, so the derivative is a single formula: r, clipped to [−δ, δ].
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def huber(y: Array, t: Array, delta: float = 0.7) -> Array:
    """The mean loss of predictions y and targets t, both `(N, D)`."""
    r = mg.name("r", y - t)
    size = mg.abs(r)
    return mg.where(size <= delta, 0.5 * r**2, delta * (size - 0.5 * delta)).mean()


d = Derivation(huber, y="N D", t="N D")


@d.line
def dr(dout: Array, r: Array, delta: float) -> Array:
    """dl/dr = clip(r, −δ, δ) / N, for N elements"""
    return dout * np.clip(r, -delta, delta) / r.size


@d.line
def dy(dr: Array) -> Array:
    """dl/dy = dl/dr"""
    return dr


@d.line
def dt(dr: Array) -> Array:
    """dl/dt = −dl/dr"""
    return -dr
