"""The plain recurrent network: a step composed of primitives, and a sequence as one primitive."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.primitive import Array, primitive
from minigrad.functional.recurrent.sequence import (
    Steps,
    bias_array,
    buffer,
    check_nonlinearity,
    check_step,
    from_input,
    input_contributions,
    state_weight_contribution,
    weight_products,
)
from minigrad.ops.activation import relu
from minigrad.ops.shape import unstack
from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor


def rnn_cell(
    x: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = 0.0,
    bias_hh: Any = 0.0,
    *,
    nonlinearity: str = "tanh",
) -> Tensor:
    """A step of a plain recurrent network (Elman 1990): f(x Wⁱ + bⁱ + h Wʰ + bʰ).

    Args:
        x: (N, I), the input of this step.
        h: (N, H), the state before it.
        weight_ih: (I, H)
        weight_hh: (H, H)
        bias_ih: (H,), or the number 0.
        bias_hh: the same.
        nonlinearity: "tanh" or "relu".

    Returns:
        (N, H), the state after the step.

    Raises:
        ValueError: shapes do not fit, or the nonlinearity is unknown.

    Example:
        >>> one = np.ones((1, 1))
        >>> rnn_cell(one, one, one, -2 * one, nonlinearity="relu")
        array([[0.]])
    """
    check_nonlinearity("rnn_cell", nonlinearity)
    check_step("rnn_cell", 1, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
    gates = x @ weight_ih + h @ weight_hh + bias_ih + bias_hh
    return name("h", np.tanh(gates) if nonlinearity == "tanh" else relu(gates))


def _rnn(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias: Any, /, *, nonlinearity: str) -> Array:
    """The state after each step."""
    y = from_input(buffer((x, h, weight_ih, weight_hh, bias), h.shape[-1]), x, weight_ih, bias)
    for t in range(len(y)):
        state = y[t]
        state += h @ weight_hh
        h = np.tanh(state, out=state) if nonlinearity == "tanh" else np.maximum(state, 0, out=state)
    return y


def _rnn_contributions(
    v: Any, x: Any, h: Any, weight_ih: Any, weight_hh: Any, out: Any, nonlinearity: str, needs_grad: Any
) -> tuple[Any, ...]:
    """The contributions, from the last step to the first: da = dh' f'(a), and dh = da Wᵀ for the previous step."""
    slopes = unstack(1 - out * out if nonlinearity == "tanh" else out > 0)
    dy, back = unstack(v), np.copy(weight_hh.mT, order="C")
    dh: Any = 0.0
    contributions = Steps(len(dy))
    for k in reversed(range(len(dy))):
        da = contributions[k] = (dy[k] + dh) * slopes[k]
        dh = da @ back
    all_da = contributions.together()
    dx, dweight_ih, dbias = input_contributions(all_da, x, weight_ih, needs_grad)
    return dx, dh, dweight_ih, state_weight_contribution(all_da, h, out), dbias


_rnn_primitive = primitive(
    _rnn,
    joint=_rnn_contributions,
    multiply_adds=lambda node: weight_products(node.shape, *node.parents[2:4]),
    example_shapes=lambda n: [(1, n, n), *[(n, n)] * 3, (n,)],
)


def rnn(
    x: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = 0.0,
    bias_hh: Any = 0.0,
    *,
    nonlinearity: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """`functional.rnn_cell` for all steps of a sequence as one primitive (Elman 1990).

    Args:
        x: (T, N, I), the inputs: T steps of N sequences.
        h: (N, H), the state before the first.
        weight_ih: (I, H)
        weight_hh: (H, H)
        bias_ih: (H,), or the number 0.
        bias_hh: the same.
        nonlinearity: "tanh" or "relu".

    Returns:
        the states after all steps (T, N, H), and the last one (N, H).

    Raises:
        ValueError: shapes do not fit, there is no step, or the nonlinearity is unknown.

    Example:
        >>> one = np.ones((1, 1))
        >>> y, h = rnn(np.ones((3, 1, 1)), one, one, 2 * one, nonlinearity="relu")
        >>> y.ravel(), h
        (array([ 3.,  7., 15.]), array([[15.]]))
    """
    check_nonlinearity("rnn", nonlinearity)
    check_step("rnn", 1, x, h, weight_ih, weight_hh, (bias_ih, bias_hh), steps=True)
    y = _rnn_primitive(x, h, weight_ih, weight_hh, bias_array(bias_ih + bias_hh, weight_hh), nonlinearity=nonlinearity)
    return y, y[-1]
