"""Gated recurrent units: a step composed of primitives; a step and a sequence as one primitive."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.pairwise import column_sums
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
from minigrad.ops.product import rows_of
from minigrad.ops.shape import unstack
from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor


def gru_cell(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0) -> Tensor:
    """A step of a gated recurrent unit (Cho et al. 2014), with the reset gate after the product as in PyTorch.

        [a_r a_z a_n] = x Wⁱ + bⁱ    [b_r b_z b_n] = h Wʰ + bʰ
        r = σ(a_r + b_r)    z = σ(a_z + b_z)    n = tanh(a_n + r b_n)    h' = (1 - z) n + z h

    Cho et al. multiply h by r before the product, and exchange z and 1 - z.

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the state before it.
        weight_ih: (I, 3H), columns in the order r, z, n.
        weight_hh: (H, 3H)
        bias_ih: (3H,), or the number 0.
        bias_hh: the same.

    Returns:
        (N, H), the state after the step. The nodes of the tape are called r, z, n and h. `fused.gru_cell` is one
        primitive.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> one = np.ones((1, 1))
        >>> gru_cell(one, one, np.zeros((1, 3)), np.zeros((1, 3)))
        array([[0.5]])
    """
    check_step("gru_cell", 3, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
    a_r, a_z, a_n = gate_parts(x @ weight_ih + bias_ih, 3)
    b_r, b_z, b_n = gate_parts(h @ weight_hh + bias_hh, 3)
    r, z = name("r", sigmoid(a_r + b_r)), name("z", sigmoid(a_z + b_z))
    n = name("n", np.tanh(a_n + r * b_n))
    return name("h", (1 - z) * n + z * h)


def _gru(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any, /) -> tuple[Array, Array, Array]:
    """The state after each step, the gates r, z, n, and the part b_n that r multiplies."""
    operands, size = (x, h, weight_ih, weight_hh, bias_ih, bias_hh), h.shape[-1]
    y, inner = buffer(operands, size), buffer(operands, size)
    gates = from_input(buffer(operands, 3 * size), x, weight_ih, bias_ih)
    for t in range(len(gates)):
        b = h @ weight_hh + bias_hh
        inner[t] = b[:, 2 * size :]
        r_and_z = gates[t, :, : 2 * size]
        r_and_z += b[:, : 2 * size]
        r_and_z *= 0.5
        np.tanh(r_and_z, out=r_and_z)
        r_and_z *= 0.5
        r_and_z += 0.5
        r, z, n = gate_parts(gates[t], 3)
        n += r * inner[t]
        np.tanh(n, out=n)
        h = np.multiply(z, h, out=y[t])
        h += (1 - z) * n
    return y, gates, inner


def _gru_contributions(
    v: Any, x: Any, h: Any, weight_ih: Any, weight_hh: Any, y: Any, gates: Any, inner: Any, needs_grad: Any
) -> tuple[Any, ...]:
    """The contributions, from the last step to the first. [r z n] are the gates:

        dz = dh' (h - n)    dn = dh' (1 - z)    da_n = dn (1 - n²)    dr = da_n b_n
        da = [dr r (1 - r), dz z (1 - z), da_n]    db = [dr r (1 - r), dz z (1 - z), da_n r]
        dh = db Wʰᵀ + dh' z    dWʰ = Σ hᵀ db    dbʰ = Σ db

    In higher derivatives, the gates and b_n have cotangents of their own, which are added to [dr dz dn] and to the last
    part of db.
    """
    dy, dgates, dinner = (None if contribution is None else unstack(contribution) for contribution in v)
    steps = list(zip(unstack(gates), unstack(inner), (h, *unstack(y)[:-1]), strict=True))
    back = np.copy(weight_hh.mT, order="C")  # faster in products than the transposed view
    dh: Any = 0.0
    contributions, state_contributions = Steps(len(steps)), Steps(len(steps))
    for k in reversed(range(len(steps))):
        gate, b_n, before = steps[k]
        r, z, n = gate_parts(gate, 3)
        dh = dh if dy is None else dy[k] + dh
        dr, dz, dn = (0.0, 0.0, 0.0) if dgates is None else gate_parts(dgates[k], 3)
        dz, dn = dz + dh * (before - n), dn + dh * (1 - z)
        da_n = dn * (1 - n * n)
        dr = dr + da_n * b_n
        db_n = da_n * r if dinner is None else da_n * r + dinner[k]
        da_r, da_z = dr * (r * (1 - r)), dz * (z * (1 - z))
        contributions[k] = np.concatenate([da_r, da_z, da_n], axis=-1)
        db = state_contributions[k] = np.concatenate([da_r, da_z, db_n], axis=-1)
        dh = db @ back + dh * z
    dx, dweight_ih, dbias_ih = input_contributions(contributions.together(), x, weight_ih, needs_grad)
    all_db = state_contributions.together()
    return dx, dh, dweight_ih, state_weight_contribution(all_db, h, y), dbias_ih, column_sums(rows_of(all_db))


_gru_primitive = primitive(
    _gru,
    joint=_gru_contributions,
    outputs=("y", "gates", "inner"),
    multiply_adds=lambda node: weight_products(node.shape[0], *node.parents[2:4]),
    example_shapes=lambda n: [(1, n, n), (n, n), (n, 3 * n), (n, 3 * n), (3 * n,), (3 * n,)],
)


def gru(
    x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0
) -> tuple[Tensor, Tensor]:
    """`functional.gru_cell` for all steps of a sequence as one primitive (Cho et al. 2014).

    The operands and the state, gates and b_n of every step are kept for the backward pass.

    Args:
        x: (T, N, I), the inputs: T steps of N sequences.
        h: (N, H), the state before the first.
        weight_ih: (I, 3H), columns in the order r, z, n.
        weight_hh: (H, 3H)
        bias_ih: (3H,), or the number 0.
        bias_hh: the same.

    Returns:
        the states after all steps (T, N, H), and the last one (N, H).

    Raises:
        ValueError: shapes do not fit, or there is no step.

    Example:
        >>> one = np.ones((1, 1))
        >>> y, h = gru(np.ones((2, 1, 1)), one, np.zeros((1, 3)), np.zeros((1, 3)))
        >>> y.ravel(), h
        (array([0.5 , 0.25]), array([[0.25]]))
    """
    check_step("gru", 3, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), steps=True)
    biases = bias_array(bias_ih, weight_hh), bias_array(bias_hh, weight_hh)
    y = _gru_primitive(x, h, weight_ih, weight_hh, *biases)[0]
    return y, y[-1]


def fused_gru_cell(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = 0.0, bias_hh: Any = 0.0) -> Tensor:
    """`functional.gru_cell` as one primitive, with the same arguments and results: a sequence of one step.

    Example:
        >>> one = np.ones((1, 1))
        >>> fused_gru_cell(one, one, np.zeros((1, 3)), np.zeros((1, 3)))
        array([[0.5]])
    """
    check_step("gru_cell", 3, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
    return gru(x[None], h, weight_ih, weight_hh, bias_ih, bias_hh)[1]
