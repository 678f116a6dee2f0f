"""One step of an LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000), backwards.

    z = x W + h U + b, in four parts of H columns      i = σ(z_i)   f = σ(z_f)   g = tanh(z_g)   o = σ(z_o)
    c′ = f c + i g                                     h′ = o tanh(c′)

The step has two results, h′ and c′. The gradient of c′ has two contributions: from the next step, and through h′.
"""

import numpy as np

import minigrad as mg
from minigrad.typing import Array
from minigrad.verify import Derivation


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
    """dl/dz: each gate's gradient times its slope, i(1 − i), f(1 − f), 1 − g², o(1 − o)"""
    return np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)], axis=1)


@d.line
def dc(dmemory: Array, f: Array) -> Array:
    """dl/dc = dl/dc′ · f"""
    return dmemory * f


@d.line
def dx(dz: Array, W: Array) -> Array:
    """dl/dx = dl/dz Wᵀ"""
    return dz @ W.T


@d.line
def dh(dz: Array, U: Array) -> Array:
    """dl/dh = dl/dz Uᵀ"""
    return dz @ U.T


@d.line
def dW(dz: Array, x: Array) -> Array:
    """dl/dW = xᵀ dl/dz"""
    return x.T @ dz


@d.line
def dU(dz: Array, h: Array) -> Array:
    """dl/dU = hᵀ dl/dz"""
    return h.T @ dz


@d.line
def db(dz: Array) -> Array:
    """dl/db = Σ dl/dz"""
    return dz.sum(axis=0)
