"""Products. Each is linear in each operand, and the rule of one operand is again a product of v with the other.

matmul gives operands with one axis a second one first, so that the rules have matrices only.
"""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.node import Node
from minigrad.engine.primitive import linear, tensor_function
from minigrad.ops.einsum import contract, einsum
from minigrad.ops.reduction import sum
from minigrad.ops.shape import axes_of, axis_of, expand_dims, moveaxis, reshape_to


def matrix_product(x: Any, y: Any, /) -> Any:
    """x @ y for operands of at least two axes."""
    if y.ndim == 2 and x.ndim > 2:  # one large product instead of many small ones
        return np.reshape(rows_of(x) @ y, (*x.shape[:-1], y.shape[-1]))
    return np.matmul(x, y)


def rows_of(x: Any) -> Any:
    """x as a matrix, its leading axes as one. The number of rows is given: -1 is ambiguous where an axis is empty."""
    return x if x.ndim == 2 else np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def right_contribution(v: Any, x: Any, y_shape: tuple[int, ...]) -> Any:
    """The contribution of y in x @ y."""
    if len(y_shape) == 2 and x.ndim > 2:
        return rows_of(x).mT @ rows_of(v)
    return x.mT @ v


def matrix_product_cost(node: Node) -> int:
    """The multiply-adds of a matrix product: one for each element of the result and of the axis that is summed over."""
    operands: Any = node.parents[:2]  # one of them is a node
    x, y = operands
    inner = x.shape[-1] if x is not None else y.shape[-2]
    return int(math.prod(node.shape) * inner)


matmul_matrices = linear(
    matrix_product,
    lambda v, y: v @ y.mT,
    lambda v, x, y_shape: right_contribution(v, x, y_shape),
    name="matmul",
    multiply_adds=matrix_product_cost,
)


@tensor_function
def matmul(x: Any, y: Any, /) -> Any:
    """The matrix product; leading axes are stacks of matrices and broadcast.

    A one-dimensional x is a row, a one-dimensional y a column; the result does not have their axis.
    """
    x_ndim, y_ndim = len(np.shape(x)), len(np.shape(y))
    if x_ndim > 1 and y_ndim > 1:
        return matmul_matrices(x, y)
    if not x_ndim or not y_ndim:
        raise ValueError(f"{call('matmul', (x, y), {})}: operands need at least one axis; for numbers use x * y")
    left = expand_dims(x, 0) if x_ndim == 1 else x
    right = expand_dims(y, 1) if y_ndim == 1 else y
    if np.shape(left)[-1] != np.shape(right)[-2]:
        raise ValueError(
            f"{call('matmul', (x, y), {})}: the last axis of x has {np.shape(x)[-1]} elements, "
            f"the {'only' if y_ndim == 1 else 'next to last'} axis of y {np.shape(right)[-2]}; they must agree"
        )
    out = matmul_matrices(left, right)
    drop = ((x_ndim == 1) * (out.ndim - 2,)) + ((y_ndim == 1) * (out.ndim - 1,))
    return reshape_to(out, shape=tuple(n for k, n in enumerate(out.shape) if k not in drop))


@tensor_function
def tensordot(x: Any, y: Any, /, *, axes: Any = 2) -> Any:
    """The sum of products over the last `axes` axes of x and the first of y, or over a pair of tuples of axes."""
    x_ndim, y_ndim = len(np.shape(x)), len(np.shape(y))
    if isinstance(axes, int):
        first, second = tuple(range(x_ndim - axes, x_ndim)), tuple(range(axes))
    else:
        first, second = axes_of(axes[0], x_ndim), axes_of(axes[1], y_ndim)
    if [np.shape(x)[k] for k in first] != [np.shape(y)[k] for k in second]:
        raise ValueError(f"{call('tensordot', (x, y), {'axes': axes})}: the sizes of the paired axes differ")
    letters = string.ascii_letters
    x_term, y_letters = letters[:x_ndim], list(letters[x_ndim : x_ndim + y_ndim])
    for a, b in zip(first, second, strict=True):
        y_letters[b] = x_term[a]
    y_term = "".join(y_letters)
    out = "".join(k for k in x_term + y_term if (k in x_term) != (k in y_term))
    return contract(x, y, spec=f"{x_term},{y_term}->{out}")


@tensor_function
def vecdot(x: Any, y: Any, /, *, axis: int = -1) -> Any:
    """The inner product of vectors along an axis of the broadcast operands, which has the same size in both."""
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    if np.shape(x)[-1:] != np.shape(y)[-1:]:
        raise ValueError(
            f"{call('vecdot', (x, y), {'axis': axis})}: vectors of {np.shape(x)[-1]} and {np.shape(y)[-1]} elements "
            "have no inner product; the axis is not broadcast. For a multiple of a sum write mg.sum(x * y, axis)."
        )
    return einsum("...i,...i->...", x, y)


@tensor_function
def outer(x: Any, y: Any, /) -> Any:
    """The outer product of two vectors."""
    if len(np.shape(x)) != 1 or len(np.shape(y)) != 1:
        raise ValueError(
            f"{call('outer', (x, y), {})}: both operands must have one axis; use einsum or x[..., None] * y"
        )
    return expand_dims(x, 1) * y


@tensor_function
def diagonal(x: Any, /, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """The diagonals of matrices, as the last axis."""
    shape = np.shape(x)
    a, b = axis_of(axis1, len(shape)), axis_of(axis2, len(shape))
    x = moveaxis(x, (a, b), (-2, -1))
    rows, columns = shape[a], shape[b]
    k = np.arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    return x[..., k + max(-offset, 0), k + max(offset, 0)]


@tensor_function
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the main diagonals of matrices (..., M, N), or of diagonals above (offset > 0) or below them."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)
