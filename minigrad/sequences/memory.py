"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.ops.shape import concat, stack, unstack
from minigrad.primitive import primitive
from minigrad.recurrent import check_step, gate_parts
from minigrad.sequences.shared import bias_array, buffer, from_input, input_shares, rows_of, states_before

Array = Any


def _lstm(x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any, /) -> tuple[Array, Array, Array]:
    """The output and the cell after each step, and the gates σ(i), σ(f), tanh(g), σ(o).

    σ(x) is ½ tanh(½ x) + ½, so that one tanh, scaled before and after, makes all four.
    """
    operands, size = (x, h, c, weight_ih, weight_hh, bias), h.shape[-1]
    y, cells = buffer(operands, size), buffer(operands, size)
    gates = from_input(buffer(operands, 4 * size), x, weight_ih, bias)
    scale = np.full_like(gates, 0.5, shape=(4, size))
    shift = np.full_like(gates, 0.5, shape=(4, size))
    scale[2], shift[2] = 1, 0
    scale, shift = np.reshape(scale, (4 * size,)), np.reshape(shift, (4 * size,))
    for t in range(len(gates)):
        now = gates[t]
        now += h @ weight_hh
        now *= scale
        np.tanh(now, out=now)
        now *= scale
        now += shift
        i, f, g, o = gate_parts(now, 4)
        c = np.multiply(f, c, out=cells[t])
        c += i * g
        h = np.tanh(c, out=y[t])
        h *= o
    return y, cells, gates


def _lstm_shares(
    v: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, y: Any, cells: Any, gates: Any, wanted: Any
) -> tuple[Any, ...]:
    """From the last step to the first, with [i f g o] the gates and t = tanh(c'):

        dc' += dh' o (1 - t²)    di = dc' g    df = dc' c    dg = dc' i    do = dh' t
        da = [di i (1 - i), df f (1 - f), dg (1 - g²), do o (1 - o)]    dh = da Wʰᵀ    dc = dc' f

    What arrives at the gates themselves, in higher derivatives, is added to [di df dg do].
    """
    dy, dcells, dgates = (None if share is None else unstack(share) for share in v)
    steps = list(zip(unstack(gates), unstack(np.tanh(cells)), unstack(states_before(c, cells)), strict=True))
    dh: Any = 0.0
    dc: Any = 0.0
    shares = []
    for k in reversed(range(len(steps))):
        gate, t, before = steps[k]
        i, f, g, o = gate_parts(gate, 4)
        dh = dh if dy is None else dy[k] + dh
        dc = dc + dh * o * (1 - t * t)
        dc = dc if dcells is None else dc + dcells[k]
        d = dc * g, dc * before, dc * i, dh * t
        if dgates is not None:
            d = tuple(a + b for a, b in zip(d, gate_parts(dgates[k], 4), strict=True))
        di, df, dg, do = d
        shares.append(concat([di * (i * (1 - i)), df * (f * (1 - f)), dg * (1 - g * g), do * (o * (1 - o))], axis=-1))
        dh, dc = shares[-1] @ weight_hh.mT, dc * f
    da = stack(shares[::-1], axis=0)
    dx, dweight_ih, dbias = input_shares(da, x, weight_ih, wanted)
    return dx, dh, dc, dweight_ih, rows_of(states_before(h, y)).mT @ rows_of(da), dbias


_lstm_primitive = primitive(_lstm, joint=_lstm_shares, outputs=("y", "cells", "gates"))


def lstm(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Any, tuple[Any, Any]]:
    """`functional.lstm_cell` for all steps of a sequence as one primitive (Hochreiter & Schmidhuber 1997).

    It keeps its operands, and of every step the output, the cell and the gates.

    Args:
        x: (T, N, I), the inputs: T steps of N sequences.
        h: (N, H), the output before the first step.
        c: (N, H), the cell before it.
        weight_ih: (I, 4H), columns in the order i, f, g, o.
        weight_hh: (H, 4H)
        bias_ih: (4H,), or the number 0.
        bias_hh: likewise.

    Returns:
        the outputs of all steps (T, N, H), and the last output and cell (h, c), each (N, H).

    Raises:
        ValueError: shapes do not fit; there is no step.

    Example:
        >>> one = np.ones((1, 1))
        >>> y, (h, c) = lstm(np.ones((2, 1, 1)), one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> y.ravel().round(4), c
        (array([0.2311, 0.1225]), array([[0.25]]))
    """
    check_step("lstm", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c, steps=True)
    y, cells, _ = _lstm_primitive(x, h, c, weight_ih, weight_hh, bias_array(bias_ih + bias_hh, weight_hh))
    return y, (y[-1], cells[-1])


def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Any, Any]:
    """`functional.lstm_cell` as one primitive: a sequence of one step.

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the output before it.
        c: (N, H), the cell before it.
        weight_ih: (I, 4H), columns in the order i, f, g, o.
        weight_hh: (H, 4H)
        bias_ih: (4H,), or the number 0.
        bias_hh: likewise.

    Returns:
        h' and c', each (N, H).

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> h, c = lstm_cell(one, one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> c, h.round(4)
        (array([[0.5]]), array([[0.2311]]))
    """
    check_step("lstm_cell", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c)
    h_next, c_next = lstm(x[None], h, c, weight_ih, weight_hh, bias_ih, bias_hh)[1]
    return h_next, c_next
