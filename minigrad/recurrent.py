"""Steps of recurrent networks, composed and as single primitives. Gates lie side by side in PyTorch's order."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.errors import call
from minigrad.naming import name
from minigrad.ops.elementwise import relu, sigmoid
from minigrad.ops.special import sigmoid_values
from minigrad.primitive import primitive

Array = Any


def rnn_cell(
    x: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = 0.0,
    bias_hh: Any = 0.0,
    *,
    nonlinearity: str = "tanh",
) -> Any:
    """A step of a plain recurrent network (Elman 1990): f(x Wⁱ + bⁱ + h Wʰ + bʰ).

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the state before it.
        weight_ih: (I, H)
        weight_hh: (H, H)
        bias_ih: (H,), or the number 0.
        bias_hh: likewise.
        nonlinearity: "tanh" or "relu".

    Returns:
        (N, H), the state after the step.

    Raises:
        ValueError: shapes do not fit; the nonlinearity is unknown.

    Example:
        >>> one = np.ones((1, 1))
        >>> rnn_cell(one, one, one, -2 * one, nonlinearity="relu")
        array([[0.]])
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn_cell(nonlinearity={nonlinearity!r}): must be 'tanh' or 'relu'")
    _check("rnn_cell", 1, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
    gates = x @ weight_ih + h @ weight_hh + bias_ih + bias_hh
    return name("h", np.tanh(gates) if nonlinearity == "tanh" else relu(gates))


def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Any, Any]:
    """A step of long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000).

        [i f g o] = x Wⁱ + bⁱ + h Wʰ + bʰ    c' = σ(f) c + σ(i) tanh(g)    h' = σ(o) tanh(c')

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the output before it.
        c: (N, H), the cell before it.
        weight_ih: (I, 4H), columns in the order i, f, g, o.
        weight_hh: (H, 4H)
        bias_ih: (4H,), or the number 0.
        bias_hh: likewise.

    Returns:
        h' and c', each (N, H). The lines of the tape are called i, f, g, o, c and h. `fused.lstm_cell` is the same in
        one.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> h, c = lstm_cell(one, one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> c, h.round(4)
        (array([[0.5]]), array([[0.2311]]))
    """
    _check("lstm_cell", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c)
    gates = x @ weight_ih + h @ weight_hh + bias_ih + bias_hh
    i, f, g, o = _parts(gates, 4)
    i, f, o = name("i", sigmoid(i)), name("f", sigmoid(f)), name("o", sigmoid(o))
    g = name("g", np.tanh(g))
    c = name("c", f * c + i * g)
    return name("h", o * np.tanh(c)), c


def gru_cell(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0) -> Any:
    """A step of a gated recurrent unit (Cho et al. 2014), with the reset gate after the product as in PyTorch.

        [a_r a_z a_n] = x Wⁱ + bⁱ    [b_r b_z b_n] = h Wʰ + bʰ
        r = σ(a_r + b_r)    z = σ(a_z + b_z)    n = tanh(a_n + r b_n)    h' = (1 - z) n + z h

    Cho et al. multiply r and h before the product, and interchange z and 1 - z.

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the state before it.
        weight_ih: (I, 3H), columns in the order r, z, n.
        weight_hh: (H, 3H)
        bias_ih: (3H,), or the number 0.
        bias_hh: likewise.

    Returns:
        (N, H), the state after the step. The lines of the tape are called r, z, n and h. `fused.gru_cell` is the same
        in one.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> gru_cell(one, one, np.zeros((1, 3)), np.zeros((1, 3)))
        array([[0.5]])
    """
    _check("gru_cell", 3, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
    a_r, a_z, a_n = _parts(x @ weight_ih + bias_ih, 3)
    b_r, b_z, b_n = _parts(h @ weight_hh + bias_hh, 3)
    r, z = name("r", sigmoid(a_r + b_r)), name("z", sigmoid(a_z + b_z))
    n = name("n", np.tanh(a_n + r * b_n))
    return name("h", (1 - z) * n + z * h)


def _parts(gates: Any, count: int) -> list[Any]:
    """The gates, each (N, H), of (N, count · H)."""
    size = gates.shape[-1] // count
    return [gates[:, k * size : (k + 1) * size] for k in range(count)]


def _check(what: str, gates: int, x: Any, h: Any, weight_ih: Any, weight_hh: Any, biases: Any, c: Any = None) -> None:
    """Refuse shapes that do not fit, before anything is computed."""
    shapes = [np.shape(part) for part in (x, h, weight_ih, weight_hh)]
    if all(len(shape) == 2 for shape in shapes):
        (batch, size), (_, hidden) = shapes[:2]
        wide = gates * hidden
        wanted = [(batch, size), (batch, hidden), (size, wide), (hidden, wide)]
        biases_fit = all(np.shape(bias) in ((), (wide,)) for bias in biases)
        if shapes == wanted and biases_fit and (c is None or np.shape(c) == shapes[1]):
            return
    cell, wide = ("", "H") if gates == 1 else (" and c (N, H)" if c is not None else "", f"{gates}H")
    raise ValueError(
        f"{call(what, (x, h, *(() if c is None else (c,)), weight_ih, weight_hh, *biases), {})}: x (N, I) and h (N, H)"
        f"{cell} go with weight_ih (I, {wide}), weight_hh (H, {wide}) and biases ({wide},)"
    )


# As one primitive each


def _column_sums(rows: Any) -> Array:
    return np.ones_like(rows, shape=rows.shape[:1]) @ rows


def _lstm_cell(x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any, /) -> tuple[Array, Array, Array]:
    """The output, the cell, and the gates σ(i), σ(f), tanh(g), σ(o)."""
    gates = x @ weight_ih + h @ weight_hh + bias
    size = c.shape[-1]
    chosen = sigmoid_values(gates[:, : 2 * size])
    g, o = np.tanh(gates[:, 2 * size : 3 * size]), sigmoid_values(gates[:, 3 * size :])
    c_next = chosen[:, size:] * c + chosen[:, :size] * g
    return o * np.tanh(c_next), c_next, np.concatenate([chosen, g, o], axis=-1)


def _lstm_cell_shares(
    v: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, c_next: Any, gates: Any, wanted: Any
) -> tuple[Any, ...]:
    """With [i f g o] the gates and t = tanh(c'), from the cotangents dh of h' and dc of c':

        dc += dh o (1 - t²)    di = dc g    df = dc c    dg = dc i    do = dh t
        da = [di i (1 - i), df f (1 - f), dg (1 - g²), do o (1 - o)]
        dx = da Wⁱᵀ    dh = da Wʰᵀ    dc = dc f    dWⁱ = xᵀ da    dWʰ = hᵀ da    db = Σ da

    What arrives at the gates themselves, in higher derivatives, is added to [di df dg do].
    """
    dh, dc, dgates = v
    i, f, g, o = _parts(gates, 4)
    t = np.tanh(c_next)
    if dh is None:
        dh = np.zeros_like(c_next)
    through = dh * o * (1 - t * t)
    dc = through if dc is None else dc + through
    di, df, dg, do = dc * g, dc * c, dc * i, dh * t
    if dgates is not None:
        di, df, dg, do = (a + b for a, b in zip((di, df, dg, do), _parts(dgates, 4), strict=True))
    da = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)], axis=-1)
    dx = da @ weight_ih.mT if wanted[0] else None
    return dx, da @ weight_hh.mT, dc * f, x.mT @ da, h.mT @ da, _column_sums(da)


_lstm = primitive(_lstm_cell, joint=_lstm_cell_shares, outputs=("h_next", "c_next", "gates"))


def fused_lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Any, Any]:
    """`functional.lstm_cell` as one primitive, which keeps its operands, the new cell and the gates.

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the output before it.
        c: (N, H), the cell before it.
        weight_ih: (I, 4H), columns in the order i, f, g, o.
        weight_hh: (H, 4H)
        bias_ih: (4H,), or the number 0.
        bias_hh: likewise. Over many steps it is faster to add the two once, and leave this one out.

    Returns:
        h' and c', each (N, H).

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> h, c = fused_lstm_cell(one, one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> c, h.round(4)
        (array([[0.5]]), array([[0.2311]]))
    """
    _check("lstm_cell", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c)
    bias = bias_ih if isinstance(bias_hh, float) else bias_ih + bias_hh
    h_next, c_next, _ = _lstm(x, h, c, weight_ih, weight_hh, bias)
    return h_next, c_next


def _gru_cell(
    x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, /
) -> tuple[Array, Array, Array]:
    """The state, the gates r, z, n, and the part b_n that r multiplies."""
    a, b = x @ weight_ih + bias_ih, h @ weight_hh + bias_hh
    size = h.shape[-1]
    chosen = sigmoid_values(a[:, : 2 * size] + b[:, : 2 * size])
    inner = b[:, 2 * size :]
    n = np.tanh(a[:, 2 * size :] + chosen[:, :size] * inner)
    z = chosen[:, size:]
    return (1 - z) * n + z * h, np.concatenate([chosen, n], axis=-1), np.copy(inner)


def _gru_cell_shares(
    v: Any, x: Any, h: Any, weight_ih: Any, weight_hh: Any, gates: Any, inner: Any, wanted: Any
) -> tuple[Any, ...]:
    """With [r z n] the gates, from the cotangent dh of h':

        dz = dh (h - n)    dn = dh (1 - z)    da_n = dn (1 - n²)    dr = da_n b_n
        da = [dr r (1 - r), dz z (1 - z), da_n]    db = [dr r (1 - r), dz z (1 - z), da_n r]
        dx = da Wⁱᵀ    dh = db Wʰᵀ + dh z    dWⁱ = xᵀ da    dWʰ = hᵀ db    dbⁱ = Σ da    dbʰ = Σ db

    What arrives at the gates and at b_n, in higher derivatives, is added to [dr dz dn] and to the last part of db.
    """
    dh, dgates, dinner = v
    r, z, n = _parts(gates, 3)
    if dh is None:
        dh = np.zeros_like(h)
    dz, dn = dh * (h - n), dh * (1 - z)
    if dgates is not None:
        extra_r, extra_z, extra_n = _parts(dgates, 3)
        dz, dn = dz + extra_z, dn + extra_n
    da_n = dn * (1 - n * n)
    dr = da_n * inner
    if dgates is not None:
        dr = dr + extra_r
    db_n = da_n * r if dinner is None else da_n * r + dinner
    da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
    da, db = np.concatenate([da_r, da_z, da_n], axis=-1), np.concatenate([da_r, da_z, db_n], axis=-1)
    dx = da @ weight_ih.mT if wanted[0] else None
    return dx, db @ weight_hh.mT + dh * z, x.mT @ da, h.mT @ db, _column_sums(da), _column_sums(db)


_gru = primitive(_gru_cell, joint=_gru_cell_shares, outputs=("h_next", "gates", "inner"))


def fused_gru_cell(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0) -> Any:
    """`functional.gru_cell` as one primitive, which keeps its operands, the gates and the part that r multiplies.

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the state before it.
        weight_ih: (I, 3H), columns in the order r, z, n.
        weight_hh: (H, 3H)
        bias_ih: (3H,), or the number 0.
        bias_hh: likewise.

    Returns:
        (N, H), the state after the step.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> fused_gru_cell(one, one, np.zeros((1, 3)), np.zeros((1, 3)))
        array([[0.5]])
    """
    _check("gru_cell", 3, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
    return _gru(x, h, weight_ih, weight_hh, bias_ih, bias_hh)[0]
