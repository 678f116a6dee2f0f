"""Cosine similarity of two vectors, backwards (quotient rule; Luo et al. 2018, "Cosine normalization").

    a = ‖x‖      b = ‖y‖      s = x·y      cos = s / (a b)
    dl/dx = dl/dcos · (y/(a b) − cos · x/a²)

The gradient is orthogonal to x: rotating x changes the cosine, scaling it does not.
"""

from __future__ import annotations

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


def cosine_similarity(x: Array, y: Array) -> Array:
    """The cosine of the angle between rows of x and of y, both `(N, D)` -> `(N, 1)`."""
    a = mg.name("a", mg.sqrt((x**2).sum(axis=1, keepdims=True)), label="‖x‖")
    b = mg.name("b", mg.sqrt((y**2).sum(axis=1, keepdims=True)), label="‖y‖")
    s = mg.name("s", (x * y).sum(axis=1, keepdims=True), label="x·y")
    return s / (a * b)


d = Derivation(cosine_similarity, x="N D", y="N D")


@d.line
def ds(dout: Array, a: Array, b: Array) -> Array:
    """dl/ds = dl/dcos / (a b)"""
    return dout / (a * b)


@d.line
def da(dout: Array, out: Array, a: Array) -> Array:
    """dl/da = −dl/dcos · cos / a"""
    return -dout * out / a


@d.line
def db(dout: Array, out: Array, b: Array) -> Array:
    """dl/db = −dl/dcos · cos / b"""
    return -dout * out / b


@d.line
def dx(ds: Array, da: Array, x: Array, y: Array, a: Array) -> Array:
    """dl/dx = dl/ds · y + dl/da · x/a"""
    return ds * y + da * x / a


@d.line
def dy(ds: Array, db: Array, x: Array, y: Array, b: Array) -> Array:
    """dl/dy = dl/ds · x + dl/db · y/b"""
    return ds * x + db * y / b
