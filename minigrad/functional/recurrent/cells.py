"""Steps of recurrent networks, composed of primitives. Gates lie side by side in PyTorch's order."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.ops.activation import relu, sigmoid
from minigrad.tensor.naming import name


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
    check_step("rnn_cell", 1, x, h, weight_ih, weight_hh, (bias_ih, bias_hh))
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
        h' and c', each (N, H). The nodes of the tape are called i, f, g, o, c and h. `fused.lstm_cell` is the same in
        one.

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
        (N, H), the state after the step. The nodes of the tape are called r, z, n and h. `fused.gru_cell` is the same
        in one.

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


def gate_parts(gates: Any, count: int) -> list[Any]:
    """The gates, each (N, H), of (N, count · H)."""
    size = gates.shape[-1] // count
    return [gates[:, k * size : (k + 1) * size] for k in range(count)]


def check_step(
    what: str,
    gates: int,
    x: Any,
    h: Any,
    weight_ih: Any,
    weight_hh: Any,
    biases: Any,
    c: Any = None,
    steps: bool = False,
) -> None:
    """Refuse shapes that do not fit, before anything is computed. With `steps`, x is a sequence (T, N, I)."""
    shapes = [np.shape(part) for part in (x, h, weight_ih, weight_hh)]
    if [len(shape) for shape in shapes] == [2 + steps, 2, 2, 2] and 0 not in shapes[0][:steps]:
        (*_, batch, size), (_, hidden) = shapes[:2]
        wide = gates * hidden
        wanted = [(batch, hidden), (size, wide), (hidden, wide)]
        biases_fit = all(np.shape(bias) in ((), (wide,)) for bias in biases)
        if shapes[1:] == wanted and biases_fit and (c is None or np.shape(c) == shapes[1]):
            return
    given = "x (T, N, I), with T, the steps, at least 1," if steps else "x (N, I)"
    cell, wide = ("", "H") if gates == 1 else (" and c (N, H)" if c is not None else "", f"{gates}H")
    raise ValueError(
        f"{call(what, (x, h, *(() if c is None else (c,)), weight_ih, weight_hh, *biases), {})}: {given} and h (N, H)"
        f"{cell} go with weight_ih (I, {wide}), weight_hh (H, {wide}) and biases ({wide},)"
    )
