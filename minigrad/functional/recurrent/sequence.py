"""What the recurrent networks share: checks, the gates, the product with the input, and its gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.pairwise import column_sums
from minigrad.engine.primitive import Array
from minigrad.ops.product import rows_of
from minigrad.ops.shape import stack


def buffer(operands: tuple[Any, ...], size: int) -> Array:
    """An empty array (T, N, size) of the operands' common dtype; x (T, N, I) is the first operand."""
    dtype = np.result_type(*(x.dtype for x in operands))
    return np.empty_like(operands[0], shape=(*operands[0].shape[:2], size), dtype=dtype, order="C")


def from_input(out: Array, x: Any, weight: Any, bias: Any) -> Array:
    """x @ weight + bias, written into `out`."""
    np.matmul(rows_of(x), weight, out=rows_of(out))
    out += bias
    return out


class Steps:
    """An array whose steps a loop computes one by one, in any order.

    Plain arrays are copied into the result at once: keeping them until the end would double the memory. Other arrays
    are stacked at the end, because a rule does not write.
    """

    def __init__(self, length: int) -> None:
        self.parts: Any = [None] * length

    def __setitem__(self, k: int, part: Any) -> None:
        if type(part) is np.ndarray and type(self.parts) is list:
            self.parts = np.empty_like(part, shape=(len(self.parts), *part.shape), order="C")
        self.parts[k] = part

    def together(self) -> Any:
        """All steps, as the first axis."""
        return stack(self.parts, axis=0) if type(self.parts) is list else self.parts


def state_weight_contribution(da: Any, first: Any, states: Any) -> Any:
    """The contribution of weight_hh: the sum of hᵀ da over all steps, where `first` is the h of the first step."""
    contribution = first.mT @ da[0]
    return contribution if states.shape[0] == 1 else contribution + rows_of(states[:-1]).mT @ rows_of(da[1:])


def input_contributions(da: Any, x: Any, weight_ih: Any, needs_grad: Any) -> tuple[Any, Any, Any]:
    """The contributions of x, weight_ih and bias_ih, from the cotangent of the gates."""
    rows = rows_of(da)
    dx = np.reshape(rows @ weight_ih.mT, x.shape) if needs_grad[0] else None
    return dx, rows_of(x).mT @ rows, column_sums(rows)


def bias_array(bias: Any, weight: Any) -> Any:
    """A bias as an array: zeros for the number 0."""
    return np.zeros_like(weight, shape=weight.shape[1:]) if isinstance(bias, float) else bias


def weight_products(shape: tuple[int, ...], *weights: Any) -> int:
    """The multiply-adds of states of this shape (T, N, H): for each row of each step, a product with both weights."""
    return math.prod(shape[:-1]) * sum(int(math.prod(weight.shape)) for weight in weights if weight is not None)


def gate_parts(gates: Any, count: int) -> list[Any]:
    """The gates, each (N, H), of (N, count · H)."""
    size = gates.shape[-1] // count
    return [gates[:, k * size : (k + 1) * size] for k in range(count)]


def check_nonlinearity(what: str, nonlinearity: str) -> None:
    """Raise a ValueError unless the nonlinearity is "tanh" or "relu"."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{what}(nonlinearity={nonlinearity!r}): must be 'tanh' or 'relu'")


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
    """Raise a ValueError for shapes that do not fit, before anything is computed. With `steps`, x is (T, N, I)."""
    shapes = [np.shape(part) for part in (x, h, weight_ih, weight_hh)]
    if [len(shape) for shape in shapes] == [2 + steps, 2, 2, 2] and 0 not in shapes[0][:steps]:
        (*_, batch, size), (_, hidden) = shapes[:2]
        columns = gates * hidden
        expected = [(batch, hidden), (size, columns), (hidden, columns)]
        biases_fit = all(np.shape(bias) in ((), (columns,)) for bias in biases)
        if shapes[1:] == expected and biases_fit and (c is None or np.shape(c) == shapes[1]):
            return
    of_x, of_c = "x (T, N, I) with T at least 1" if steps else "x (N, I)", "" if c is None else " c (N, H),"
    of_gates = "H" if gates == 1 else f"{gates}H"
    raise ValueError(
        f"{call(what, (x, h, *(() if c is None else (c,)), weight_ih, weight_hh, *biases), {})}: expected {of_x}, "
        f"h (N, H),{of_c} weight_ih (I, {of_gates}), weight_hh (H, {of_gates}) and biases ({of_gates},)"
    )
