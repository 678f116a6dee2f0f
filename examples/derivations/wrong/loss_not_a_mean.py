"""Wrong: the loss is a mean over N samples, and its gradient is not divided by N.

Training still works, with a learning rate that is N times as large; the mistake shows when the batch size changes.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dz", "verdict": "wrong", "reason": "N times the right value"}


def cross_entropy(z: Array, t: Array) -> Array:
    """The mean cross-entropy of logits z `(N, C)` and class ids t `(N,)`."""
    e = mg.exp(z - z.max(axis=1, keepdims=True))
    p = mg.name("p", e / e.sum(axis=1, keepdims=True))
    return -mg.log(p[np.arange(len(t)), t]).mean()


d = Derivation(cross_entropy, z="N C", t=lambda rng: rng.integers(0, 5, 7))


@d.line
def dz(dout: Array, p: Array, t: Array) -> Array:
    """dl/dz = p − onehot(t)"""
    return dout * (p - np.eye(p.shape[1])[t])
