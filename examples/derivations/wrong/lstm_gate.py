"""Wrong: the candidate g of an LSTM comes from tanh, but gets the slope g(1 − g) of a sigmoid, like the gates.

Only a quarter of dl/dz is off, and a network with this mistake still learns something.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation

EXPECTED = {"line": "dz", "verdict": "wrong", "reason": "the path through g", "repair": "`dg * (1 - g ** 2)`"}


def lstm_cell(x: Array, h: Array, c: Array, W: Array, U: Array, b: Array) -> tuple[Array, Array]:
    """x `(N, I)`, h and c `(N, H)`, W `(I, 4H)`, U `(H, 4H)`, b `(4H,)` -> h′, c′, both `(N, H)`."""
    z = mg.name("z", x @ W + h @ U + b)
    n = h.shape[1]
    i = mg.name("i", mg.sigmoid(z[:, :n]))
    f = mg.name("f", mg.sigmoid(z[:, n : 2 * n]))
    g = mg.name("g", mg.tanh(z[:, 2 * n : 3 * n]))
    o = mg.name("o", mg.sigmoid(z[:, 3 * n :]))
    memory = mg.name("memory", f * c + i * g, label="c′")
    return o * mg.tanh(memory), memory


d = Derivation(lstm_cell, x="N I", h="N 3", c="N 3", W="I 12", U="3 12", b="12")


@d.line
def dmemory(dout0: Array, dout1: Array, o: Array, memory: Array) -> Array:
    """dl/dc′ = dl/dh′ · o (1 − tanh² c′), and what arrives from outside"""
    return dout0 * o * (1 - mg.tanh(memory) ** 2) + dout1


@d.line
def do(dout0: Array, memory: Array) -> Array:
    """dl/do = dl/dh′ · tanh c′"""
    return dout0 * mg.tanh(memory)


@d.line
def df(dmemory: Array, c: Array) -> Array:
    """dl/df = dl/dc′ · c"""
    return dmemory * c


@d.line
def di(dmemory: Array, g: Array) -> Array:
    """dl/di = dl/dc′ · g"""
    return dmemory * g


@d.line
def dg(dmemory: Array, i: Array) -> Array:
    """dl/dg = dl/dc′ · i"""
    return dmemory * i


@d.line
def dz(di: Array, df: Array, dg: Array, do: Array, i: Array, f: Array, g: Array, o: Array) -> Array:
    """dl/dz: each gate's gradient times i(1 − i), f(1 − f), g(1 − g), o(1 − o)"""
    return np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * g * (1 - g), do * o * (1 - o)], axis=1)
