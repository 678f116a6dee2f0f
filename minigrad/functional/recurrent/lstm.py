"""Long short-term memory: a step composed of primitives; a step and a sequence as one primitive."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import Array, primitive
from minigrad.functional.recurrent.sequence import (
    Steps,
    bias_array,
    buffer,
    check_step,
    from_input,
    gate_parts,
    input_contributions,
    state_weight_contribution,
    weight_products,
)
from minigrad.ops.activation import sigmoid
from minigrad.ops.shape import unstack
from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor


def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Tensor, Tensor]:
    """A step of long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000).

        [i f g o] = x Wⁱ + bⁱ + h Wʰ + bʰ    c' = σ(f) c + σ(i) tanh(g)    h' = σ(o) tanh(c')

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the output before it.
        c: (N, H), the cell before it.
        weight_ih: (I, 4H), columns in the order i, f, g, o.
        weight_hh: (H, 4H)
        bias_ih: (4H,), or the number 0.
        bias_hh: the same.

    Returns:
        h' and c', each (N, H). The nodes of the tape are called i, f, g, o, c and h. `fused.lstm_cell` is one
        primitive.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> h, c = lstm_cell(one, one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> c, h.round(4)
        (array([[0.5]]), array([[0.2311]]))
    """
    check_step("lstm_cell", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c)
    gates = x @ weight_ih + h @ weight_hh + bias_ih + bias_hh
    i, f, g, o = gate_parts(gates, 4)
    i, f, o = name("i", sigmoid(i)), name("f", sigmoid(f)), name("o", sigmoid(o))
    g = name("g", np.tanh(g))
    c = name("c", f * c + i * g)
    return name("h", o * np.tanh(c)), c


def _lstm(x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias: Any, /) -> tuple[Array, Array, Array]:
    """The output and the cell after each step, and the gates σ(i), σ(f), tanh(g), σ(o).

    σ(x) is ½ tanh(½ x) + ½, so one tanh, scaled before and after, computes all four.
    """
    operands, size = (x, h, c, weight_ih, weight_hh, bias), h.shape[-1]
    y, cells = buffer(operands, size), buffer(operands, size)
    gates = from_input(buffer(operands, 4 * size), x, weight_ih, bias)
    scale = np.full_like(gates, 0.5, shape=(4, size))
    shift = np.full_like(gates, 0.5, shape=(4, size))
    scale[2], shift[2] = 1, 0
    scale, shift = np.reshape(scale, (4 * size,)), np.reshape(shift, (4 * size,))
    for t in range(len(gates)):
        gate = gates[t]
        gate += h @ weight_hh
        gate *= scale
        np.tanh(gate, out=gate)
        gate *= scale
        gate += shift
        i, f, g, o = gate_parts(gate, 4)
        c = np.multiply(f, c, out=cells[t])
        c += i * g
        h = np.tanh(c, out=y[t])
        h *= o
    return y, cells, gates


def _lstm_contributions(
    v: Any, x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, y: Any, cells: Any, gates: Any, needs_grad: Any
) -> tuple[Any, ...]:
    """The contributions, from the last step to the first.

    With the gates s = [i f g o], which are between l = [0 0 -1 0] and 1, and t = tanh(c'):

        dc' += dh' o (1 - t²)    ds = [dc' g, dc' c, dc' i, dh' t]    da = ds (s - l) (1 - s)
        dh = da Wʰᵀ    dc = dc' f

    In higher derivatives, the gates have cotangents of their own, which are added to ds.
    """
    dy, dcells, dgates = (None if contribution is None else unstack(contribution) for contribution in v)
    cell_of = unstack(cells)
    steps = list(zip(unstack(gates), cell_of, (c, *cell_of[:-1]), strict=True))
    zeros, ones = np.zeros_like(gates, shape=c.shape[-1:]), np.ones_like(gates, shape=c.shape[-1:])
    lowest = np.concatenate([zeros, zeros, -ones, zeros], axis=0)
    back = np.copy(weight_hh.mT, order="C")  # faster in products than the transposed view
    dh: Any = 0.0
    dc: Any = 0.0
    contributions = Steps(len(steps))
    for k in reversed(range(len(steps))):
        s, after, before = steps[k]
        i, f, g, o = gate_parts(s, 4)
        t = np.tanh(after)
        dh = dh if dy is None else dy[k] + dh
        dc = dc + dh * o * (1 - t * t)
        dc = dc if dcells is None else dc + dcells[k]
        ds = np.concatenate([dc * g, dc * before, dc * i, dh * t], axis=-1)
        ds = ds if dgates is None else ds + dgates[k]
        da = contributions[k] = ds * ((s - lowest) * (1 - s))
        dh, dc = da @ back, dc * f
    all_da = contributions.together()
    dx, dweight_ih, dbias = input_contributions(all_da, x, weight_ih, needs_grad)
    return dx, dh, dc, dweight_ih, state_weight_contribution(all_da, h, y), dbias


_lstm_primitive = primitive(
    _lstm,
    joint=_lstm_contributions,
    outputs=("y", "cells", "gates"),
    multiply_adds=lambda node: weight_products(node.shape[0], *node.parents[3:5]),
    example_shapes=lambda n: [(1, n, n), *[(n, n)] * 2, (n, 4 * n), (n, 4 * n), (4 * n,)],
)


def lstm(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """`functional.lstm_cell` for all steps of a sequence as one primitive (Hochreiter & Schmidhuber 1997).

    The operands and the output, cell and gates of every step are kept for the backward pass.

    Args:
        x: (T, N, I), the inputs: T steps of N sequences.
        h: (N, H), the output before the first step.
        c: (N, H), the cell before it.
        weight_ih: (I, 4H), columns in the order i, f, g, o.
        weight_hh: (H, 4H)
        bias_ih: (4H,), or the number 0.
        bias_hh: the same.

    Returns:
        the outputs of all steps (T, N, H), and the last output and cell (h, c), each (N, H).

    Raises:
        ValueError: shapes do not fit, or there is no step.

    Example:
        >>> one = np.ones((1, 1))
        >>> y, (h, c) = lstm(np.ones((2, 1, 1)), one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> y.ravel().round(4), c
        (array([0.2311, 0.1225]), array([[0.25]]))
    """
    check_step("lstm", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c, steps=True)
    y, cells, _ = _lstm_primitive(x, h, c, weight_ih, weight_hh, bias_array(bias_ih + bias_hh, weight_hh))
    return y, (y[-1], cells[-1])


def fused_lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Tensor, Tensor]:
    """`functional.lstm_cell` as one primitive, with the same arguments and results: a sequence of one step.

    Example:
        >>> one = np.ones((1, 1))
        >>> h, c = fused_lstm_cell(one, one, one, np.zeros((1, 4)), np.zeros((1, 4)))
        >>> c, h.round(4)
        (array([[0.5]]), array([[0.2311]]))
    """
    check_step("lstm_cell", 4, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), c)
    h_next, c_next = lstm(x[None], h, c, weight_ih, weight_hh, bias_ih, bias_hh)[1]
    return h_next, c_next
