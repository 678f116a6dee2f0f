"""What the networks over sequences have in common: room for results, the product with the input, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.pairwise import column_sums
from minigrad.ops.shape import stack

Array = Any


def buffer(operands: tuple[Any, ...], size: int) -> Array:
    """Room for (T, N, size), of the dtype that the operands, of which x is the first, have together."""
    dtype = np.result_type(*(x.dtype for x in operands))
    return np.empty_like(operands[0], shape=(*operands[0].shape[:2], size), dtype=dtype, order="C")


def from_input(out: Array, x: Any, weight: Any, bias: Any) -> Array:
    """x @ weight + bias, written into `out`."""
    np.matmul(rows_of(x), weight, out=rows_of(out))
    out += bias
    return out


def rows_of(x: Any) -> Any:
    """All steps of all sequences as the rows of one matrix."""
    return np.reshape(x, (-1, x.shape[-1]))


class Steps:
    """An array of which a loop makes one step after another, in any order.

    Plain arrays are written where they belong as they come: kept apart they would take as much fresh memory again.
    Others are stacked at the end, because a rule writes nowhere.
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


def state_share(da: Any, first: Any, states: Any) -> Any:
    """Of weight_hh: the sum of hᵀ da over all steps, the first of which begins with `first`."""
    contribution = first.mT @ da[0]
    return contribution if states.shape[0] == 1 else contribution + rows_of(states[:-1]).mT @ rows_of(da[1:])


def input_contributions(da: Any, x: Any, weight_ih: Any, needs_grad: Any) -> tuple[Any, Any, Any]:
    """Of x, weight_ih and bias_ih, from what arrives at the gates."""
    rows = rows_of(da)
    dx = np.reshape(rows @ weight_ih.mT, x.shape) if needs_grad[0] else None
    return dx, rows_of(x).mT @ rows, column_sums(rows)


def bias_array(bias: Any, weight: Any) -> Any:
    """A bias as an array: zeros for the number 0."""
    return np.zeros_like(weight, shape=weight.shape[1:]) if isinstance(bias, float) else bias
